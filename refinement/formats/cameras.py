"""Cameras of stage 1: `cameras.npz` and its `metadata.json`, under every name and shape that the upstream tools give them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.pinhole import intrinsic_matrices
from pose_priors.configs.base import UserError
from pose_priors.datamodules.plausibility import are_places
from pose_priors.refinement.formats.files import Arrays, existing_file, existing_folder, numbers, read_json, whole_numbers

_W2C = ("poses", "w2c", "extrinsic", "extrinsics", "camera_w2c")
_C2W = ("c2w", "cam2world", "cam_c2w", "pred_cam")
_W2C_PAIRS = (("R", "T"), ("Rcw", "Tcw"), ("cam_R", "cam_t"))
_C2W_PAIRS = (("pred_cam_R", "pred_cam_T"), ("world_cam_R", "world_cam_T"))
_INTRINSICS = ("intrinsics", "intrinsic", "intrins", "K", "K_fullimg")
_ORTHONORMAL = 1e-2
_INVERSE = 1e-3
USUAL_FPS = 30.0
"""Frames a second: at which most tools take frames from a video, and that are assumed where no file says."""


@dataclass(frozen=True)
class CameraTrack:
    """Stage 1's cameras.

    Attributes:
        source: the file and the key that the poses came from, for messages.
        w2c: (T, 4, 4) float64 world to camera, OpenCV axes, translation in stage 1's unit.
        intrinsics: (T, 3, 3) in pixels of the full image.
        image_size: width and height in pixels.
        confidence: (T,) in [0, 1].
        frame_ids: (T,) consecutive frame numbers.
        fps: frames a second, None where no file says.
        numbered: whether a file says the frame numbers; else they count from 0.
    """

    source: str
    w2c: np.ndarray
    intrinsics: np.ndarray
    image_size: tuple[int, int]
    confidence: np.ndarray
    frame_ids: np.ndarray
    fps: float | None
    numbered: bool = True

    def first(self, num_frames: int | None) -> CameraTrack:
        """The first frames alone."""
        if num_frames is None:
            return self
        cut = {name: getattr(self, name)[:num_frames] for name in ("w2c", "intrinsics", "confidence", "frame_ids")}
        return replace(self, **cut)


def from_quaternions(poses: np.ndarray, source: str) -> np.ndarray:
    """(k, 4, 4) of x, y, z and a quaternion x, y, z, w (k, 7). Raises `UserError` if a quaternion is none."""
    path = path_of(poses)
    if path is None or (np.abs(np.linalg.norm(poses[:, 3:], axis=1) - 1) > 0.01).any():
        raise UserError(f"{source}: rows of x, y, z and a unit quaternion x, y, z, w are expected; one is not finite or no unit quaternion")
    out = np.tile(np.eye(4), (len(poses), 1, 1))
    out[:, :3, :3], out[:, :3, 3] = path
    return out


def path_of(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Turns (k, 3, 3) and places (k, 3) of x, y, z and a quaternion x, y, z, w of any length (k, 7); None if one is none."""
    if not are_places(poses[:, :3]).all() or not np.isfinite(poses).all() or (np.linalg.norm(poses[:, 3:], axis=1) == 0).any():
        return None
    return Rotation.from_quat(poses[:, 3:]).as_matrix(), poses[:, :3]


