"""How the joints of a person move with its pelvis and with the turn of each joint that may turn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.body.exponential import right_jacobian_transposed
from pose_priors.body.model import forward_kinematics
from pose_priors.refinement.solve.scene import Scene


def joint_jacobians(scene: Scene, parents: Sequence[int], person: int) -> tuple[Tensor, Tensor]:
    """(T, J, 3, 3 + 3 F) of the joints and of their arms, by the place of the pelvis in metres, then by the turn of each of the F joints
    that may turn, in radians."""
    joints, arms, turn = scene.joints[person], scene.arms[person], scene.turn[person]
    frames, count = joints.shape[:2]
    free = scene.free.tolist()
    _, turned = forward_kinematics(scene.rotvec[person], scene.rest_joints[person], parents)
    # exp(w + d) = exp(w) exp(J d): the axes about which each joint turns in the world
    axes = torch.stack([right_jacobian_transposed(turn.movedim(-1, 0), column) for column in _unit_vectors(turn)], -1).movedim(0, -1)
    axes = turned @ axes
    of_joints = joints.new_zeros(frames, count, 3, 1 + len(free), 3)
    of_arms = torch.zeros_like(of_joints)
    of_joints[:, :, :, 0] = torch.eye(3, dtype=joints.dtype)
    below_each = carried(parents)
    for column, joint in enumerate(free, start=1):
        below = below_each[joint]
        axis = axes[:, joint, None]
        of_joints[:, below, :, column] = _crossed(axis, joints[:, below] - joints[:, joint, None])
        of_arms[:, below, :, column] = _crossed(axis, arms[:, below])
    return of_joints.flatten(3), of_arms.flatten(3)


def _unit_vectors(like: Tensor) -> list[Tensor]:
    """Three (3, ...), of the shape of (..., 3) vectors."""
    out = []
    for k in range(3):
        unit = torch.zeros_like(like.movedim(-1, 0))
        unit[k] = 1
        out.append(unit)
    return out


def _crossed(axes: Tensor, points: Tensor) -> Tensor:
    """(..., 3, 3): each column of the axes (..., 3, 3) times points (..., 3)."""
    across: Tensor = torch.linalg.cross(axes, points[..., None].expand_as(axes + points[..., None]), dim=-2)
    return across


def carried(parents: Sequence[int]) -> list[list[int]]:
    """Each joint and the joints that it carries."""
    found: list[list[int]] = [[joint] for joint in range(len(parents))]
    for joint in range(len(parents) - 1, 0, -1):
        found[parents[joint]] += found[joint]
    return [sorted(joints) for joints in found]
