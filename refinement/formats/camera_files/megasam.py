"""MegaSaM: `<scene>_droid.npz` and `<scene>_sgd_cvd_hr.npz` (Li et al., "MegaSaM: Accurate, Fast, and Robust Structure and Motion from
Casual Dynamic Videos", CVPR 2025).

`cam_c2w` (T, 4, 4) camera to world, OpenCV axes; `intrinsic` (3, 3) and `depths` (T, h, w) on the grid that the image was shrunk and cut to
(`grids.slam_grid`), whose size `images` (T, h, w, 3) have too. Unit: its own, the same for path and depth. The poses are those of the
images in order of their names; `frame_ids` (T,) beside them says otherwise.
"""

from __future__ import annotations

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.camera_files.contents import Named, frames_of, numbers_of
from pose_priors.refinement.formats.camera_files.grids import OnImage, slam_grid
from pose_priors.refinement.formats.camera_files.poses import CameraFile, checked_intrinsics
from pose_priors.refinement.formats.cameras import rigid
from pose_priors.refinement.formats.depth_arrays import DepthArrays
from pose_priors.refinement.formats.source import Source

NAME = "MegaSaM"
_FILES = ("*_sgd_cvd_hr.npz", "*_droid.npz")
_KEYS = {"cam_c2w", "intrinsic", "depths"}


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder with one, of cameras and depth by MegaSaM's names."""
    file = source.only(*_FILES)
    return file is not None and file.suffix == ".npz" and Named(source, file).names >= _KEYS


def read(source: Source, image_size: tuple[int, int], warnings: list[str]) -> CameraFile:
    """The cameras of one video. Raises `UserError` if the file is not as MegaSaM writes it."""
    named = Named(source, source.existing(source.only(*_FILES), NAME))
    fields = named.fields("cam_c2w", "intrinsic")
    poses, intrinsic = fields.array("cam_c2w", "T", 4, 4), fields.array("intrinsic", 3, 3)
    depths = numbers_of(named.raw("depths"))
    if depths.ndim != 3 or len(depths) != len(poses):
        raise UserError(f"{named.file}: 'depths' has shape {depths.shape} for {len(poses)} cameras; (T, h, w) is expected")
    size = (depths.shape[2], depths.shape[1])
    if "images" in named.names and named.shape("images")[1:3] != depths.shape[1:]:
        raise UserError(f"{named.file}: 'images' has shape {named.shape('images')} and 'depths' {depths.shape}; one grid is expected")
    grid = slam_grid(image_size, size, str(named.file))
    frames, counted = frames_of(named, len(poses))
    intrinsics = checked_intrinsics(np.tile(intrinsic, (len(poses), 1, 1)), f"{named.file}: 'intrinsic'")
    return CameraFile(
        tool=NAME,
        source=f"{named.file}: 'cam_c2w'",
        frames=frames,
        w2c=rigid(poses, f"{named.file}: 'cam_c2w'", inverted=True),
        intrinsics=grid.intrinsics(intrinsics),
        unit="free",
        depth=OnImage(DepthArrays(dict(zip(frames.tolist(), depths, strict=True))), grid),
        counted=counted,
    )
