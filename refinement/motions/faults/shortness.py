"""Paths that are too short for the strides of the person who goes along them: over the whole clip soles glide against the way."""

from __future__ import annotations

import numpy as np

from pose_priors.refinement.motions.faults.support import Support, velocities
from pose_priors.refinement.motions.motion import Motion
from pose_priors.refinement.motions.signals import odd, rolling_mean, rolling_median

_GLIDE_S = 0.4
_GOES = 0.15  # metres a second, below which a path says nothing of strides
_LEAST_S = 0.3  # of such frames
_ROLL = 0.03  # of the speed of the path: so do feet that roll glide along with it, the median of real clips
_SURE = 0.25  # of the way: at least the rest of it lacks `_LACKS`
_LACKS = 0.08
_SPEED = 0.15  # metres a second that a path lacks, where people would see it
_SEEN_S = 0.5


def lacking(motion: Motion, support: Support) -> tuple[float, float]:
    """What a path lacks, over its own length: by how much soles glide against it, over its speed. Who comes 2 m far by strides of 3 m lacks
    a half.

    Returns:
        what it lacks for sure, by the quarter of the way that lacks least, and in the middle; nan where the path goes nowhere.
    """
    glide = rolling_median(support.slip, odd(_GLIDE_S, motion.fps))
    velocity = velocities(motion.pelvis[:, :2], motion.fps)
    speed = np.linalg.norm(velocity, axis=-1)
    goes = (speed > _GOES) & ~support.flies
    if goes.sum() < _LEAST_S * motion.fps:
        return float("nan"), float("nan")
    against = -(velocity * glide).sum(1)[goes] / speed[goes] ** 2
    order = np.argsort(against)
    way = np.cumsum(speed[goes][order])
    sure, middle = against[order][np.searchsorted(way / way[-1], [_SURE, 0.5])]
    return float(sure), float(1 + middle) / (1 - _ROLL) - 1


def shortened(motion: Motion, support: Support) -> np.ndarray:
    """(T,) metres a second that a path lacks, over what is seen; 0 if not nearly all of the way lacks something, and without a path."""
    if not motion.has_path or len(motion) < 4:
        return np.zeros(len(motion))
    sure, lacks = lacking(motion, support)
    if not sure > _LACKS:
        return np.zeros(len(motion))
    speed = np.linalg.norm(velocities(motion.pelvis[:, :2], motion.fps), axis=-1)
    seen: np.ndarray = lacks * rolling_mean(speed, odd(_SEEN_S, motion.fps)) / _SPEED
    return seen
