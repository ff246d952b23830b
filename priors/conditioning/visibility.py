"""Which joints are visible: random subsets for training a prior that completes poses, and what a caller says of it."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.body.pose_vectors import check_poses
from pose_priors.body.skeleton import NUM_JOINTS, PARENTS

# Shares of the batch: nothing visible (so that the unconditional density is learnt), a limb or subtree hidden (occlusion), joints hidden
# one by one (missed detections).
_SHARE_NONE, _SHARE_SUBTREE = 0.5, 0.25


def check_visible(poses: object, visible: object) -> None:
    """Refuses what is no poses (*batch, 55, 3), see `check_poses`, and what does not say which of the joints are visible.

    Raises:
        TypeError: if one is no tensor, or `visible` holds no booleans.
        ValueError: on other shapes.
    """
    check_poses(poses)
    if not isinstance(visible, Tensor) or visible.dtype != torch.bool:
        found = visible.dtype if isinstance(visible, Tensor) else type(visible).__name__
        raise TypeError(f"visible is a tensor of booleans, (*batch, {NUM_JOINTS}); got {found}")
    if visible.shape[-1:] != (NUM_JOINTS,):
        raise ValueError(f"visible is (*batch, {NUM_JOINTS}), a boolean for each joint in SMPL-X order; got {tuple(visible.shape)}")


def with_visible(poses: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Poses (*batch, 55, 3) and what is visible of them, (*batch, 55), both checked and of the batch that they broadcast to."""
    check_visible(poses, visible)
    batch = torch.broadcast_shapes(poses.shape[:-2], visible.shape[:-1])
    return poses.expand(*batch, *poses.shape[-2:]), visible.expand(*batch, -1)


def draw_visible(num_poses: int, joint_indices: Sequence[int], device: torch.device) -> Tensor:
    """Random visibility of J joints, (num_poses, J) bool."""
    num_joints = len(joint_indices)
    hidden_subtree = _subtrees(tuple(joint_indices)).to(device)[torch.randint(num_joints, (num_poses,), device=device)]
    hidden_each = torch.rand(num_poses, num_joints, device=device) < torch.rand(num_poses, 1, device=device)
    kind = torch.rand(num_poses, 1, device=device)
    hidden = torch.where(kind < _SHARE_NONE + _SHARE_SUBTREE, hidden_subtree, hidden_each)
    return ~hidden & (kind >= _SHARE_NONE)


@functools.cache
def _subtrees(joint_indices: tuple[int, ...]) -> Tensor:
    """(J, J) bool: whether a joint (column) is another (row) or below it."""
    return torch.tensor([[_is_below(joint, top) for joint in joint_indices] for top in joint_indices])


def _is_below(joint: int, top: int) -> bool:
    while joint >= 0 and joint != top:
        joint = PARENTS[joint]
    return joint == top
