"""People of stages 3 and 4: SMPL or SMPL-X parameters and joints of each person, in the camera's or the world's axes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError, counted, listed
from pose_priors.datamodules.plausibility import are_places, are_turns, refuse_degrees
from pose_priors.refinement.formats.files import Arrays, read_array, read_json, whole_numbers

_PERSON = re.compile(r"person_(\d+)")
_JOINT_COUNTS = {22: 22, 24: 24, 45: 24, 55: 55}  # SMPL's 45 are its 24 and 21 points on the skin
_MOST_BETA = 100.0  # standard deviations; the largest that fits of people have are about ten
_NUM_BODY, _NUM_SMPL, _NUM_SMPLX = 22, 24, 55
TEMPLATE_ROOT = {22: (0.003, -0.351, 0.012), 24: (-0.002, -0.223, 0.028), 55: (0.003, -0.351, 0.012)}
"""smplx's J0 in metres of the neutral templates, by the number of joints (24: SMPL and SMPL-H, else SMPL-X), for poses that come with
neither joints nor a model file; it differs by 1 to 2 cm between people."""


@dataclass(frozen=True)
class BodyTrack:
    """One person's rows, in order of frames, all finite.

    Attributes:
        person: the tracker's id.
        source: the file that the parameters came from, for messages.
        frames: (n,) frame numbers, strictly increasing.
        pose: (n, J, 3) rotation vectors, angle <= pi, joint 0 relative to the camera or world; J is 22 (body alone), 24 (SMPL) or
            55 (SMPL-X).
        betas: (B,) shape coefficients.
        transl: (n, 3) metres, smplx's translation: the pelvis stands at transl + J0.
        joints: (n, 22 | 24 | 55, 3) metres, None where there is no file of joints.
        transl_is_pelvis: whether `transl` is where the pelvis stands itself, as some tools write it.
    """

    person: int
    source: str
    frames: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    transl: np.ndarray
    joints: np.ndarray | None
    transl_is_pelvis: bool = False

    @property
    def pelvis_depth(self) -> np.ndarray:
        """(n,) z of the pelvis, to a few centimetres where there are no joints."""
        depth: np.ndarray = (self.transl if self.joints is None else self.joints[:, 0])[:, 2]
        return depth

    def rows(self, keep: np.ndarray) -> BodyTrack:
        """Some of the rows, by mask or index."""
        joints = None if self.joints is None else self.joints[keep]
        return replace(self, frames=self.frames[keep], pose=self.pose[keep], transl=self.transl[keep], joints=joints)


def read_bodies(
    folder: Path, kind: str, frame_ids: np.ndarray, warnings: list[str], rows_of: dict[int, np.ndarray], shift: int = 0
) -> tuple[dict[int, BodyTrack], dict[int, np.ndarray]]:
    """The people below a stage's folder, by their id; those that cannot be read are left out with a warning.

    Args:
        folder: `3_pose_estimation` or `4_world_space`; folders `person_<id>` are read, files beside them are not.
        kind: `camera` or `world`, as in the names of the files.
        frame_ids: the frames of the cameras; rows of others are left out.
        warnings: takes a line for each fault that was mended.
        rows_of: person -> the frames of its rows where the folder does not say (stage 4 has the rows of stage 3).
        shift: by how much the folder's frames are numbered higher than the cameras'.
    Returns:
        the people, and the frame of each row of their files before any was left out.
    """
    people, rows = {}, {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (match := _PERSON.fullmatch(path.name)) and path.is_dir():
            person = int(match[1])
            try:
                raw = _read_person(path, person, kind, frame_ids, rows_of.get(person), shift)
                people[person], rows[person] = mended(raw, frame_ids, warnings), raw.frames
            except UserError as error:
                warnings.append(f"person {person} of {folder.name} is left out: {error}")
    return dict(sorted(people.items())), rows


def _read_person(path: Path, person: int, kind: str, frame_ids: np.ndarray, rows: np.ndarray | None, shift: int) -> BodyTrack:
    file = path / f"smpl_params_{kind}.npz"
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    arrays = Arrays(file)
    pose = _pose(arrays)
    num = len(pose)
    transl = arrays.need("transl", "trans", "pred_trans")
    if transl.size != 3 * num or transl.shape[-1] != 3:
        raise UserError(f"{file}: 'transl' has shape {transl.shape} beside a pose of {num} rows; ({num}, 3) is expected")
    transl = transl.reshape(-1, 3)
    frames = _frames(arrays, read_json(path / "metadata.json"), num, frame_ids, rows, shift)
    joints_file = path / f"joints_{kind}.npy"
    joints = read_array(joints_file) if joints_file.is_file() else None
    if joints is not None:
        if joints.ndim != 3 or len(joints) != num or joints.shape[1] not in _JOINT_COUNTS or joints.shape[2] != 3:
            raise UserError(f"{joints_file}: shape {joints.shape}; ({num}, {' | '.join(map(str, _JOINT_COUNTS))}, 3) is expected")
        joints = joints[:, : _JOINT_COUNTS[joints.shape[1]]].astype(float)
    return BodyTrack(person, str(file), frames, pose, _betas(arrays), transl.astype(float), joints)


def _frames(arrays: Arrays, metadata: dict[str, Any], num: int, frame_ids: np.ndarray, rows: np.ndarray | None, shift: int) -> np.ndarray:
    """The frame of each row: from the file, from its metadata, from stage 3's rows, or one for each camera."""
    listed_frames = arrays.get("frame_ids", "frames", "frame")
    for found in (listed_frames, metadata.get("frames"), metadata.get("frame_ids"), rows):
        if found is not None:
            frames = whole_numbers(found, f"{arrays.path}: the frames in it or in metadata.json").reshape(-1)
            if len(frames) == num:
                return frames if found is rows else frames - shift
            if rows is None:
                raise UserError(f"{arrays.path}: {num} rows, but {len(frames)} frames are named in the file or its metadata.json")
    first, last = metadata.get("start_frame"), metadata.get("end_frame")
    if isinstance(first, int) and isinstance(last, int) and last - first + 1 == num:
        return np.arange(num) + first - shift
    if num == len(frame_ids):
        return frame_ids.copy()
    raise UserError(f"{arrays.path}: {num} rows, and neither 'frame_ids' nor metadata.json says which frames they are of")


