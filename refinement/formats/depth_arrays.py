"""Depth maps that a tool keeps in one file with the rest, in memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class DepthArrays:
    """Depth maps by frame.

    Args:
        maps: frame -> (h, w) depth in the cameras' unit; what is not positive and finite is no depth.
        confidence: frame -> (h, w), larger is surer, of any scale; all alike where it is None.
    """

    def __init__(self, maps: Mapping[int, np.ndarray], confidence: Mapping[int, np.ndarray] | None = None) -> None:
        self._maps, self._confidence = maps, confidence

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Depth (h, w), nan where there is none, and its weight (h, w) in [0, 1]: a pixel's rank among those of the map."""
        if frame not in self._maps:
            return None
        depth = np.asarray(self._maps[frame], float)
        known = np.isfinite(depth) & (depth > 0)
        weight = known.astype(float)
        if self._confidence is not None and known.any():
            confidence = np.nan_to_num(np.asarray(self._confidence[frame], float))
            weight[known] = np.searchsorted(np.sort(confidence[known]), confidence[known], side="right") / known.sum()
        return np.where(known, depth, np.nan), weight

    def close(self) -> None:
        """Nothing was missing."""
