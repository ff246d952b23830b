"""Noise of each frame on its own."""

from __future__ import annotations

import numpy as np

from pose_priors.body.skeleton import index_of
from pose_priors.refinement.motions.motion import NUM_JOINTS, Motion
from pose_priors.refinement.motions.signals import odd, rolling_median

_WINDOW_S = 0.3
_LEAST_FRAMES = 9
# Standard deviations of noise of each frame, radians and metres, which a motion without noise seems to have by its fourth differences: at
# 120 frames a second, and what fast motion adds by the fourth power of a frame's length.
_FLOOR = (0.016, 0.003)
_BEND = (2.5e4, 2.5e3)
_OF_FOURTH = 70.0**0.5  # standard deviation of the fourth difference of white noise
_MEDIAN = 1.5382  # median of the length of a normal vector in three dimensions, over its standard deviation
# What ends a limb is measured worse: toes by one marker, wrists by two.
_BY_JOINT = np.ones(NUM_JOINTS)
_BY_JOINT[[index_of("left_foot"), index_of("right_foot")]] = 4
_BY_JOINT[[index_of("left_wrist"), index_of("right_wrist")]] = 2
_BY_JOINT[[index_of("left_ankle"), index_of("right_ankle")]] = 1.5


def jitter(motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """The noise of joints and of the path over what real motions seem to have: (T, 22) and (T,)."""
    turned = noise_of(2 * motion.quat, motion.fps)
    moved = noise_of(motion.pelvis[:, None], motion.fps)[:, 0]
    limits = [floor + bend / motion.fps**4 for floor, bend in zip(_FLOOR, _BEND, strict=True)]
    return turned / (limits[0] * _BY_JOINT), moved / limits[1]


def noise_of(values: np.ndarray, fps: float) -> np.ndarray:
    """(T, J) the standard deviation of the noise of each component of (T, J, C), by the median of fourth differences around a frame."""
    if len(values) < 5:
        return np.zeros(values.shape[:2])
    fourth = np.linalg.norm(np.diff(values, n=4, axis=0), axis=-1)
    # mirrored at the ends, so that one frame there does not count for several
    fourth = np.pad(fourth, ((2, 2), (0, 0)), mode="symmetric" if len(fourth) < 3 else "reflect")
    return rolling_median(fourth, odd(_WINDOW_S, fps, _LEAST_FRAMES)) / _OF_FOURTH / _MEDIAN
