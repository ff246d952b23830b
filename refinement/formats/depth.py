"""Depth maps of stage 1, read one frame at a time: z-depth in stage 1's unit, on any grid that covers the image; `.npy`, or PNG of 16 bits,
which has whole numbers alone and is taken to be in thousandths of the unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError, counted, listed, reason_of
from pose_priors.refinement.formats.files import numbered_files, read_array
from pose_priors.refinement.formats.pictures import read_png

_PNG_UNIT = 1e-3
_FARTHEST = 1e6  # a kilometre in millimetres: beyond is what tools write for the sky, or no depth at all
_MAX_WIDTH = 640  # finer maps are thinned out: a joint is a region of many pixels, and clips have many frames


class DepthMaps:
    """The depth maps of a clip, each with a weight where stage 1 says how uncertain it is.

    Args:
        stage1_dir: folder that holds `depth_maps/` and perhaps `depth_uncertainty/`.
        frame_ids: the frames of the cameras.
        warnings: takes a line if maps and cameras differ in number, or are pictures; `close` adds the files that could not be read.
        shift: by how much the files are numbered higher than the cameras.
    """

    def __init__(self, stage1_dir: Path, frame_ids: np.ndarray, warnings: list[str], shift: int = 0) -> None:
        self._folder = stage1_dir / "depth_maps"
        self._maps = {frame - shift: path for frame, path in depth_files(self._folder).items()}
        self._sigmas = {frame - shift: path for frame, path in numbered_files(stage1_dir / "depth_uncertainty", (".npy",)).items()}
        self._unread: dict[str, None] = {}  # in order, each once however often it is asked for
        self._warnings = warnings
        missing = sorted(set(frame_ids.tolist()) - self._maps.keys())
        if not self._maps:
            warnings.append(
                f"{self._folder}: no depth maps{_passed_over(self._folder)}; the scale rests on the bodies and the cameras alone"
            )
        elif missing:
            maps, cameras = counted(len(self._maps), "depth map"), counted(len(frame_ids), "camera")
            warnings.append(f"{self._folder}: {maps} for {cameras}; no depth on frames {listed(missing)}")
        if self.pictures:
            warnings.append(f"{self._folder}: depth in .png is taken to be in thousandths of the cameras' unit (millimetres)")

    @property
    def pictures(self) -> bool:
        """Whether the maps are whole numbers in a unit that their files do not tell."""
        return any(path.suffix == ".png" for path in self._maps.values())

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Depth (h, w) float32, nan where there is none, and its weight (h, w) in [0, 1]; None if the frame has no readable map.

        Maps wider than 640 are thinned out, so the grid still covers the image but need not be the file's.
        """
        if frame not in self._maps:
            return None
        try:
            depth = _depth(self._maps[frame])
        except UserError as error:
            self._unread[str(error)] = None
            return None
        return depth, self._weight(frame, depth.shape)

    def close(self) -> None:
        """Says which maps could not be read."""
        if self._unread:
            self._warnings.append(f"{counted(len(self._unread), 'depth file')} could not be used: {listed([*self._unread], 2)}")
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


def depth_files(folder: Path) -> dict[int, Path]:
    """The depth maps in a folder by their numbers; pictures, which may be there to be looked at, only where there are no arrays."""
    return numbered_files(folder, (".npy",)) or numbered_files(folder, (".png",))


def _passed_over(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return f" (.npy, or .png of 16 bits; it holds {reason_of(listed(names, 2))})" if names else ""


def _depth(path: Path) -> np.ndarray:
    """(h, w) float32, nan where there is no depth. Raises `UserError` if there is none anywhere."""
    if path.suffix == ".png":
        depth = _plane(_picture(path), path).astype(np.float32) * np.float32(_PNG_UNIT)
    else:
        values = _plane(read_array(path), path).astype(float)
        depth = np.where(np.abs(values) < _FARTHEST, values, np.nan).astype(np.float32)
    depth[~(depth > 0)] = np.nan
    if not np.isfinite(depth).any():
        raise UserError(f"{path}: no depth between 0 and {_FARTHEST:g} in it")
    return depth


def _picture(path: Path) -> np.ndarray:
    try:
        values = read_png(path)
    except Exception as error:  # whatever a damaged picture makes the decoder raise, it costs this map only
        raise UserError(f"{path}: cannot be read ({reason_of(error)}); PNG of 16 bits or .npy are expected") from error
    if values.dtype.itemsize < 2:
        raise UserError(f"{path}: a picture of 8 bits, which shows depth and does not hold it; 16 bits or .npy are expected")
    return values


def _plane(array: np.ndarray, path: Path) -> np.ndarray:
    squeezed = array.squeeze()
    if squeezed.ndim != 2 or squeezed.dtype.kind not in "fiu" or not squeezed.size:
        raise UserError(f"{path}: shape {array.shape} of {array.dtype}; a depth map (h, w) of numbers is expected")
    return thinned(squeezed)


def thinned(plane: np.ndarray) -> np.ndarray:
    """Every few rows and columns of (h, w), so that at most 640 columns are left; the grid still covers the image."""
    step = -(-plane.shape[1] // _MAX_WIDTH)
    return plane[step // 2 :: step, step // 2 :: step]
