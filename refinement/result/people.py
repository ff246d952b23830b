"""Refined people as a folder of stage 5 holds them: the one reader of `smpl_params_refined.npz`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError, listed
from pose_priors.datamodules.plausibility import MAX_FPS, MIN_FPS
from pose_priors.refinement.formats.files import Arrays, existing_file, read_json
from pose_priors.refinement.result.metrics import Track
from pose_priors.refinement.result.write import RESULTS, person_file

_JOINTS = (22, 24, 55)
_MOST, _UNIT = 1e9, 1e-2  # of any number of a result; by how much a normal's length may differ from 1
_LAST_FRAME = 2**53  # what a double counts to
_HANDS = ("jaw_pose", "leye_pose", "reye_pose", "left_hand_pose", "right_hand_pose")


def stated_fps(folder: Path) -> float | None:
    """Frames a second of the clip that a folder of stage 5 says it holds; None where it does not say. Raises `UserError` if it is none."""
    fps = read_json(folder / RESULTS).get("fps")
    if fps is None:
        return None
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not MIN_FPS <= fps <= MAX_FPS:
        raise UserError(f"{folder / RESULTS}: 'fps' is {fps!r}; {MIN_FPS:g} to {MAX_FPS:g} frames a second are expected")
    return float(fps)


@dataclass(frozen=True)
class RefinedPerson:
    """One refined person, a row for each frame from the first to the last on which the input sees them, world of stage 1, float64.

    What is not in `track` is read and checked when it is asked for. It raises `UserError` if the file lacks it, or it is misshaped or not
    finite.

    Attributes:
        person: the tracker's id.
        arrays: the file.
        track: frames (n,) and joints (n, J, 3), metres; J is 22, 24 or 55.
    """

    person: int
    arrays: Arrays
    track: Track

    @cached_property
    def pose(self) -> np.ndarray:
        """(n, J, 3) rotation vectors, the first relative to the world."""
        num_frames, num_joints = self.track.joints.shape[:2]
        fields = ("global_orient", "body_pose", *(_HANDS if num_joints == 55 else ()))
        parts = []
        for field in fields:
            value = self._array(field, num_frames, None)
            if value.shape[1] % 3:
                raise self._misshaped(field, value, f"({num_frames}, 3 for each joint)")
            parts.append(value.reshape(num_frames, value.shape[1] // 3, 3))
        pose = np.concatenate(parts, 1)
        if pose.shape[1] != num_joints:
            raise UserError(f"{self.arrays.path}: {listed(fields, 9)} hold {pose.shape[1]} joints; {num_joints} are expected")
        return pose

    @cached_property
    def betas(self) -> np.ndarray:
        """(B,) shape coefficients of the model that the bodies were given in."""
        return self._array("betas", None)

    @cached_property
    def transl(self) -> np.ndarray:
        """(n, 3) metres, smplx's: the pelvis less J0."""
        return self._array("transl", len(self.track.frames), 3)

    @cached_property
    def visible(self) -> np.ndarray:
        """(n,) bool, whether the input sees the person; the poses of other frames are guesses between those around them."""
        return self._array("visible", len(self.track.frames)).astype(bool)

    @cached_property
    def contacts(self) -> np.ndarray:
        """(n, C) in [0, 1], how surely each joint that can carry rests on the floor."""
        return self._array("contacts", len(self.track.frames), None)

    @cached_property
    def joint_sigma_mm(self) -> np.ndarray:
        """(n, J) millimetres, the root mean square distance at which the true joint is to be expected; nan where the file is silent."""
        shape = self.track.joints.shape[:2]
        return self._array("joint_sigma_mm", *shape) if "joint_sigma_mm" in self.arrays else np.full(shape, np.nan)

    @cached_property
    def w2c(self) -> np.ndarray:
        """(n, 4, 4) world to camera, metres."""
        return self._array("camera_w2c", len(self.track.frames), 4, 4)

    @cached_property
    def intrinsics(self) -> np.ndarray:
        """(n, 3, 3) in pixels of the full image."""
        return self._array("intrinsics", len(self.track.frames), 3, 3)

    @cached_property
    def ground_plane(self) -> np.ndarray:
        """(4,) up-facing unit normal n and d with n.x + d = 0, metric."""
        plane = self._array("ground_plane", 4)
        if abs(np.linalg.norm(plane[:3]) - 1) > _UNIT:
            raise UserError(f"{self.arrays.path}: 'ground_plane' is {plane.round(3).tolist()}; a unit normal and an offset are expected")
        return plane

    @property
    def scale_alpha(self) -> float:
        """metric = scale_alpha * stage 1."""
        return float(self._array("scale_alpha"))

    @property
    def scale_delta(self) -> float:
        """scale_alpha = alpha0 (1 + scale_delta)."""
        return float(self._array("scale_delta"))

    def _array(self, name: str, *shape: int | None) -> np.ndarray:
        """Floats of a shape; None is any size."""
        value = self.arrays.need(name)
        fits = len(value.shape) == len(shape) and all(want in (None, size) for size, want in zip(value.shape, shape, strict=True))
        if not fits or value.dtype.kind not in "fiub" or not (np.abs(value.astype(float)) < _MOST).all():
            raise self._misshaped(name, value, f"({', '.join('any' if size is None else str(size) for size in shape)})")
        return value.astype(float)

    def _misshaped(self, name: str, value: np.ndarray, expected: str) -> UserError:
        path = self.arrays.path
        return UserError(f"{path}: '{name}' has shape {value.shape}; {expected}, finite, is expected; refine the sequence again")


