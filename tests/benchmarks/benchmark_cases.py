"""Small mixtures and generated data for the benchmark's tests."""

from __future__ import annotations

import roma
import torch
from torch import Tensor

from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.gmm import Mixture
from pose_priors.body.rotations import canonicalize
from pose_priors.body.skeleton import NUM_JOINTS


def mixture(joints: tuple[int, ...], num_components: int = 3, spread: float = 0.3, seed: int = 0) -> Mixture:
    """A mixture of Gaussians with full covariances, all of whose mass is well within angles of pi."""
    generator = torch.Generator().manual_seed(seed)
    size = 3 * len(joints)
    root = torch.randn(num_components, size, size, generator=generator, dtype=torch.float64) * spread / size**0.5
    covariances = root @ root.mT + (spread / 4) ** 2 * torch.eye(size, dtype=torch.float64)
    means = 0.5 * torch.randn(num_components, size, generator=generator, dtype=torch.float64)
    weights = torch.rand(num_components, generator=generator, dtype=torch.float64) + 0.2
    return Mixture("mixture", joints, torch.zeros(NUM_JOINTS, 3), weights / weights.sum(), means, covariances)


def poses_of(joints: tuple[int, ...], num: int, seed: int = 0) -> Tensor:
    """Draws from a mixture, (num, 55, 3) float64."""
    return mixture(joints).sample(num, torch.Generator().manual_seed(seed))


def small_data(joints: tuple[int, ...], num: int = 300) -> BenchmarkData:
    """Three sides of one mixture's draws."""
    return BenchmarkData(*(poses_of(joints, num, seed) for seed in (1, 2, 3)), joints, "0123456789abcdef")


def uniform_poses(num: int, seed: int = 0) -> Tensor:
    """Poses (num, 55, 3) float64 whose every joint is uniform on SO(3)."""
    quat = torch.randn(num, NUM_JOINTS, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return canonicalize(roma.unitquat_to_rotvec(quat / quat.norm(dim=-1, keepdim=True)))