def _betas(arrays: Arrays) -> np.ndarray:
    betas = arrays.get("betas", "pred_shape", "shape", "beta")
    if betas is None:
        return np.zeros(10)
    if betas.ndim == 0:
        raise UserError(f"{arrays.path}: 'betas' is a single number; (10,) is expected")
    if betas.size == 0:
        raise UserError(f"{arrays.path}: 'betas' has shape {betas.shape}; (10,) is expected")
    betas = betas.astype(float).reshape(-1, betas.shape[-1])
    finite = np.isfinite(betas).all(1)
    return np.median(betas[finite], 0) if finite.any() else np.full(betas.shape[1], np.nan)


def _pose(arrays: Arrays) -> np.ndarray:
    """(n, 22 | 24 | 55, 3) rotation vectors from whatever names and shapes hold them."""
    if (rotmat := arrays.get("pred_rotmat", "rotmat")) is not None:
        if rotmat.ndim != 4 or rotmat.shape[1] not in _JOINT_COUNTS.values() or rotmat.shape[2:] != (3, 3):
            raise UserError(f"{arrays.path}: 'pred_rotmat' has shape {rotmat.shape}; (n, 24, 3, 3) is expected")
        return _from_rotmat(rotmat, f"{arrays.path}: 'pred_rotmat'")
    pose = arrays.get("poses", "pose", "theta")
    if pose is not None and pose.ndim < 2:
        raise UserError(f"{arrays.path}: 'poses' has shape {pose.shape}; (n, 23, 3), (n, 66), (n, 72) or (n, 165) is expected")
    if pose is not None and (pose.ndim != 3 or pose.shape[1] in (24, 55)):
        if (flat := pose.reshape(len(pose), -1)).shape[1] in (66, 72, 165):
            return flat.reshape(len(flat), -1, 3).astype(float)
        if arrays.get("global_orient", "root_orient") is None:
            raise UserError(f"{arrays.path}: 'poses' has shape {pose.shape}; (n, 23, 3), (n, 66), (n, 72) or (n, 165) is expected")
    body = arrays.get("body_pose", "pose_body") if pose is None else pose
    root = arrays.need("global_orient", "root_orient")
    if body is None:
        raise UserError(f"{arrays.path}: no pose; it holds {', '.join(arrays.names)}; known keys are poses, body_pose, pred_rotmat")
    if body.ndim < 2 or root.ndim < 2:
        raise UserError(f"{arrays.path}: a pose of shapes {body.shape} and {root.shape}; (n, 21 | 23, 3) and (n, 3) are expected")
    said = f"{arrays.path}: the pose"
    body, root = (_from_rotmat(part, said) if part.shape[-2:] == (3, 3) and part.ndim == 4 else part for part in (body, root))
    num = len(root)
    body = body.reshape(len(body), -1, 3) if body.size and body[0].size % 3 == 0 else body
    if len(body) != num or body.shape[1:] not in ((_NUM_BODY - 1, 3), (_NUM_SMPL - 1, 3)) or root.size != 3 * num:
        raise UserError(
            f"{arrays.path}: the body's pose has shape {body.shape} beside 'global_orient' {root.shape}; (n, 21 | 23, 3) and (n, 3) "
            "are expected"
        )
    pose = np.concatenate([root.reshape(num, 1, 3), body], 1).astype(float)
    return _with_hands(arrays, pose)


