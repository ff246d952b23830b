"""From joint rotations to joint positions: forward kinematics over a tree of rest joints, one batched product per level of the tree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pose_priors.body.exponential import Angles, angles, applied, bounded, cross, exponential, product, right_jacobian_transposed
from pose_priors.body.skeleton import PARENTS, tree_depth


def forward_kinematics(rotvec: Tensor, rest_joints: Tensor, parents: Sequence[int] = PARENTS) -> tuple[Tensor, Tensor]:
    """Joint positions and global rotations of a posed skeleton, differentiable in both arguments.

    Joints of one depth are posed together, so the number of tensor operations grows with the depth of the tree and not with its joints.
    A translation is added to the joints afterwards; a rest skeleton that is linear in shape coefficients is made before.

    Args:
        rotvec: (*batch, J, 3) rotation of each joint relative to its parent, in radians, of any finite length; the root's is relative to
            the world. The root turns about its own rest position, as in smplx.
        rest_joints: (J, 3), or (*batch, J, 3) with batch dimensions that broadcast; joint positions in metres when nothing is rotated.
        parents: J indices, parents before their children, the root (first) with -1.
    Returns:
        joints (*batch, J, 3) in metres, and the rotations of the joints relative to the world (*batch, J, 3, 3).
    Raises:
        ValueError: if the three do not have the same number of joints, or the tree is not in topological order with one root.
    """
    return _posed(rotvec, rest_joints, parents, None)


def joints_and_arms(rotvec: Tensor, rest_joints: Tensor, arm: Tensor, parents: Sequence[int] = PARENTS) -> tuple[Tensor, Tensor]:
    """Joint positions as `forward_kinematics` gives them, and a vector fixed to every joint instead of its rotation, which costs less.

    Args:
        arm: (3,), or (J, 3), in the axes of each joint; constant.
    Returns:
        joints, and the arm of each joint in the axes of the world, (*batch, J, 3) both.
    """
    return _posed(rotvec, rest_joints, parents, arm)


def _posed(rotvec: Tensor, rest_joints: Tensor, parents: Sequence[int], arm: Tensor | None) -> tuple[Tensor, Tensor]:
    num_joints = len(parents)
    if rotvec.shape[-2:] != (num_joints, 3) or rest_joints.shape[-2:] != (num_joints, 3):
        raise ValueError(
            f"a tree of {num_joints} joints needs rotations and rest joints (..., {num_joints}, 3); "
            f"got {tuple(rotvec.shape)} and {tuple(rest_joints.shape)}"
        )
    tree = _tree(tuple(parents), rotvec.device)
    dtype = torch.promote_types(rotvec.dtype, rest_joints.dtype)
    # half precision has not even the range for squares of angles
    wide = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
    rotvec, rest_joints = rotvec.to(wide), rest_joints.to(wide)
    bones = torch.cat([rest_joints[..., :1, :], rest_joints[..., 1:, :] - rest_joints.index_select(-2, tree.above)], -2)
    # not `torch.broadcast_shapes`, which imports sympy to find it
    rotvec, bones = torch.broadcast_tensors(rotvec, bones)
    batch = rotvec.shape[:-2]
    rotvec, bones = (value.reshape(-1, num_joints, 3) for value in (rotvec, bones))
    joints, turned = (value.to(dtype) for value in _Posed.apply(rotvec, bones, arm, tree))  # type: ignore[no-untyped-call]
    return joints.view(*batch, num_joints, 3), turned.view(*batch, *turned.shape[1:])


def chained(rotmat: Tensor, offset: Tensor, parents: Sequence[int] = PARENTS) -> tuple[Tensor, Tensor]:
    """What `forward_kinematics` gives, from rotation matrices and bones.

    Args:
        rotmat: (*batch, J, 3, 3) of each joint relative to its parent; the root's is relative to the world.
        offset: (*batch, J, 3) with batch dimensions that broadcast, metres: of each joint from its parent, in the parent's axes at rest; of
            the root, its position.
    """
    tree = _tree(tuple(parents), rotmat.device)
    offset, _ = torch.broadcast_tensors(offset, rotmat[..., 0])
    rotmat = rotmat.expand(*offset.shape, 3)
    rotations, positions = [rotmat[..., :1, :, :]], [offset[..., :1, :]]
    for joints, above in tree.levels:
        up = rotations[-1].index_select(-3, above)
        rotations.append(up @ rotmat.index_select(-3, joints))
        positions.append(positions[-1].index_select(-2, above) + (up @ offset.index_select(-2, joints)[..., None])[..., 0])
    return torch.cat(positions, -2).index_select(-2, tree.back), torch.cat(rotations, -3).index_select(-3, tree.back)


class _Tree(NamedTuple):
    """A tree by depth.

    Attributes:
        levels: for each level below the root its joints, and where their parents stand within the level above.
        by_depth: (J,) the joints, one level after the other, and counts: how many are in each.
        back: (J,) where each joint stands when the levels are put one after the other.
        above: (J - 1,) parents of all but the root.
        carriers: (J, J) float64: 1 where the column is the row's joint or one that carries it.
    """

    levels: list[tuple[Tensor, Tensor]]
    by_depth: Tensor
    counts: list[int]
    back: Tensor
    above: Tensor
    carriers: Tensor


class _Posed(torch.autograd.Function):
    """Rotation vectors and bones (N, J, 3) to joints (N, J, 3) and rotations (N, J, 3, 3), or what they turn arms (J, 3), or one (3,) for
    all, to, (N, J, 3).

    The gradient is that of rigid bodies: the sums of forces on what each joint carries and of their torques about it, instead of the chain
    rule's products of matrices. Within, components come first and bodies last, so that operations run along rows.
    """

    @staticmethod
    def forward(ctx: Any, rotvec: Tensor, bones: Tensor, arm: Tensor | None, tree: _Tree) -> tuple[Tensor, Tensor]:
        turn, bone = (value.permute(2, 1, 0).contiguous() for value in (rotvec, bones))
        of_turn = angles(turn := bounded(turn))
        root, *levels = exponential(turn, of_turn).index_select(2, tree.by_depth).split(tree.counts, 2)
        chain = [root]
        for (_, above), local in zip(tree.levels, levels, strict=True):
            chain.append(product(chain[-1].index_select(2, above), local))
        turned = torch.cat(chain, 2).index_select(2, tree.back)
        carrying = turned.index_select(2, tree.above)
        carriers = tree.carriers.to(bone)
        places = _exactly(carriers, torch.cat([bone[:, :1], applied(carrying, bone[:, 1:])], 1))
        arms = None if arm is None else (turned * arm.reshape(-1, 3).T[:, :, None]).sum(1)
        ctx.save_for_backward(turn, turned, carrying, places, carriers, arms, *of_turn)
        ctx.set_materialize_grads(False)
        outcome = turned.permute(3, 2, 0, 1) if arms is None else arms.permute(2, 1, 0)
        return places.permute(2, 1, 0).contiguous(), outcome.contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_joints: Tensor | None, of_turned: Tensor | None) -> tuple[Tensor | None, ...]:
        turn, turned, carrying, places, carriers, arms, *of_turn = ctx.saved_tensors
        force, torque = torch.zeros_like(places), torch.zeros_like(places)
        if of_joints is not None:
            force = of_joints.permute(2, 1, 0).contiguous()
            torque = cross(places, force)
        if of_turned is not None and arms is None:
            torque = torque + cross(turned, of_turned.permute(2, 3, 1, 0).contiguous()).sum(1)
        elif of_turned is not None:
            torque = torque + cross(arms, of_turned.permute(2, 1, 0).contiguous())
        # of all that a joint carries, about the origin, then about the joint
        force, torque = (_exactly(carriers.T, value) for value in (force, torque))
        torque = torque - cross(places, force)
        of_rotvec = right_jacobian_transposed(turn, applied(turned.transpose(0, 1), torque), Angles(*of_turn))
        of_bones = torch.cat([force[:, :1], applied(carrying.transpose(0, 1), force[:, 1:])], 1)
        return of_rotvec.permute(2, 1, 0), of_bones.permute(2, 1, 0), None, None


def _exactly(matrix: Tensor, values: Tensor) -> Tensor:
    """Their product in their own precision, also where autocast would have half of it."""
    kind = values.device.type
    if not torch.is_autocast_enabled(kind):  # to switch it off takes longer than the product of a short clip
        return matrix @ values
    with torch.autocast(kind, enabled=False):
        return matrix @ values


@lru_cache(maxsize=32)
def _tree(parents: tuple[int, ...], device: torch.device) -> _Tree:
    if any(not (parent < joint and (parent >= 0) == (joint > 0)) for joint, parent in enumerate(parents)):
        raise ValueError(f"parents must start with one root (-1) and come before their children; got {parents}")
    depth = tree_depth(parents)
    by_depth = [[joint for joint in range(len(parents)) if depth[joint] == level] for level in range(max(depth) + 1)]
    carriers = torch.eye(len(parents), dtype=torch.float64)
    for joint, parent in enumerate(parents[1:], start=1):
        carriers[joint] += carriers[parent]

    def index(values: Iterable[int]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.long, device=device)

    return _Tree(
        levels=[(index(joints), index(above.index(parents[joint]) for joint in joints)) for above, joints in pairwise(by_depth)],
        by_depth=(in_order := index(joint for joints in by_depth for joint in joints)),
        counts=[len(joints) for joints in by_depth],
        back=in_order.argsort(),
        above=index(parents[1:]),
        carriers=carriers.to(device),
    )
