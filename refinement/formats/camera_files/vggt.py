"""VGGT: `predictions.npz` of its demo, or its output as people save it, `.pt` or `.pkl` (Wang et al., "VGGT: Visual Geometry Grounded
Transformer", CVPR 2025).

`extrinsic` (S, 3, 4) world to camera, OpenCV axes, the world is that of the first camera, and `intrinsic` (S, 3, 3); or `pose_enc` (S, 9)
from which both follow: a translation, a quaternion x, y, z, w, and the angles of view in y and x. `depth` (S, h, w, 1) and its confidence
`depth_conf` (S, h, w), on the grid that the image was shrunk and cut or padded to (`grids.vggt_grid`). A leading dimension of 1 may be
there. Unit: its own. The poses are those of the images in order; `frame_ids` (S,) beside them says which frames these are.
"""

from __future__ import annotations

import numpy as np

from pose_priors.body.pinhole import intrinsic_matrices
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.camera_files.contents import Named, frames_of, numbers_of
from pose_priors.refinement.formats.camera_files.grids import Grid, OnImage, vggt_grid
from pose_priors.refinement.formats.camera_files.poses import CameraFile, checked_intrinsics
from pose_priors.refinement.formats.cameras import from_quaternions, rigid
from pose_priors.refinement.formats.clip import DepthSource, NoPictures
from pose_priors.refinement.formats.depth_arrays import DepthArrays
from pose_priors.refinement.formats.source import Source

NAME = "VGGT"
_FILES = ("predictions.npz", "predictions.pt", "predictions.pkl")


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder with one, of cameras and images by VGGT's names."""
    file = source.only(*_FILES)
    if file is None:
        return False
    names = Named(source, file).names
    return ({"extrinsic", "intrinsic"} <= names or "pose_enc" in names) and bool({"depth", "images"} & names)


def read(source: Source, image_size: tuple[int, int], warnings: list[str]) -> CameraFile:
    """The cameras of one video. Raises `UserError` if the file is not as VGGT's output is."""
    named = Named(source, source.existing(source.only(*_FILES), NAME))
    grid = vggt_grid(image_size, _size(named), str(named.file))
    fields = named.fields("extrinsic", "intrinsic", "pose_enc")
    if "extrinsic" in fields:
        key = "extrinsic"
        poses, intrinsic = _alone(fields.array("extrinsic"), 3), _alone(fields.array("intrinsic"), 3)
    else:
        key = "pose_enc"
        poses, intrinsic = _encoded(_alone(fields.array("pose_enc"), 2), grid.size, f"{named.file}: 'pose_enc'")
    if poses.ndim != 3 or poses.shape[1:] != (3, 4) or intrinsic.shape != (len(poses), 3, 3):
        raise UserError(
            f"{named.file}: '{key}' has shape {poses.shape} and 'intrinsic' {intrinsic.shape}; (S, 3, 4), (S, 3, 3) are expected"
        )
    frames, counted = frames_of(named, len(poses))
    return CameraFile(
        tool=NAME,
        source=f"{named.file}: '{key}'",
        frames=frames,
        w2c=rigid(poses, f"{named.file}: '{key}'", inverted=False),
        intrinsics=grid.intrinsics(checked_intrinsics(intrinsic, f"{named.file}: 'intrinsic'")),
        unit="free",
        depth=_depth(named, frames, grid),
        counted=counted,
    )


def _alone(array: np.ndarray, dimensions: int) -> np.ndarray:
    """Without a leading dimension of 1."""
    return array[0] if array.ndim == dimensions + 1 and len(array) == 1 else array


def _size(named: Named) -> tuple[int, int]:
    """Width and height of the images that VGGT saw."""
    shape = named.shape("images")
    if len(shape) >= 3 and shape[-3] in (3, 4):
        return shape[-1], shape[-2]
    shape = named.shape("depth")
    if len(shape) >= 3 and shape[-1] == 1:
        return shape[-2], shape[-3]
    raise UserError(f"{named.file}: 'images' (S, 3, h, w) or 'depth' (S, h, w, 1) is expected; it holds {named.described()}")


def _encoded(encoding: np.ndarray, size: tuple[int, int], source: str) -> tuple[np.ndarray, np.ndarray]:
    """Poses (S, 3, 4) and intrinsics (S, 3, 3) of the grid."""
    if encoding.ndim != 2 or encoding.shape[1] != 9:
        raise UserError(f"{source} has shape {encoding.shape}; (S, 9) is expected")
    length = np.linalg.norm(encoding[:, 3:7], axis=1, keepdims=True)
    if not (np.isfinite(encoding).all() and (length > 1e-6).all() and ((encoding[:, 7:] > 0) & (encoding[:, 7:] < np.pi)).all()):
        raise UserError(f"{source} holds a quaternion of length 0, or an angle of view that is none")
    unit = np.concatenate([encoding[:, :3], encoding[:, 3:7] / length], 1)
    middle = np.tile(np.array(size) / 2, (len(encoding), 1))
    focal = middle / np.tan(encoding[:, [8, 7]] / 2)
    return from_quaternions(unit, source)[:, :3], intrinsic_matrices(np.concatenate([focal, middle], 1))


def _depth(named: Named, frames: np.ndarray, grid: Grid) -> DepthSource:
    if "depth" not in named.names:
        return NoPictures()
    depth = _alone(numbers_of(named.raw("depth")), 4)
    if depth.shape != (len(frames), *grid.size[::-1], 1):
        raise UserError(f"{named.file}: 'depth' has shape {depth.shape}; ({len(frames)}, {grid.size[1]}, {grid.size[0]}, 1) is expected")
    weights = None
    if "depth_conf" in named.names:
        confidence = _alone(numbers_of(named.raw("depth_conf")), 3)
        if confidence.shape != depth.shape[:3]:
            raise UserError(f"{named.file}: 'depth_conf' has shape {confidence.shape} beside 'depth' {depth.shape}")
        weights = dict(zip(frames.tolist(), confidence, strict=True))
    return OnImage(DepthArrays(dict(zip(frames.tolist(), depth[..., 0], strict=True)), weights), grid)
