"""Noise to train a denoiser with: of every size, about all axes alike or not, and joints that are not seen at all; and plain noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.rotations import canonicalize

LEAST, MOST = math.radians(0.2), math.radians(40)
"""Standard deviations in radians between which noise is drawn, their logarithms uniform."""
# Shares of noise of one size, and of one for each joint; of the rest each axis has its own, by factors of e to the so many.
_SHARE_ALIKE, _SHARE_BY_JOINT, _APART = 0.5, 0.25, 0.7
# Share of poses that have joints which are not seen, and how many of the joints at most.
_SHARE_HIDDEN, _MOST_HIDDEN = 0.25, 0.8


def draw_std(
    num: int, num_joints: int, like: Tensor, generator: torch.Generator | None, plain_share: float, plain_deg: Sequence[float]
) -> Tensor:
    """(num, J, 3) standard deviations in radians, infinite for joints that are not seen.

    Args:
        plain_share: how much of it is plain: one size for all axes of all joints, which are all seen.
        plain_deg: the least and the largest of that in degrees.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)

    low, high = math.log(LEAST), math.log(MOST)
    alike = (low + (high - low) * uniform(num, 1, 1)).expand(num, num_joints, 3)
    by_joint = low + (high - low) * uniform(num, num_joints, 1)
    by_axis = alike + _APART * torch.randn(alike.shape, generator=generator, dtype=like.dtype, device=like.device)
    kind = uniform(num, 1, 1)
    log_std = torch.where(kind < _SHARE_ALIKE, alike, torch.where(kind < _SHARE_ALIKE + _SHARE_BY_JOINT, by_joint, by_axis))
    hides = uniform(num, 1, 1) < _SHARE_HIDDEN
    hidden = hides & (uniform(num, num_joints, 1) < _MOST_HIDDEN * uniform(num, 1, 1))
    of_every_kind = log_std.clamp(low, high).exp().masked_fill(hidden, math.inf)
    least, most = (math.log(math.radians(degrees)) for degrees in plain_deg)
    plain = (least + (most - least) * uniform(num, 1, 1)).exp()
    return torch.where(uniform(num, 1, 1) < plain_share, plain, of_every_kind)


def turned_by_noise(rotvec: Tensor, std: Tensor, generator: torch.Generator | None) -> Tensor:
    """Rotations (*batch, J, 3), each turned in its own frame by a rotation vector with normal components of deviations `std`, which
    broadcasts; by one of deviation 1 where that is infinite."""
    normal = torch.randn(rotvec.shape, generator=generator, dtype=rotvec.dtype, device=rotvec.device)
    turn = canonicalize(normal * torch.where(std.isfinite(), std, torch.ones_like(std)))
    seen: Tensor = conversions.quat_product(conversions.rotvec_to_unitquat(rotvec), conversions.rotvec_to_unitquat(turn))
    return canonicalize(conversions.unitquat_to_rotvec(seen))