def _with_hands(arrays: Arrays, pose: np.ndarray) -> np.ndarray:
    """SMPL-X's 55 joints where the file has fingers, else the pose as it is."""
    parts = {name: arrays.get(name) for name in ("left_hand_pose", "right_hand_pose", "jaw_pose")}
    if parts["left_hand_pose"] is None and parts["right_hand_pose"] is None:
        return pose
    whole = np.zeros((len(pose), _NUM_SMPLX, 3))
    whole[:, :_NUM_BODY] = pose[:, :_NUM_BODY]
    for name, at in (("jaw_pose", slice(22, 23)), ("left_hand_pose", slice(25, 40)), ("right_hand_pose", slice(40, 55))):
        if (part := parts[name]) is not None:
            size = at.stop - at.start
            if part.size != len(pose) * size * 3:
                raise UserError(f"{arrays.path}: '{name}' has shape {part.shape}; ({len(pose)}, {3 * size}) is expected")
            whole[:, at] = part.reshape(len(pose), size, 3)
    return whole


def _from_rotmat(rotmat: np.ndarray, source: str) -> np.ndarray:
    finite = np.isfinite(rotmat).all((-1, -2))
    if (np.linalg.det(rotmat[finite].astype(float)) <= 0).any():
        raise UserError(f"{source} holds matrices that are no rotations; are they mirrored, or zeros where nothing was found?")
    out = np.full(rotmat.shape[:-1], np.nan)
    if finite.any():
        out[finite] = Rotation.from_matrix(rotmat[finite].astype(float)).as_rotvec()
    return out


def mended(body: BodyTrack, frame_ids: np.ndarray, warnings: list[str]) -> BodyTrack:
    """Rows in order, each frame once, all finite, all within the clip, angles at most pi; `warnings` takes a line for each fault.

    Raises:
        UserError: if no row is left, or rotations seem to be in degrees.
    """
    said = f"{body.source}:"
    inside = np.isin(body.frames, frame_ids)
    if not inside.all():
        warnings.append(f"{said} rows of frames without a camera were left out: {listed(body.frames[~inside].tolist())}")
    refuse_degrees(body.pose[:, 1:], body.source)
    sound = are_turns(body.pose).all(1) & are_places(body.transl)
    if body.joints is not None:
        sound &= are_places(body.joints).all(1)
    if not sound.all():
        warnings.append(
            f"{said} rows that are not finite, or beyond what rotations and places can be, were left out: frames "
            f"{listed(body.frames[~sound].tolist())}"
        )
    body = body.rows(inside & sound)
    frames, first, counts = np.unique(body.frames, return_index=True, return_counts=True)
    if (counts > 1).any():
        warnings.append(f"{said} frames that come more than once, the first row of each is used: {listed(frames[counts > 1].tolist())}")
    body = body.rows(first)
    if not len(frames):
        raise UserError(f"{body.source}: no usable row is left")
    if len(frames) == 1:
        warnings.append(f"{said} the person is seen on one frame only; nothing can be said about the motion")
    # a thousandth of a radian above pi is rounding; more is a pose that was never canonicalised
    wide = np.linalg.norm(body.pose, axis=-1) > np.pi + 1e-3
    if wide.any():
        warnings.append(f"{said} {counted(int(wide.sum()), 'rotation vector')} longer than pi, shortened to the same rotation")
    pose = Rotation.from_rotvec(body.pose.reshape(-1, 3)).as_rotvec().reshape(body.pose.shape) if wide.any() else body.pose
    betas = body.betas
    if not (np.abs(betas) < _MOST_BETA).all():
        warnings.append(f"{said} betas {listed(betas.round(1).tolist(), 3)} are no shape; the mean shape is taken")
        betas = np.zeros_like(betas)
    return replace(body, pose=pose, betas=betas)


def with_joints(pose: np.ndarray, num_joints: int) -> np.ndarray:
    """A pose (n, J, 3) on a body of another number of joints: the 22 of the body are kept, what is missing is not rotated."""
    if pose.shape[1] == num_joints:
        return pose
    out = np.zeros((len(pose), num_joints, 3))
    out[:, :_NUM_BODY] = pose[:, :_NUM_BODY]
    return out
