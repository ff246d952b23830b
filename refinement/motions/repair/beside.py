"""Frames that are made up, from neighbours that are to be believed."""

from __future__ import annotations

import numpy as np

from pose_priors.refinement.motions.faults.frozen import repeated
from pose_priors.refinement.motions.faults.pops import pops
from pose_priors.refinement.motions.motion import NUM_JOINTS, Motion
from pose_priors.refinement.motions.repair.fill import Fill, filled


def jumps_beside(motion: Motion) -> np.ndarray:
    """(T,) bool, frames on which something jumps away and back, other than from what repeats or is not known, and
    where a body has come meanwhile."""
    repeats = repeated(motion)
    stopped = repeats | ~motion.known[1:] | ~motion.known[:-1]
    stopped[1:] |= repeats[:-1]
    joints, path = pops(motion, stopped)
    jumps: np.ndarray = ((joints.max(1, initial=0) > 1) | (path > 1)) & motion.known
    jumps[1:] &= ~repeats
    return jumps


def without(motion: Motion, frames: np.ndarray) -> Motion:
    """The motion with curves through whole frames, (T,) bool."""
    return filled(motion, np.repeat(frames[:, None], NUM_JOINTS, 1), frames) if frames.any() else motion


def made_up(fill: Fill, motion: Motion, jumps: np.ndarray, joints: np.ndarray, path: np.ndarray) -> Motion:
    """The motion with marked frames filled, from neighbours that do not jump; its others stay.

    A jump beside frames that are to be made up would give them its speed, or its place.

    Args:
        jumps: (T,) bool.
        joints: (T, 22) bool; path: (T,) bool.
    """
    if not jumps.any():
        return fill(motion, joints, path)
    whole = fill(motion, joints | jumps[:, None], path | jumps)
    quat, pelvis = np.where(joints[..., None], whole.quat, motion.quat), np.where(path[:, None], whole.pelvis, motion.pelvis)
    return motion.changed(quat, pelvis)
