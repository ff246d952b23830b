"""Points of a body, where they are in a pose, and how poses are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_priors.body.model import chained


@dataclass(frozen=True)
class PoseGaussian:
    """How rotation vectors of N joints are distributed, the root's left out, which knows no usual value.

    Attributes:
        mean: (N, 3) radians; the root's is not looked at.
        whiten: (3 (N - 1), 3 (N - 1)) what a deviation is multiplied with so that its components are independent and of variance 1.
    """

    mean: Tensor
    whiten: Tensor

    @classmethod
    def of(cls, poses: Tensor, least_std: float = 0.03) -> PoseGaussian:
        """The Gaussian of poses (M, N, 3), by mean and covariance; no direction is narrower than `least_std` radians."""
        rows = poses[:, 1:].flatten(1).double()
        mean = rows.mean(0)
        variance, axes = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
        whiten = axes.T / variance.clamp_min(least_std**2).sqrt()[:, None]
        return cls(torch.cat([poses.new_zeros(1, 3).double(), mean.view(-1, 3)]), whiten)


@dataclass(frozen=True)
class BodyPoints:
    """K points that are fixed to joints of a body.

    Attributes:
        joint: (K,) the joint that carries each.
        offset: (K, 3) metres from the joint, in the joint's axes.
        sigma: (K,) metres by which what was seen of each errs.
    """

    joint: Tensor
    offset: Tensor
    sigma: Tensor


@dataclass(frozen=True)
class Fit:
    """What was found.

    Attributes:
        pose: (T, N, 3) rotation vectors; root: (T, 3) metres, where the root joint stands.
        rest: (N, 3) metres, of the proportions that were found.
        points: with the offsets that were found.
        places: (T, K, 3) metres, where the points are then.
    """

    pose: Tensor
    root: Tensor
    rest: Tensor
    points: BodyPoints
    places: Tensor


def placed(rotmat: Tensor, root: Tensor, points: BodyPoints, rest: Tensor, parents: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Points (T, K, 3), joints (T, N, 3) and rotations relative to the world (T, N, 3, 3)."""
    joints, turned = chained(rotmat, bones_of(rest, parents), parents)
    joints = joints + root[:, None]
    places = joints[:, points.joint] + (turned[:, points.joint] @ points.offset[:, :, None])[..., 0]
    return places, joints, turned


def bones_of(rest: Tensor, parents: Sequence[int]) -> Tensor:
    """(N, 3) each joint from its parent at rest; the root's is zero."""
    return torch.cat([torch.zeros_like(rest[:1]), rest[1:] - rest[list(parents[1:])]])


def carriers_of(parents: Sequence[int]) -> Tensor:
    """(N, N) 1 where the column is the row's joint or one that carries it."""
    carriers = torch.eye(len(parents))
    for joint, parent in enumerate(parents[1:], start=1):
        carriers[joint] += carriers[parent]
    return carriers
