"""Motions of the field's files as clips: SMPL bodies over time at 30 frames a second, z up, feet on the floor at z = 0."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.builtin import BALL_HEIGHT, rest_joints
from pose_priors.body.motion import MotionWindows, posed_joints
from pose_priors.body.motion_state import FPS, NUM_JOINTS
from pose_priors.body.rotations import slerp
from pose_priors.configs.base import UserError
from pose_priors.datamodules.arrays import Entry, describe, open_arrays
from pose_priors.datamodules.contacts import find_floor, label_contacts
from pose_priors.datamodules.formats import PoseSource
from pose_priors.datamodules.plausibility import MAX_DISTANCE, UNITS, are_places, find_unit, is_too_fast

UpAxis = Literal["auto", "x", "y", "z", "-x", "-y", "-z"]

SMPL_STATURE = 1.70
"""Metres; stature at which the built-in skeleton has the legs of SMPL's mean shape, so that feet that are planted in SMPL's motions stand
still on it too."""
_TRANSLATIONS = ("trans", "transl")
MIN_SECONDS = 1.0
# Least cosine between an axis and where bodies point on average for that axis to be taken for up.
_CLEARLY_UP = 0.6


class UnusableClipError(Exception):
    """A file that is a motion, but none to learn from; the message is a short reason by which such files are counted."""


@dataclass(frozen=True)
class Clip:
    """One person over time.

    Attributes:
        name: where it comes from.
        pose: (T, 22, 3) float32 canonical rotation vectors, the root's relative to the world.
        pelvis: (T, 3) float32 metres.
        rest: (22, 3) float32 metres, joints at rest, y up, the pelvis at the origin.
        contacts: (T, 9) bool, which of `CONTACT_JOINTS` touch.
        unit: of the translations in the file, one of `plausibility.UNITS`; here they are in metres.
    """

    name: str
    pose: Tensor
    pelvis: Tensor
    rest: Tensor
    contacts: Tensor
    unit: str = "metres"

    def __len__(self) -> int:
        return len(self.pose)

    @property
    def joints(self) -> Tensor:
        """(T, 22, 3) metres."""
        return posed_joints(self.pose, self.pelvis, self.rest)

    def as_window(self) -> MotionWindows:
        """The whole clip as one window."""
        return MotionWindows(self.pose[None], self.pelvis[None], self.rest[None], self.contacts[None])


def read_clip(path: Path, *, fps: float | None = None, up_axis: UpAxis = "auto", trim: bool = False, stature: float = SMPL_STATURE) -> Clip:
    """The motion in a file of AMASS's layout: poses of any layout that `datamodules.formats` knows, with `trans` or `transl`.

    Bodies are the built-in skeleton, since files of the field give betas and no model; a body's size does not change its rotations, and the
    floor is found by its feet. So is the unit of translations: some files have them in centimetres.

    Args:
        fps: frames a second of a file that does not say.
        up_axis: which axis of the file points up; `auto` finds it by how bodies stand.
        trim: whether to keep only the middle 80 %.
        stature: metres, of the built-in skeleton.
    Raises:
        UserError: if the file cannot be read, is no motion, or its frame rate or up-axis cannot be told.
        UnusableClipError: if there is nothing in it to learn from.
    """
    source = PoseSource(path, hand_convention="absolute")
    entries = open_arrays(path)
    trans = _translation(path, entries, source.num_rows)
    if source.wrong_rate is not None:
        raise UserError(f"{path}: {source.wrong_rate}")
    if not source.num_rows:
        raise UnusableClipError("without frames")
    rate = source.fps or fps
    if rate is None:
        raise UserError(f"{path}: no frame rate (mocap_framerate, mocap_frame_rate or fps); give data.fps for files that do not say")
    poses, num_nan, _ = source.read(np.arange(source.num_rows))
    if num_nan or not np.isfinite(trans).all():
        raise UnusableClipError("with NaN")
    if len(poses) != source.num_rows or not are_places(trans).all():
        raise UnusableClipError("with frames that are no pose")
    rows = slice(round(0.1 * len(poses)), round(0.9 * len(poses))) if trim else slice(None)
    body, points = torch.from_numpy(poses[rows, :NUM_JOINTS]).double(), torch.from_numpy(trans[rows]).double()
    body, points = _resampled(body, points, rate)
    if len(body) < MIN_SECONDS * FPS:
        raise UnusableClipError("shorter than a second")
    body, points = _upright(path, body, points, up_axis)
    unit = find_unit(posed_joints(body, torch.zeros_like(points), rest_joints(stature)[:NUM_JOINTS]), points)
    points = points * UNITS[unit]
    if float(points.abs().max()) > MAX_DISTANCE:
        raise UnusableClipError("farther than 10 km from the origin")
    if is_too_fast(points):
        raise UnusableClipError("faster than people move")
    return replace(make_clip(path.stem, body, points, stature), unit=unit)


def make_clip(name: str, pose: Tensor, pelvis: Tensor, stature: float) -> Clip:
    """A clip of a motion with z up, at 30 frames a second, put on its floor, its contacts labelled.

    Args:
        pose: (T, 22, 3); pelvis: (T, 3) metres; stature: metres, of the built-in skeleton.
    """
    pose, pelvis, rest = pose.double(), pelvis.double(), rest_joints(stature)[:NUM_JOINTS].double()
    joints = posed_joints(pose, pelvis, rest)
    below = pelvis.new_tensor([0.0, 0.0, find_floor(joints, BALL_HEIGHT * stature)])
    contacts = label_contacts(joints - below)
    return Clip(name, pose.float(), (pelvis - below).float(), rest.float(), contacts)


def y_up_to_z_up(pose: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """A motion (T, 22, 3) with its pelvis (T, 3), turned by a quarter about x so that y becomes z."""
    return _turned(pose, points, to_z_up("y"))


def _translation(path: Path, entries: dict[str, Entry], num_rows: int) -> np.ndarray:
    for name in _TRANSLATIONS:
        if name in entries:
            if entries[name].shape != (num_rows, 3):
                raise UserError(f"{path}: {name} is {entries[name].shape}, not ({num_rows}, 3), one row for each pose")
            if not entries[name].kind.startswith(("float", "int")):
                raise UserError(f"{path}: {name} is of {entries[name].kind}; numbers of metres are expected")
            return np.asarray(entries[name].load(), dtype=np.float64)
    raise UserError(f"{path}: no {' or '.join(_TRANSLATIONS)}, without which poses are no motion; it holds {describe(entries)}")


def _resampled(pose: Tensor, trans: Tensor, fps: float) -> tuple[Tensor, Tensor]:
    """Poses by slerp (Shoemake, SIGGRAPH 1985) and translations by lerp at 30 frames a second, of a motion at `fps`."""
    if fps == FPS:
        return pose, trans
    at = torch.arange(int((len(pose) - 1) * FPS / fps + 1e-6) + 1, dtype=torch.float64) * fps / FPS
    left = at.floor().long().clamp_max(max(len(pose) - 2, 0))
    right, share = (left + 1).clamp_max(len(pose) - 1), at - left
    return slerp(pose[left], pose[right], share[:, None, None]), trans[left] + (trans[right] - trans[left]) * share[:, None]


def _upright(path: Path, pose: Tensor, trans: Tensor, up_axis: UpAxis) -> tuple[Tensor, Tensor]:
    if up_axis == "auto":
        # the trunk's own y, on average: people stand, walk and sit far more than they lie
        mean = conversions.rotvec_to_rotmat(pose[:, 0])[..., 1].mean(0)
        axis = int(mean.abs().argmax())
        if mean[axis].abs() < _CLEARLY_UP:
            raise UserError(
                f"{path}: no axis is clearly up (bodies point to {[round(float(x), 2) for x in mean]} on average); give data.up_axis"
            )
        up_axis = ("-" if mean[axis] < 0 else "") + "xyz"[axis]  # type: ignore[assignment]
    return _turned(pose, trans, to_z_up(up_axis))


def to_z_up(axis: str) -> Tensor:
    """(3, 3) the smallest rotation that brings an axis to z."""
    turns = {"x": [0, -1, 0], "-x": [0, 1, 0], "y": [1, 0, 0], "-y": [-1, 0, 0], "z": [0, 0, 0], "-z": [2, 0, 0]}
    turn: Tensor = conversions.rotvec_to_rotmat(torch.tensor(turns[axis], dtype=torch.float64) * torch.pi / 2)
    return turn


def _turned(pose: Tensor, points: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    root = conversions.rotmat_to_rotvec(turn.to(pose) @ conversions.rotvec_to_rotmat(pose[:, 0]))
    return torch.cat([root[:, None], pose[:, 1:]], 1), points @ turn.to(points).T
