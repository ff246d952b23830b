"""Which joints a joint's conditional density may look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from pose_priors.body.skeleton import PARENTS

ContextKind = Literal["parent", "ancestors", "correlated"]

NO_JOINT = -1


def max_context(kind: ContextKind, joint_indices: Sequence[int], num_context: int) -> int:
    """The most joints that a joint's context can hold, at least 1, so that tensors have a column even where there is none."""
    if kind == "parent":
        return 1
    if kind == "ancestors":
        return max(1, *(len(_ancestors(joint, joint_indices)) for joint in joint_indices))
    return max(1, min(num_context, len(joint_indices) - 1))


def choose_context(kind: ContextKind, joint_indices: Sequence[int], num_context: int, rotvec: Tensor) -> Tensor:
    """Context joints of each of J joints, all of them earlier in SMPL-X order, so that a pose can be drawn joint by joint.

    `parent` is the nearest learnt joint up the tree, `ancestors` all of them, `correlated` the parent and then, one by one, the earlier
    joint that lowers the conditional Gaussian entropy of this joint the most given those chosen already.

    Args:
        joint_indices: SMPL-X indices of the J joints.
        num_context: how many joints `correlated` picks, the parent among them.
        rotvec: (N, J, 3) training rotations.
    Returns:
        (J, C) positions among the J joints, `NO_JOINT` where there are fewer.
    """
    width = max_context(kind, joint_indices, num_context)
    table = torch.full((len(joint_indices), width), NO_JOINT, dtype=torch.long)
    covariance = torch.cov(rotvec.double().flatten(1).T) if kind == "correlated" else None
    for row, joint in enumerate(joint_indices):
        up = [joint_indices.index(a) for a in _ancestors(joint, joint_indices)]
        chosen = up if kind == "ancestors" else up[:1]
        if covariance is not None:
            chosen = _most_informative(covariance, row, chosen, min(width, row))
        table[row, : len(chosen)] = torch.tensor(chosen, dtype=torch.long)
    return table


def generation_order(context: Tensor) -> list[list[int]]:
    """Joints in rounds, each joint after all of its context: with `parent`, the depths of the tree. Args: the (J, C) table."""
    level: list[int] = []
    for row in context.tolist():
        level.append(max((level[i] + 1 for i in row if i != NO_JOINT), default=0))
    return [[j for j, depth in enumerate(level) if depth == d] for d in range(max(level) + 1)]


def _ancestors(joint: int, learnt: Sequence[int]) -> list[int]:
    """Learnt ancestors, nearest first."""
    found, at = [], PARENTS[joint]
    while at >= 0:
        if at in learnt:
            found.append(at)
        at = PARENTS[at]
    return found


def _most_informative(covariance: Tensor, joint: int, chosen: list[int], count: int) -> list[int]:
    chosen = list(chosen)
    while len(chosen) < count:
        candidates = [j for j in range(joint) if j not in chosen]
        entropy = [_conditional_log_det(covariance, joint, [*chosen, j]) for j in candidates]
        chosen.append(candidates[min(range(len(candidates)), key=entropy.__getitem__)])
    return chosen


def _conditional_log_det(covariance: Tensor, joint: int, given: list[int]) -> float:
    """log det of the covariance of one joint given others, by the ratio of determinants."""

    def log_det(joints: list[int]) -> Tensor:
        index = torch.tensor([3 * j + k for j in joints for k in range(3)])
        block = covariance[index][:, index]
        # a hair on the diagonal: joints with one axis have singular blocks
        value: Tensor = torch.linalg.slogdet(block + 1e-8 * torch.eye(len(index), dtype=block.dtype)).logabsdet
        return value

    return float(log_det([joint, *given]) - log_det(given))
