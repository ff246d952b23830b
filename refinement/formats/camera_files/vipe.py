"""ViPE: `pose/<video>.npz`, with `intrinsics/<video>.npz` and `depth/<video>.zip` (Huang et al., "ViPE: Video Pose Engine for 3D Geometric
Perception", 2025).

`data` (T, 4, 4) camera to world, OpenCV axes, the world is that of the first camera, and `inds` (T,) the frames; intrinsics `data` (T, 4)
fx, fy, cx, cy of the whole image, whose middle is the principal point. Unit: metres as far as ViPE's depth network can tell. Depth: a zip
of OpenEXR pictures `%05d.exr`, in the same unit. Other cameras than pinholes (`<video>_camera.txt`) are refused.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError, listed
from pose_priors.datamodules.containers.regular import open_regular
from pose_priors.datamodules.containers.zips import Zip
from pose_priors.refinement.formats.camera_files.contents import Named, increasing
from pose_priors.refinement.formats.camera_files.exr import read_exr
from pose_priors.refinement.formats.camera_files.poses import CameraFile, matrices, of_image
from pose_priors.refinement.formats.cameras import rigid
from pose_priors.refinement.formats.clip import DepthSource, NoPictures
from pose_priors.refinement.formats.depth import thinned
from pose_priors.refinement.formats.source import Source

NAME = "ViPE"
BESIDE = ("intrinsics/{}.npz", "intrinsics/{}_camera.txt", "depth/{}.zip")
"""Where the other files of a video lie in ViPE's folder, by the video's name."""
_KEYS = {"data", "inds"}
_PINHOLE = "PINHOLE"
_FARTHEST = 1e6


def detect(source: Source) -> bool:
    """Whether it is ViPE's folder, or the poses or intrinsics of one video in it."""
    return bool(_files(source)) and Named(source, _files(source)[0]).names >= _KEYS


def read(source: Source, image_size: tuple[int, int], warnings: list[str]) -> CameraFile:
    """The cameras of one video. Raises `UserError` if there are several, or a file is not as ViPE writes it."""
    files = _files(source)
    if len(files) > 1:
        raise UserError(f"{source.path}: ViPE's poses of several videos, {listed([file.name for file in files], 4)}; give one of them")
    file = files[0]
    fields = Named(source, file).fields(*_KEYS)
    if fields.array("data").ndim == 2:
        raise UserError(f"{file}: 'data' has shape {fields.array('data').shape}, ViPE's intrinsics; give the file of that name in pose/")
    poses = fields.array("data", "T", 4, 4)
    frames = increasing(fields.whole("inds", "T"), f"{file}: 'inds'")
    beside = file.parent.parent
    intrinsics = _intrinsics(source, beside / "intrinsics" / file.name, frames, image_size, warnings)
    return CameraFile(
        tool=NAME,
        source=f"{file}: 'data'",
        frames=frames,
        w2c=rigid(poses, f"{file}: 'data'", inverted=True),
        intrinsics=intrinsics,
        unit="near",
        depth=_depth(beside / "depth" / f"{file.stem}.zip"),
        counted=False,
    )


def _files(source: Source) -> list[Path]:
    if source.path.is_dir():
        return sorted(source.path.glob("pose/*.npz"))
    return [source.path] if source.path.suffix == ".npz" else []


def _intrinsics(source: Source, file: Path, frames: np.ndarray, image_size: tuple[int, int], warnings: list[str]) -> np.ndarray | None:
    """(T, 3, 3) of the clip's image; None, and a line in `warnings`, where there is no file."""
    kinds = file.with_name(f"{file.stem}_camera.txt")
    if kinds.is_file():
        with open_regular(kinds) as stream:
            found = set(re.findall(r":\s*([A-Z_]+)", stream.read(1 << 20).decode("ascii", "replace")))
        if found - {_PINHOLE}:
            raise UserError(f"{kinds}: a camera of kind {listed(sorted(found))}; {_PINHOLE} is read")
    if not file.is_file():
        warnings.append(f"{file}: no such file; the clip's own intrinsics are kept")
        return None
    fields = Named(source, file).fields(*_KEYS)
    parameters, of = fields.array("data", "n", 4), fields.whole("inds", "n")
    if not np.isin(frames, of).all():
        raise UserError(f"{file}: intrinsics of {len(of)} frames, not of all {len(frames)} of the poses; are they of one video?")
    row_of = {int(frame): row for row, frame in enumerate(of.tolist())}
    parameters = parameters[[row_of[int(frame)] for frame in frames]]
    width, height = np.rint(2 * np.median(parameters[:, 2:], 0)).astype(int).tolist()
    return of_image(matrices(parameters, str(file)), (width, height), image_size, str(file))


def _depth(file: Path) -> DepthSource:
    return _ExrZip(file) if file.is_file() else NoPictures()


class _ExrZip:
    """Depth maps that are pictures in a zip.

    Raises:
        UserError: if it is no zip; and, by `read`, if a picture in it is damaged.
    """

    def __init__(self, file: Path) -> None:
        self._zip = Zip(file)
        self._names = {int(name[:-4]): name for name in self._zip.names if re.fullmatch(r"\d{1,9}\.exr", name)}

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Depth (h, w) float32, nan where there is none, thinned out to 640 columns, and ones; None where there is no map."""
        if frame not in self._names:
            return None
        name = self._names[frame]
        depth = thinned(read_exr(self._zip.read(name), f"{self._zip.origin}: {name}")).astype(np.float32)
        depth[~((depth > 0) & (depth < _FARTHEST))] = np.nan
        return depth, np.ones(depth.shape, np.float32)

    def close(self) -> None:
        """Nothing was missing."""
