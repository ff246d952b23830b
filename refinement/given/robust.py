"""Robust statistics that numpy and scipy do not have in weighted form."""

from __future__ import annotations

import numpy as np

MAD_TO_SIGMA = 1.4826


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value at which half of the weight lies below. Raises `ValueError` if no value has weight."""
    keep = weights > 0
    if not keep.any():
        raise ValueError("no value has weight")
    order = np.argsort(values[keep], kind="stable")
    ordered, cumulated = values[keep][order], np.cumsum(weights[keep][order])
    # midpoints of the weights, interpolated: with equal weights this is the ordinary median
    middle = cumulated - weights[keep][order] / 2
    return float(np.interp(cumulated[-1] / 2, middle, ordered))


def spread(values: np.ndarray, weights: np.ndarray) -> float:
    """The standard deviation that a normal distribution of the same weighted median absolute deviation has."""
    return MAD_TO_SIGMA * weighted_median(np.abs(values - weighted_median(values, weights)), weights)
