"""Faults that recordings have of themselves, told from the numbers of the file alone, by no score that is judged here.

A clip that "has no fault" may have one: a heading that was lost and comes back in one frame, a frame repeated, feet that nothing holds.
Three limits that no body reaches name such clips.
"""

from __future__ import annotations

import numpy as np

from pose_priors.body.interpolation import runs
from pose_priors.body.skeleton import index_of
from pose_priors.refinement.motions.motion import Motion

_MOST_ACCELERATION = 1000.0  # metres a second squared, a hundred times gravity: the hand of a pitcher reaches about a third of it
_REPEATS_S = 0.1
_SAME = 1e-6  # of quaternions and metres
_MOVES = 0.4  # metres a second
_NOTHING_HOLDS_S = 0.7  # a leap of 0.6 m lasts so long
_TIPS = [index_of(f"{side}_{joint}") for side in ("left", "right") for joint in ("ankle", "foot", "wrist")]


def faults_of_recording(motion: Motion) -> list[str]:
    """Why a clip cannot be what a body did, a reason each; none for most clips. The first frame, often an own pose, does not count."""
    joints = motion.joints[1:]
    if len(joints) < 3:
        return []
    reasons = []
    acceleration = float(np.linalg.norm(np.diff(joints, n=2, axis=0), axis=-1).max() * motion.fps**2)
    if acceleration > _MOST_ACCELERATION:
        reasons.append(f"a joint is accelerated by {acceleration:.0f} m/s^2")
    turned, moved = (np.abs(np.diff(values[1:], axis=0)).reshape(len(joints) - 1, -1).max(1) for values in (motion.quat, motion.pelvis))
    repeats = _longest((turned < _SAME) & (moved < _SAME)) / motion.fps
    if repeats > _REPEATS_S:
        reasons.append(f"{repeats:.2f} s of one frame repeated")
    slowest = np.linalg.norm(np.gradient(joints[:, _TIPS], axis=0), axis=-1).min(1) * motion.fps
    loose = _longest(slowest > _MOVES) / motion.fps
    if motion.has_path and loose > _NOTHING_HOLDS_S:
        reasons.append(f"for {loose:.2f} s neither foot nor hand is held")
    return reasons


def _longest(marked: np.ndarray) -> int:
    return max((end - begin for begin, end in runs(marked)), default=0)
