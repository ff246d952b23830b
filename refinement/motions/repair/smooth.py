"""Noise taken out, as much of it as each stretch of each joint has."""

from __future__ import annotations

import numpy as np

from pose_priors.refinement.motions.motion import Motion
from pose_priors.refinement.motions.signals import leverage, odd, rolling_mean, smoothed, tapered

_STIFFNESS = 10.0 ** np.arange(-2, 7.5, 0.75)
_WINDOW_S = 0.35
_CLEAN_WEIGHT = 30.0  # of a frame without noise, over that of one with noise


def denoised(motion: Motion, joints: np.ndarray, path: np.ndarray) -> Motion:
    """The motion with noise taken out on marked frames, and nothing changed on others.

    How stiff the curve is through which a joint passes is chosen for each frame by generalised cross-validation over the frames around
    (Craven & Wahba, Numerische Mathematik 31, 1979): stiff where nothing but noise is there, hardly at all where it moves fast.

    Args:
        joints: (T, 22) bool; path: (T,) bool.
    """
    quat, pelvis = motion.quat, motion.pelvis
    noisy = np.flatnonzero(joints.any(0))
    if noisy.size:
        quat = quat.copy()
        for joint in noisy:
            quat[:, joint] = _smooth_where(quat[:, joint], joints[:, joint], motion.fps)
    if path.any():
        pelvis = _smooth_where(pelvis, path, motion.fps)
    return motion.changed(quat, pelvis)


def _smooth_where(values: np.ndarray, marked: np.ndarray, fps: float) -> np.ndarray:
    """(T, C) smoothed on marked frames."""
    num = len(values)
    if num < 8:
        return values
    weights = np.where(marked, 1.0, _CLEAN_WEIGHT)
    width = odd(_WINDOW_S, fps, 7)
    curves = np.stack([smoothed(values, stiffness, weights) for stiffness in _STIFFNESS])
    left = np.array([1 - leverage(stiffness) for stiffness in _STIFFNESS])
    error = np.stack([rolling_mean(((curve - values) ** 2).sum(-1) * marked, width) for curve in curves]) / (left**2)[:, None]
    chosen = error.argmin(0)
    # neighbours choose alike: a switch from one curve to another would be seen
    level = rolling_mean(chosen, width)
    low = np.floor(level).astype(int).clip(max=len(_STIFFNESS) - 2)
    share = (level - low)[:, None]
    frames = np.arange(num)
    smooth = curves[low, frames] * (1 - share) + curves[low + 1, frames] * share
    blend = tapered(marked, 0)[:, None]
    out: np.ndarray = values + blend * (smooth - values)
    return out