def rest_offsets(turns: np.ndarray, joints: np.ndarray, parents: Sequence[int]) -> np.ndarray:
    """(J, 3) of each joint from its parent at rest, the root's 0: the median over frames of the bones, turned back.

    Args:
        turns: (n, J, 3, 3) of each joint relative to the world; joints: (n, J, 3) metres.
    """
    above = list(parents[1:])
    bones = np.einsum("tjba,tjb->tja", turns[:, above], joints[:, 1:] - joints[:, above])
    return np.concatenate([np.zeros((1, 3)), np.median(bones, 0)])


def people_in(folder: Path) -> list[int]:
    """The ids of those who have a `person_<id>` in a folder of stage 5, ascending."""
    named = {path.name[7:] for path in folder.glob("person_*")}
    return sorted({int(name) for name in named if name.isascii() and name.isdigit()})


def read_person(folder: Path, person: int) -> RefinedPerson:
    """One person of a folder of stage 5. Raises `UserError` if the file is missing, or its frames or joints are wrong."""
    path = existing_file(person_file(folder, person), f"person {person} of a refinement")
    arrays = Arrays(path)
    joints, frames = arrays.need("joints"), arrays.need("frame_ids")
    num_frames = len(frames) if frames.ndim == 1 else 0
    num_joints = joints.shape[1] if joints.ndim == 3 else 0
    fits = num_joints in _JOINTS and joints.shape == (num_frames, num_joints, 3) and num_frames > 0
    if not fits or joints.dtype.kind not in "fiu" or not (np.abs(joints.astype(float)) < _MOST).all():
        expected = f"({num_frames}, {' | '.join(map(str, _JOINTS))}, 3), finite, is expected"
        raise UserError(f"{path}: 'joints' has shape {joints.shape} for {num_frames} frames; {expected}; refine the sequence again")
    if frames.dtype.kind not in "fiu" or not (np.abs(frames) < _LAST_FRAME).all() or (frames != np.round(frames)).any():
        raise UserError(
            f"{path}: 'frame_ids' is {listed(frames.tolist(), 3)}; whole numbers of frames are expected; refine the sequence again"
        )
    return RefinedPerson(person, arrays, Track(frames.astype(int), joints.astype(float)))
