"""Pieces of motions as tensors: the built-in skeleton over time, z up, before any model's own view of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pose_priors.body.model import forward_kinematics
from pose_priors.body.motion_state import CONTACT_JOINTS, NUM_JOINTS, make_states
from pose_priors.body.skeleton import MIRROR, PARENTS, index_of

_LEG = [index_of(name) for name in ("left_hip", "left_knee", "left_ankle")]
_MIRROR = list(MIRROR[:NUM_JOINTS])
MIRRORED_CONTACTS = [CONTACT_JOINTS.index(MIRROR[joint]) for joint in CONTACT_JOINTS]


def posed_joints(pose: Tensor, pelvis: Tensor, rest: Tensor) -> Tensor:
    """Joints (..., 22, 3) in metres of bodies: rotation vectors (..., 22, 3), pelvis (..., 3), joints at rest (..., 22, 3)."""
    joints, _ = forward_kinematics(pose, rest, PARENTS[:NUM_JOINTS])
    return joints - joints[..., :1, :] + pelvis[..., None, :]


def joints_at_rest(root: Tensor, bones: Tensor) -> Tensor:
    """(..., 22, 3) metres at rest, of the root's place (..., 3) and the bones (..., 21, 3) from each other joint's parent."""
    joints = [root]
    for joint, parent in enumerate(PARENTS[1:NUM_JOINTS]):
        joints.append(joints[parent] + bones[..., joint, :])
    return torch.stack(joints, -2)


def leg_length(rest: Tensor) -> Tensor:
    """(...) metres from hip to ankle along the bones, of joints (..., 22 or more, 3) at rest."""
    lengths: Tensor = torch.linalg.vector_norm(torch.diff(rest[..., _LEG, :], dim=-2), dim=-1)
    return lengths.sum(-1)


def steps(joints: Tensor) -> Tensor:
    """(..., T, J) metres that joints (..., T, J, 3) move in a frame: the smaller of the steps to and from it, so that a stance counts
    whole. Zero for a single frame."""
    if joints.shape[-3] == 1:
        return torch.zeros_like(joints[..., 0])
    moved = torch.linalg.vector_norm(torch.diff(joints, dim=-3), dim=-1)
    return torch.minimum(torch.cat([moved[..., :1, :], moved], -2), torch.cat([moved, moved[..., -1:, :]], -2))


@dataclass  # not frozen: Lightning sets the fields of a copy where it changes their precision
class MotionWindows:
    """B windows of motions at 30 frames a second, z up, the floor at z = 0.

    Attributes:
        pose: (B, T, 22, 3) rotation vectors, the root's relative to the world.
        pelvis: (B, T, 3) metres.
        rest: (B, 22, 3) metres, joints at rest, y up, the pelvis at the origin.
        contacts: (B, T, 9) bool, which of `CONTACT_JOINTS` touch.
    """

    pose: Tensor
    pelvis: Tensor
    rest: Tensor
    contacts: Tensor

    def __len__(self) -> int:
        return len(self.pose)

    def to(self, *args: Any, **kwargs: Any) -> MotionWindows:
        """The windows on another device."""
        return MotionWindows(*(value.to(*args, **kwargs) for value in (self.pose, self.pelvis, self.rest, self.contacts)))

    def states(self) -> Tensor:
        """(B, T - 2, 339) of all frames but the first and last, whose neighbours tell their velocities."""
        with torch.autocast(self.pose.device.type, enabled=False):  # differences of rotations, which half precision does not tell
            return make_states(self.pose, posed_joints(self.pose, self.pelvis, self.rest[:, None]))[:, 1:-1]

    def mirrored(self) -> MotionWindows:
        """The motions seen in a mirror across the world's x axis: sides swapped."""
        flip = self.pose.new_tensor([1.0, -1.0, -1.0])
        over = self.pose.new_tensor([-1.0, 1.0, 1.0])
        rest = self.rest[:, _MIRROR] * over
        return MotionWindows(self.pose[..., _MIRROR, :] * flip, self.pelvis * over, rest, self.contacts[..., MIRRORED_CONTACTS])


def select(windows: MotionWindows, other: MotionWindows, take_other: Tensor) -> MotionWindows:
    """For each window one of two, by (B,) bool."""

    def chosen(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(take_other.view(-1, *[1] * (a.dim() - 1)), b, a)

    return MotionWindows(*(chosen(getattr(windows, n), getattr(other, n)) for n in ("pose", "pelvis", "rest", "contacts")))
