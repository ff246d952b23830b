"""From joint rotations to joint positions: forward kinematics over a tree of rest joints, one batched product per level of the tree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import roma
import torch
from torch import Tensor

from body.skeleton import PARENTS, tree_depth


def forward_kinematics(rotvec: Tensor, rest_joints: Tensor, parents: Sequence[int] = PARENTS) -> tuple[Tensor, Tensor]:
    """Joint positions and global rotations of a posed skeleton, differentiable in both arguments.

    Joints of one depth are posed together, so the number of tensor operations grows with the depth of the tree and not with its joints.
    A translation is added to the joints afterwards; a rest skeleton that is linear in shape coefficients is made before.

    Args:
        rotvec: (*batch, J, 3) rotation of each joint relative to its parent, in radians; the root's is relative to the world. The root
            turns about its own rest position, as in smplx.
        rest_joints: (J, 3), or (*batch, J, 3) with batch dimensions that broadcast; joint positions in metres when nothing is rotated.
        parents: J indices, parents before their children, the root (first) with -1.
    Returns:
        joints (*batch, J, 3) in metres, and the rotations of the joints relative to the world (*batch, J, 3, 3).
    Raises:
        ValueError: if the three do not have the same number of joints, or the tree is not in topological order with one root.
    """
    num_joints = len(parents)
    if rotvec.shape[-2:] != (num_joints, 3) or rest_joints.shape[-2:] != (num_joints, 3):
        raise ValueError(
            f"a tree of {num_joints} joints needs rotations and rest joints (..., {num_joints}, 3); "
            f"got {tuple(rotvec.shape)} and {tuple(rest_joints.shape)}"
        )
    _, _, parent, _ = _levels(tuple(parents), rotvec.device)
    offset = torch.cat([rest_joints[..., :1, :], rest_joints[..., 1:, :] - rest_joints.index_select(-2, parent)], -2)
    return chained(roma.rotvec_to_rotmat(rotvec), offset, parents)


def chained(rotmat: Tensor, offset: Tensor, parents: Sequence[int] = PARENTS) -> tuple[Tensor, Tensor]:
    """What `forward_kinematics` gives, from rotation matrices and bones.

    Args:
        rotmat: (*batch, J, 3, 3) of each joint relative to its parent; the root's is relative to the world.
        offset: (*batch, J, 3) with batch dimensions that broadcast, metres: of each joint from its parent, in the parent's axes at rest; of
            the root, its position.
    """
    order, back, _, levels = _levels(tuple(parents), rotmat.device)
    offset = offset.expand(torch.broadcast_shapes(offset.shape, rotmat.shape[:-1])).index_select(-2, order)
    local = rotmat.index_select(-3, order).expand(*offset.shape, 3)

    rotations, positions = [local[..., :1, :, :]], [offset[..., :1, :]]
    for first, last, above in levels:
        up = rotations[-1].index_select(-3, above)
        rotations.append(up @ local[..., first:last, :, :])
        positions.append(positions[-1].index_select(-2, above) + (up @ offset[..., first:last, :, None])[..., 0])
    return torch.cat(positions, -2).index_select(-2, back), torch.cat(rotations, -3).index_select(-3, back)


@lru_cache(maxsize=32)
def _levels(parents: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor, list[tuple[int, int, Tensor]]]:
    """A tree sorted by depth: the order, its inverse, the parents of all but the root, and for each level below the root its slice of the
    order and where its joints' parents stand within the level above."""
    if any(not (parent < joint and (parent >= 0) == (joint > 0)) for joint, parent in enumerate(parents)):
        raise ValueError(f"parents must start with one root (-1) and come before their children; got {parents}")
    depth = tree_depth(parents)
    order = sorted(range(len(parents)), key=lambda joint: depth[joint])
    place = {joint: i for i, joint in enumerate(order)}
    start = [sum(d < level for d in depth) for level in range(max(depth) + 2)]

    def index(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=device)

    levels = [
        (start[d], start[d + 1], index([place[parents[joint]] - start[d - 1] for joint in order[start[d] : start[d + 1]]]))
        for d in range(1, max(depth) + 1)
    ]
    return index(order), index([place[joint] for joint in range(len(parents))]), index(list(parents[1:])), levels
