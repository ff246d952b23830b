"""Random latent quantities, many postures at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Draw:
    """Random numbers for n postures, float64, from one generator."""

    def __init__(self, num_poses: int, generator: torch.Generator) -> None:
        self.num_poses = num_poses
        self.generator = generator

    def normal(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> Tensor:
        """(n, *shape) normal."""
        return mean + std * torch.randn(self.num_poses, *shape, generator=self.generator, dtype=torch.float64)

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        """(n, *shape) in the open interval, dense in its middle, thin towards its ends: a squashed normal."""
        share: Tensor = torch.special.ndtr(0.9 * self.normal(*shape))
        return low + (high - low) * share

    def uniform(self, *shape: int) -> Tensor:
        """(n, *shape) uniform in [0, 1)."""
        return torch.rand(self.num_poses, *shape, generator=self.generator, dtype=torch.float64)

    def pair(self, mean: float, std: float, correlation: float) -> Tensor:
        """(n, 2) normal, the two sides correlated."""
        shared = self.normal(1, std=math.sqrt(correlation))
        return mean + std * (shared + self.normal(2, std=math.sqrt(1 - correlation)))

    def side(self) -> Tensor:
        """(n, 2): one side 1, the other 0, at random."""
        left = (self.uniform() < 0.5).double()
        return torch.stack([left, 1 - left], -1)


class DrawOnce(Draw):
    """Random numbers for n instants of one person: what is drawn is the same at all of them."""

    def normal(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> Tensor:
        """(n, *shape), n times the same."""
        one = torch.randn(1, *shape, generator=self.generator, dtype=torch.float64)
        return (mean + std * one).expand(self.num_poses, *shape)

    def uniform(self, *shape: int) -> Tensor:
        """(n, *shape), n times the same."""
        return torch.rand(1, *shape, generator=self.generator, dtype=torch.float64).expand(self.num_poses, *shape)
