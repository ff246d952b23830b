"""DROID-SLAM: its reconstruction, a `.pth` or a folder of `.npy`, and the `cameras.npz` that SLAHMR makes of it (Teed and Deng,
"DROID-SLAM", NeurIPS 2021).

Reconstruction: `poses` (k, 7) world to camera as x, y, z and a quaternion x, y, z, w, of key frames, whose numbers `tstamps` (k,) count the
images that DROID-SLAM was given (all with `--stride 1`); `intrinsics` (k, 4) fx, fy, cx, cy on an eighth of the grid (`grids.slam_grid`)
that the image was shrunk and cut to; `disps` (k, h, w), one over depth. SLAHMR's: `w2c` (T, 4, 4), `intrins` (T, 4), `width`, `height`, of
all frames. OpenCV axes. Unit: its own, the same for path and depth.
"""

from __future__ import annotations

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.camera_files.contents import Named, increasing, numbers_of
from pose_priors.refinement.formats.camera_files.grids import OnImage, slam_grid
from pose_priors.refinement.formats.camera_files.poses import CameraFile, matrices, of_image
from pose_priors.refinement.formats.cameras import from_quaternions, rigid
from pose_priors.refinement.formats.depth_arrays import DepthArrays
from pose_priors.refinement.formats.source import Fields, Source

NAME = "DROID-SLAM"
_PARTS = ("tstamps", "poses", "intrinsics", "disps")
_SLAHMR = {"w2c", "intrins", "width", "height"}
_EIGHTH = 8


def detect(source: Source) -> bool:
    """Whether it is a reconstruction, a file or a folder, or SLAHMR's `cameras.npz`."""
    if source.path.is_dir() and all((source.path / f"{name}.npy").is_file() for name in _PARTS):
        return True
    named = _named(source)
    return named is not None and (named.names >= set(_PARTS) or named.names >= _SLAHMR)


def read(source: Source, image_size: tuple[int, int], warnings: list[str]) -> CameraFile:
    """The cameras of one video. Raises `UserError` if the file is not as it is written."""
    named = _named(source)
    if named is not None and named.names >= _SLAHMR:
        return _of_slahmr(named, image_size)
    if named is None:
        content = {name: source.load(source.path / f"{name}.npy") for name in _PARTS}
    else:
        content = {name: named.raw(name) for name in _PARTS}
    said = str(source.path)
    fields = Fields({name: content[name] for name in _PARTS[:3]}, said)
    frames = increasing(fields.whole("tstamps", "k"), f"{said}: 'tstamps'")
    poses, parameters = fields.array("poses", "k", 7), fields.array("intrinsics", "k", 4)
    disparity = numbers_of(content["disps"])
    if disparity.ndim != 3 or len(disparity) != len(frames):
        raise UserError(f"{said}: 'disps' has shape {disparity.shape} for {len(frames)} key frames; (k, h, w) is expected")
    grid = slam_grid(image_size, (disparity.shape[2], disparity.shape[1]), said)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        depth = {int(frame): 1 / values.astype(np.float32) for frame, values in zip(frames, disparity, strict=True)}
    return CameraFile(
        tool=NAME,
        source=f"{said}: 'poses'",
        frames=frames,
        w2c=from_quaternions(poses, f"{said}: 'poses'"),
        intrinsics=grid.intrinsics(matrices(_EIGHTH * parameters, f"{said}: 'intrinsics'")),
        unit="free",
        depth=OnImage(DepthArrays(depth), grid),
        counted=False,
    )


def _named(source: Source) -> Named | None:
    file = source.only("*.pth", "*.pt", "cameras.npz")
    return None if file is None else Named(source, file)


def _of_slahmr(named: Named, image_size: tuple[int, int]) -> CameraFile:
    fields = named.fields(*_SLAHMR)
    poses, parameters = fields.array("w2c", "T", 4, 4), fields.array("intrins", "T", 4)
    own = (int(fields.number("width")), int(fields.number("height")))
    return CameraFile(
        tool=NAME,
        source=f"{named.file}: 'w2c'",
        frames=np.arange(len(poses)),
        w2c=rigid(poses, f"{named.file}: 'w2c'", inverted=False),
        intrinsics=of_image(matrices(parameters, f"{named.file}: 'intrins'"), own, image_size, str(named.file)),
        unit="free",
    )
