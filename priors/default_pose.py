"""The pose that a prior gives the joints which it has not learnt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.body.rotations import mean_rotation

_ROOT = 0


@torch.no_grad()
def default_pose(poses: Tensor, learnt: Sequence[int]) -> Tensor:
    """The mean rotation of each joint. But a root that is not learnt is the identity, upright and facing the viewer in SMPL-X's own axes:
    which way people faced, or which axis of a data set is up, says nothing of how they pose.

    Args:
        poses: (N, 55, 3) training poses, rotation vectors in radians in SMPL-X order.
        learnt: SMPL-X indices of the joints that are learnt.
    Returns:
        (55, 3) of the same type as `poses`.
    """
    mean = torch.stack([mean_rotation(joint.double()) for joint in poses.unbind(1)]).to(poses)
    if _ROOT not in learnt:
        mean[_ROOT] = 0
    return mean