def read_cameras(stage1_dir: Path, warnings: list[str]) -> CameraTrack:
    """The cameras of a stage 1 folder.

    Raises:
        UserError: if the folder, the file or a key is missing, a shape is none of the known ones, a pose is no rigid motion, or nothing
            tells how large the image is.
    """
    existing_folder(stage1_dir, "camera estimation (stage 1)")
    arrays = Arrays(existing_file(stage1_dir / "cameras.npz", "the camera poses and intrinsics of every frame"))
    metadata = read_json(stage1_dir / "metadata.json")
    key, w2c = _poses(arrays)
    num_frames = len(w2c)
    intrinsics = _intrinsics(arrays, num_frames)
    image_size = _image_size(arrays, metadata, intrinsics, warnings)
    grid = arrays.get("intrinsics_size")
    if grid is not None:
        if grid.size != 2 or not (grid.astype(float) > 0).all():
            raise UserError(f"{arrays.path}: 'intrinsics_size' is {grid.tolist()}; width and height in pixels are expected")
        ratio = np.asarray(image_size, float) / grid.astype(float).reshape(2)
        intrinsics = np.diag([*ratio, 1.0]) @ intrinsics
    confidence = arrays.get("confidence")
    if confidence is not None and (confidence.ndim == 0 or len(confidence) != num_frames):
        raise UserError(f"{arrays.path}: 'confidence' has shape {confidence.shape} for {num_frames} poses; ({num_frames},) is expected")
    confidence = np.ones(num_frames) if confidence is None else np.nan_to_num(confidence.reshape(num_frames, -1).mean(1).astype(float))
    named = arrays.get("frame_ids")
    frame_ids = np.arange(num_frames) if named is None else whole_numbers(named, f"{arrays.path}: 'frame_ids'").reshape(-1)
    if len(frame_ids) != num_frames or np.any(np.diff(frame_ids) != 1):
        raise UserError(f"{arrays.path}: 'frame_ids' must number the {num_frames} poses one after the other; found {frame_ids[:8]} ...")
    fps = arrays.scalar("fps") or metadata.get("fps")
    if fps is not None and (not isinstance(fps, int | float) or not 0 < fps < float("inf")):
        raise UserError(f"{stage1_dir}: 'fps' is {fps!r}; a positive number is expected there or in input.fps")
    return CameraTrack(
        source=f"{arrays.path}: '{key}'",
        w2c=w2c,
        intrinsics=intrinsics,
        image_size=image_size,
        confidence=confidence.clip(0, 1),
        frame_ids=frame_ids,
        fps=None if fps is None else float(fps),
        numbered=named is not None,
    )


