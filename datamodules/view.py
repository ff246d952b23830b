"""Some rows of an array of poses, without copying them."""

from __future__ import annotations

import numpy as np

from pose_priors.datamodules.cache.entry import PoseSet


class PoseView:
    """N rows of a pose set: looks like an array (N, 55, 3) float32, and reads only the rows that it is asked for.

    Args:
        pose_set: where the poses are.
        rows: (N,) row numbers.
    """

    def __init__(self, pose_set: PoseSet, rows: np.ndarray) -> None:
        self._set, self._rows = pose_set, rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self), *self._set.poses.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return self._set.poses.dtype

    @property
    def hashes(self) -> np.ndarray:
        """(N,) uint64 hashes of the rows."""
        hashes: np.ndarray = self._set.hashes[self._rows]
        return hashes

    def __getitem__(self, key: int | slice | np.ndarray) -> np.ndarray:
        poses: np.ndarray = self._set.poses[self._rows[key]]
        return poses

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)

    def without(self, hashes: np.ndarray) -> PoseView:
        """The rows whose hash is not among `hashes`."""
        return PoseView(self._set, self._rows[~np.isin(self.hashes, hashes)])
