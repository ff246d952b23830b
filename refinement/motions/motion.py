"""One person over time, as faults are looked for in it: upright, in metres, on its floor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_priors.body.builtin import ANKLE_HEIGHT, BALL_HEIGHT
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import PARENTS, index_of

NUM_JOINTS = 22
"""Joints of the body, SMPL-X's first ones."""

SOLES = tuple(index_of(f"{side}_{joint}") for side in ("left", "right") for joint in ("ankle", "foot"))
"""The joints that stand over the floor: ankle and ball, left and right."""

HEIGHTS = np.array([ANKLE_HEIGHT, BALL_HEIGHT] * 2)
"""(4,) heights of `SOLES` above the sole of a flat foot, as fractions of stature."""


@dataclass(frozen=True)
class Motion:
    """One person over time.

    Attributes:
        quat: (T, 22, 4) unit quaternions, xyzw, of neighbouring frames on one side; joint 0 relative to a world with z up.
        pelvis: (T, 3) metres, z up, the floor at z = 0.
        rest: (22, 3) metres, joints at rest, y up, the pelvis at the origin.
        stature: metres.
        fps: frames a second.
        known: (T,) bool, false on frames that the file has no finite numbers for; these hold something finite.
        has_path: whether the file says where the pelvis is.
        floor: metres, the height above the origin of the file at which the floor was found; the pelvis is less that.
    """

    quat: np.ndarray
    pelvis: np.ndarray
    rest: np.ndarray
    stature: float
    fps: float
    known: np.ndarray
    has_path: bool = True
    floor: float = 0.0

    def __len__(self) -> int:
        return len(self.quat)

    @cached_property
    def joints(self) -> np.ndarray:
        """(T, 22, 3) metres."""
        rotvec = torch.from_numpy(rotvec_of(self.quat))
        joints, _ = forward_kinematics(rotvec, torch.from_numpy(self.rest), PARENTS[:NUM_JOINTS])
        placed: np.ndarray = joints.numpy() - self.rest[0] + self.pelvis[:, None]
        return placed

    @cached_property
    def soles(self) -> np.ndarray:
        """(T, 4, 3) metres, the soles under `SOLES` as if the foot were flat."""
        under: np.ndarray = self.joints[:, list(SOLES)] - np.array([0, 0, 1.0]) * (HEIGHTS * self.stature)[:, None]
        return under

    def changed(self, quat: np.ndarray | None = None, pelvis: np.ndarray | None = None) -> Motion:
        """The motion with other rotations or another path."""
        return replace(self, quat=self.quat if quat is None else continuous(quat), pelvis=self.pelvis if pelvis is None else pelvis)


def continuous(quat: np.ndarray) -> np.ndarray:
    """Unit quaternions (T, ..., 4) with the signs that bring neighbouring frames closest."""
    quat = quat / np.linalg.norm(quat, axis=-1, keepdims=True)
    sign = np.where((quat[1:] * quat[:-1]).sum(-1) < 0, -1.0, 1.0)
    out: np.ndarray = quat.copy()
    out[1:] *= np.cumprod(sign, 0)[..., None]
    return out


def quat_of(rotvec: np.ndarray) -> np.ndarray:
    """Continuous unit quaternions (T, J, 4) of rotation vectors (T, J, 3)."""
    return continuous(Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_quat().reshape(*rotvec.shape[:-1], 4))


def rotvec_of(quat: np.ndarray) -> np.ndarray:
    """Canonical rotation vectors (..., 3) of quaternions (..., 4)."""
    rotvec: np.ndarray = Rotation.from_quat(quat.reshape(-1, 4)).as_rotvec().reshape(*quat.shape[:-1], 3)
    return rotvec


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles (...) in radians between rotations (..., 4), finite and exact at 0."""
    apart = np.minimum(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))
    turned: np.ndarray = 4 * np.arcsin(np.clip(apart / 2, 0, 1))
    return turned