def _poses(arrays: Arrays) -> tuple[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for keys, inverted in ((_W2C, False), (_C2W, True)):
        for key in keys:
            if (value := arrays.get(key)) is not None:
                found[key] = rigid(value, f"{arrays.path}: '{key}'", inverted)
    for pairs, inverted in ((_W2C_PAIRS, False), (_C2W_PAIRS, True)):
        for rotation, translation in pairs:
            if rotation in arrays and translation in arrays:
                parts = arrays.need(rotation), arrays.need(translation)
                key = f"{rotation}, {translation}"
                found[key] = rigid(_stacked(*parts, f"{arrays.path}: '{key}'"), f"{arrays.path}: '{key}'", inverted)
    if not found:
        allowed = ", ".join((*_W2C, *(" + ".join(pair) for pair in (*_W2C_PAIRS, *_C2W_PAIRS)), *_C2W))
        raise UserError(f"{arrays.path}: no camera poses; it holds {', '.join(arrays.names) or 'nothing'}; known keys are {allowed}")
    key, first = next(iter(found.items()))
    if {"w2c", "c2w"} <= found.keys() and not np.allclose(found["w2c"], found["c2w"], atol=_INVERSE * max(1.0, np.abs(first).max())):
        raise UserError(f"{arrays.path}: 'w2c' and 'c2w' are not each other's inverse; keep the one that is right")
    return key, first


def _stacked(rotation: np.ndarray, translation: np.ndarray, source: str) -> np.ndarray:
    if rotation.ndim != 3 or rotation.shape[1:] != (3, 3) or translation.size != 3 * len(rotation):
        raise UserError(f"{source} have shapes {rotation.shape} and {translation.shape}; (T, 3, 3) and (T, 3) are expected")
    return np.concatenate([rotation, translation.reshape(-1, 3, 1)], -1)


def rigid(poses: np.ndarray, source: str, inverted: bool) -> np.ndarray:
    """(T, 4, 4) world to camera from (T, 3, 4) or (T, 4, 4), inverted where the file has camera to world.

    Raises:
        UserError: if the shape is another, or a pose is not finite or no rigid motion.
    """
    poses = poses[0] if poses.ndim == 4 and len(poses) == 1 else poses
    if poses.ndim != 3 or poses.shape[1:] not in ((3, 4), (4, 4)) or not len(poses):
        raise UserError(f"{source} has shape {poses.shape}; (T, 4, 4) or (T, 3, 4) is expected")
    if not np.isfinite(poses).all():
        raise UserError(f"{source} is not finite at frame {int(np.argwhere(~np.isfinite(poses))[0][0])}; run stage 1 again")
    matrix = np.tile(np.eye(4), (len(poses), 1, 1))
    matrix[:, :3] = poses[:, :3]
    rotation = matrix[:, :3, :3]
    off = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max((1, 2))
    wrong = (off > _ORTHONORMAL) | (np.linalg.det(rotation) < 0)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise UserError(
            f"{source}: the 3x3 part at frame {at} is no rotation (off by {off[at]:.2g}); is it transposed, scaled or mirrored?"
        )
    left, _, right = np.linalg.svd(rotation)  # float32 files are orthonormal to 1e-7 only, and errors add up over inversions
    matrix[:, :3, :3] = left @ right
    return np.linalg.inv(matrix) if inverted else matrix


def _intrinsics(arrays: Arrays, num_frames: int) -> np.ndarray:
    focal, centre = arrays.scalar("img_focal"), arrays.get("img_center")
    value = arrays.get(*_INTRINSICS)
    if value is None and focal is not None and centre is not None:
        value = np.array([focal, focal, *centre.reshape(2)])
    if value is None:
        raise UserError(f"{arrays.path}: no intrinsics; it holds {', '.join(arrays.names)}; known keys are {', '.join(_INTRINSICS)}")
    value = value.astype(float)
    if value.shape[-1:] == (4,) and value.ndim <= 2:
        value = intrinsic_matrices(value)
    if value.shape[-2:] != (3, 3) or value.ndim > 3 or (value.ndim == 3 and len(value) not in (1, num_frames)):
        raise UserError(
            f"{arrays.path}: intrinsics have shape {value.shape} for {num_frames} poses; (3, 3), (T, 3, 3), (4,) or (T, 4) is expected"
        )
    value = np.array(np.broadcast_to(value, (num_frames, 3, 3)))
    if not np.isfinite(value).all() or (value[:, [0, 1], [0, 1]] <= 0).any():
        raise UserError(f"{arrays.path}: intrinsics hold a focal length that is not positive; run stage 1 again")
    if not np.allclose(value[:, 2], [0, 0, 1]) or not np.allclose(value[:, 1, 0], 0):
        raise UserError(f"{arrays.path}: intrinsics are no upper triangles with 1 at the end; run stage 1 again")
    return value


def _image_size(arrays: Arrays, metadata: dict[str, Any], intrinsics: np.ndarray, warnings: list[str]) -> tuple[int, int]:
    size = arrays.get("image_size")
    size = metadata.get("image_size") if size is None else size
    if size is not None and (size := numbers(size, f"{arrays.path}: 'image_size' there or in metadata.json")).size == 2:
        width, height = whole_numbers(np.rint(size), f"{arrays.path}: 'image_size'").reshape(2).tolist()
        if width > 0 and height > 0:
            return width, height
        raise UserError(f"{arrays.path}: image_size is {width} x {height}; width and height in pixels are expected")
    if arrays.get("intrinsics_size") is not None:
        raise UserError(f"{arrays.path}: 'intrinsics_size' without 'image_size'; add image_size [width, height] there or to metadata.json")
    width, height = (int(v) for v in np.rint(2 * np.median(intrinsics[:, :2, 2], 0)))
    warnings.append(f"{arrays.path}: no image_size there or in metadata.json; {width} x {height} taken from the principal point")
    return width, height
