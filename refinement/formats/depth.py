"""Depth maps of stage 1, read one frame at a time: z-depth in stage 1's unit, on any grid that covers the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.files import listed, numbered_files, read_array

_SUFFIXES = (".npy",)
_MAX_WIDTH = 640  # finer maps are thinned out: a joint is a region of many pixels, and clips have many frames


class DepthMaps:
    """The depth maps of a clip, each with a weight where stage 1 says how uncertain it is.

    Args:
        stage1_dir: folder that holds `depth_maps/` and perhaps `depth_uncertainty/`.
        frame_ids: the frames of the cameras.
        warnings: takes a line if maps and cameras differ in number; `close` adds the files that could not be read.
    """

    def __init__(self, stage1_dir: Path, frame_ids: np.ndarray, warnings: list[str]) -> None:
        self._folder = stage1_dir / "depth_maps"
        self._maps = numbered_files(self._folder, _SUFFIXES)
        self._sigmas = numbered_files(stage1_dir / "depth_uncertainty", _SUFFIXES)
        self._unread: dict[str, None] = {}  # in order, each once however often it is asked for
        self._warnings = warnings
        missing = sorted(set(frame_ids.tolist()) - self._maps.keys())
        if not self._maps:
            warnings.append(f"{self._folder}: no depth maps; the scale rests on the bodies and the cameras alone")
        elif missing:
            warnings.append(
                f"{self._folder}: {len(self._maps)} depth maps for {len(frame_ids)} cameras; no depth on frames {listed(missing)}"
            )

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Depth (h, w) float32, nan where there is none, and its weight (h, w) in [0, 1]; None if the frame has no readable map.

        Maps wider than 640 are thinned out, so the grid still covers the image but need not be the file's.
        """
        if frame not in self._maps:
            return None
        try:
            depth = _plane(read_array(self._maps[frame]), self._maps[frame]).astype(np.float32)
        except UserError as error:
            self._unread[str(error)] = None
            return None
        depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
        return depth, self._weight(frame, depth.shape)

    def close(self) -> None:
        """Says which maps could not be read."""
        if self._unread:
            self._warnings.append(f"{len(self._unread)} depth files could not be used: {listed([*self._unread], 2)}")
            self._unread = {}

    def _weight(self, frame: int, shape: tuple[int, ...]) -> np.ndarray:
        weight = np.ones(shape, np.float32)
        if frame in self._sigmas:
            try:
                sigma = _plane(read_array(self._sigmas[frame]), self._sigmas[frame])
            except UserError as error:
                self._unread[str(error)] = None
                return weight
            if sigma.shape == shape:
                return (1 - np.nan_to_num(sigma.astype(np.float32), nan=1.0)).clip(0, 1)
            self._unread[f"{self._sigmas[frame]}: shape {sigma.shape}, but the depth map has {shape}"] = None
        return weight


def _plane(array: np.ndarray, path: Path) -> np.ndarray:
    squeezed = array.squeeze()
    if squeezed.ndim != 2 or squeezed.dtype.kind not in "fiu" or not squeezed.size:
        raise UserError(f"{path}: shape {array.shape} of {array.dtype}; a depth map (h, w) of numbers is expected")
    return thinned(squeezed)


def thinned(plane: np.ndarray) -> np.ndarray:
    """Every few rows and columns of (h, w), so that at most 640 columns are left; the grid still covers the image."""
    step = -(-plane.shape[1] // _MAX_WIDTH)
    return plane[step // 2 :: step, step // 2 :: step]
