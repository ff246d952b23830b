"""Windows of clips as other makers might have recorded them: joints with other axes, bodies held otherwise, motions slower or faster."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.motion import MotionWindows, joints_at_rest
from pose_priors.body.motion_state import CONTACT_JOINTS, NUM_JOINTS
from pose_priors.body.skeleton import JOINT_NAMES, PARENTS

_PARENTS = list(PARENTS[1:NUM_JOINTS])
CARRIED = [joint for joint in range(1, NUM_JOINTS) if not JOINT_NAMES[joint].endswith(("hip", "knee", "ankle", "foot"))]
"""Joints of trunk, arms and head."""
_IS_CARRIED = torch.tensor([joint in CARRIED for joint in range(NUM_JOINTS)])
_TOUCHING = [place for place, joint in enumerate(CONTACT_JOINTS) if joint in CARRIED]


def with_other_axes(windows: MotionWindows, turns: Tensor, carried: Tensor) -> MotionWindows:
    """Windows whose joints have other axes, as skeletons of other makers do: each joint's rotation is told in axes that are turned.

    Joints stay where they are, since bones at rest are told in the turned axes; the legs' always, so that feet that stand go on standing.
    Of bodies that are carried bones of trunk, arms and head stay as they are at rest, so that the body is held otherwise all along.

    Args:
        windows: B of them.
        turns: (B, 22, 3) rotation vectors, of the joints' axes; the root's is 0.
        carried: (B,) bool.
    """
    turn = conversions.rotvec_to_rotmat(turns.to(windows.pose))  # (B, 22, 3, 3)
    before = turn[:, _PARENTS].mT
    local = conversions.rotvec_to_rotmat(windows.pose[:, :, 1:])
    pose = conversions.rotmat_to_rotvec(before[:, None] @ local @ turn[:, None, 1:])
    bones = windows.rest[:, 1:] - windows.rest[:, _PARENTS]
    kept = carried[:, None] & _IS_CARRIED[1:]
    bones = torch.where(kept[..., None], bones, (before @ bones[..., None])[..., 0])
    rest = joints_at_rest(windows.rest[:, 0], bones)
    return replace(windows, pose=torch.cat([windows.pose[:, :, :1], pose], 2), rest=rest)


def cubic(values: Tensor, at: Tensor) -> Tensor:
    """Values (B, T, ...) between frames at (B, N), by the cubics through two frames on each side whose slopes are those of neighbours
    (Catmull and Rom, 1974)."""
    last = values.shape[1] - 1
    left = at.floor().clamp(0, max(last - 1, 0)).long()
    share = (at - left).to(values)
    rows = torch.arange(len(values))[:, None]
    four = [values[rows, (left + offset).clamp(0, last)] for offset in (-1, 0, 1, 2)]
    s = share.view(*share.shape, *[1] * (values.dim() - 2))
    weights = (-s + 2 * s**2 - s**3, 2 - 5 * s**2 + 3 * s**3, s + 4 * s**2 - 3 * s**3, s**3 - s**2)
    return 0.5 * sum(weight * value for weight, value in zip(weights, four, strict=True))  # type: ignore[return-value]


def at_times(pose: Tensor, pelvis: Tensor, contacts: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Motions (B, T, ...) at times (B, N) in frames: rotations and the pelvis on cubics, contacts those of the nearest frame."""
    quats = conversions.rotvec_to_unitquat(pose)
    swapped = torch.zeros_like(quats[..., :1], dtype=torch.long)
    swapped[:, 1:] = (quats[:, 1:] * quats[:, :-1]).sum(-1, keepdim=True) < 0  # of the two signs the one nearer to the frame before
    quats = quats * (1 - 2 * (swapped.cumsum(1) % 2))
    between = cubic(quats, at)
    rotvec = conversions.unitquat_to_rotvec(between / torch.linalg.vector_norm(between, dim=-1, keepdim=True))
    rows = torch.arange(len(pose))[:, None]
    return rotvec, cubic(pelvis, at), contacts[rows, at.round().long().clamp(0, contacts.shape[1] - 1)]


def with_upper_bodies(windows: MotionWindows, others: MotionWindows) -> MotionWindows:
    """Windows with the rotations of trunk, arms and head, from the pelvis, of others. Wrists touch where they do in both."""
    pose, contacts = windows.pose.clone(), windows.contacts.clone()
    pose[:, :, CARRIED] = others.pose[:, :, CARRIED]
    contacts[..., _TOUCHING] &= others.contacts[..., _TOUCHING]
    return replace(windows, pose=pose, contacts=contacts)
