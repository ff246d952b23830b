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
    recorded = motion.known[1:] & motion.known[:-1]
    repeats = repeated(motion) & recorded  # missing frames hold what others have
    stopped = repeats | ~recorded
    stopped[1:] |= repeats[:-1]
    joints, path = pops(motion, stopped)
    jumps: np.ndarray = ((joints.max(1, initial=0) > 1) | (path > 1)) & motion.known
    jumps[1:] &= ~repeats
    # at an end of the clip nothing is made up from: what is held there would repeat
    between = np.flatnonzero(~jumps)
    if between.size:
        jumps[: between[0]] = jumps[between[-1] + 1 :] = False
    return jumps


def without(motion: Motion, frames: np.ndarray) -> Motion:
    """The motion with curves through whole frames, (T,) bool."""
    return filled(motion, np.repeat(frames[:, None], NUM_JOINTS, 1), frames) if frames.any() else motion


def made_up(fill: Fill, motion: Motion, doubted: tuple[np.ndarray, np.ndarray], joints: np.ndarray, path: np.ndarray) -> Motion:
    """The motion with marked frames filled, from neighbours that do not jump; its others stay.

    A jump beside frames that are to be made up would give them its speed, or its place.

    Args:
        doubted: (T, 22) bool of joints, or (T, 1) of all of them, and (T,) of the path, where they jump.
        joints: (T, 22) bool; path: (T,) bool.
    """
    if not (doubted[0].any() or doubted[1].any()):
        return fill(motion, joints, path)
    whole = fill(motion, joints | doubted[0], path | doubted[1])
    quat, pelvis = np.where(joints[..., None], whole.quat, motion.quat), np.where(path[:, None], whole.pelvis, motion.pelvis)
    return motion.changed(quat, pelvis)
