"""Signals over time: windows, differences, smoothing by penalised least squares, and sets of marked frames."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded
from scipy.ndimage import median_filter, uniform_filter1d

from pose_priors.body.interpolation import runs

_THIRD = np.array([-1.0, 3.0, -3.0, 1.0])


def odd(seconds: float, fps: float, least: int = 3) -> int:
    """An odd number of frames that last about so long."""
    return max(least, 2 * round(seconds * fps / 2) + 1)


def rolling_median(values: np.ndarray, width: int) -> np.ndarray:
    """The median of (T, ...) over an odd number of frames about each, mirrored at the ends."""
    found: np.ndarray = median_filter(values, (width, *[1] * (values.ndim - 1)), mode="mirror")
    return found


def rolling_mean(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of (T, ...) over an odd number of frames about each, the ends held."""
    found: np.ndarray = uniform_filter1d(values.astype(float), width, axis=0, mode="nearest")
    return found


def widened(marked: np.ndarray, by: int) -> np.ndarray:
    """Marked frames (T,) and those up to so many away from one."""
    if by < 1 or not marked.any():
        return marked
    return np.convolve(marked, np.ones(2 * by + 1), "same")[: len(marked)] > 0.5 if len(marked) > 2 * by else np.ones_like(marked)


def closed(marked: np.ndarray, gap: int) -> np.ndarray:
    """Marked frames (T,), and gaps of at most so many frames between two of them."""
    out = marked.copy()
    for begin, end in runs(~marked):
        if begin > 0 and end < len(marked) and end - begin <= gap:
            out[begin:end] = True
    return out


def without_short(marked: np.ndarray, least: int) -> np.ndarray:
    """Marked frames (T,) less stretches of fewer than so many."""
    out = marked.copy()
    for begin, end in runs(marked):
        if end - begin < least:
            out[begin:end] = False
    return out


def tapered(marked: np.ndarray, width: int) -> np.ndarray:
    """(T,) 1 on marked frames, falling to 0 within so many frames beside them."""
    if not marked.any():
        return marked.astype(float)
    away = np.full(len(marked), len(marked) + width, dtype=float)
    at = np.flatnonzero(marked)
    right = np.searchsorted(at, np.arange(len(marked))).clip(max=len(at) - 1)
    away = np.minimum(np.abs(at[right] - np.arange(len(marked))), np.abs(np.arange(len(marked)) - at[np.maximum(right - 1, 0)]))
    share = np.clip(1 - away / (width + 1), 0, 1)
    smooth: np.ndarray = share * share * (3 - 2 * share)
    return smooth


def smoothed(values: np.ndarray, stiffness: float, weights: np.ndarray | None = None) -> np.ndarray:
    """The signal that lies closest to another and bends least: squared distances plus `stiffness` times squared third differences are
    least (Whittaker, Proc. Edinburgh Math. Soc. 41, 1923; Eilers, Analytical Chemistry 75, 2003). Parabolas stay as they are.

    Args:
        values: (T, C).
        weights: (T,) of the distances, 1 if not given; where they are 0 the signal is what bends least between its neighbours. At least
            three must be above 0.
    """
    num = len(values)
    if num < 4:
        return values.copy()
    weights = np.ones(num) if weights is None else weights
    bands = np.zeros((4, num))  # of the upper triangle, the diagonal last
    bands[3] = weights
    for row in range(4):
        for column in range(row, 4):
            bands[3 - (column - row), column : num - 3 + column] += stiffness * _THIRD[row] * _THIRD[column]
    solved: np.ndarray = solveh_banded(bands, weights[:, None] * values)
    return solved


def leverage(stiffness: float) -> float:
    """How much a value weighs in what `smoothed` makes of it, far from the ends."""
    turn = np.linspace(0, np.pi, 4097)
    return float((1 / (1 + stiffness * (2 - 2 * np.cos(turn)) ** 3)).mean())
