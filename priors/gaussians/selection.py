"""A kernel mixture whose settings are chosen by how likely rows are that it was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import Field, field_validator
from torch import Tensor

from pose_priors.configs.base import Config
from pose_priors.priors.gaussians.em import GaussianMixture, fit_mixture
from pose_priors.priors.gaussians.kernels import KernelMixture

# One row in so many is held out.
_HELD_OUT = 8
_EM_STEPS = 300
# No part counts less: what held-out poses have no use for, wide Gaussians above all, bounds the energy of stranger ones.
_MIN_SHARE = 1e-3


class KernelsConfig(Config):
    """How a kernel mixture is built of poses."""

    num_components: list[int] = Field(default_factory=lambda: [8, 4, 8, 16], min_length=1)
    """Gaussians of each clustering of the poses."""
    widths: list[float] = Field(default_factory=lambda: [0.5, 0.65, 0.8, 1.0, 1.5, 2.5], min_length=1)
    """Of kernels, relative to their cluster; from 1 on a cluster is one Gaussian. Held-out poses decide how much each counts."""
    covariance_floors: list[float] = Field(default_factory=lambda: [1e-4, 1e-5, 1e-3], min_length=1)
    """Added to variances in rad^2; held-out poses choose one."""
    covariance_strength: float = Field(100.0, ge=0)
    """Of the prior that draws the covariances of clusters towards each other, in poses."""
    max_centres: int = Field(10_000, ge=2)
    """Training poses that are kept."""

    @field_validator("num_components", "widths", "covariance_floors")
    @classmethod
    def _check(cls, values: list[float]) -> list[float]:
        if min(values) <= 0:
            raise ValueError("must be above 0")
        return values

    def kernels(self, size: int) -> KernelMixture:
        """The mixture of rows of so many numbers, before `fit`."""
        return KernelMixture(size, len(self.num_components), self.widths)

    def fit(self, kernels: KernelMixture, x: Tensor) -> None:
        """Fits it to rows (N, D), of which `max_centres` are kept."""
        kept = torch.linspace(0, len(x) - 1, min(len(x), self.max_centres)).round().long()
        fit_kernels(kernels, x[kept.to(x.device)], Candidates(self.num_components, self.covariance_floors, self.covariance_strength))


@dataclass(frozen=True)
class Candidates:
    """Between what is chosen: the numbers of Gaussians of the clusterings, of which all stay, and the floors of variances in rad^2, of
    which one does. `strength` is that of the prior on covariances, in poses."""

    num_components: Sequence[int]
    floors: Sequence[float]
    strength: float


@torch.no_grad()
def fit_kernels(kernels: KernelMixture, x: Tensor, candidates: Candidates, seed: int = 0) -> None:
    """Fits a kernel mixture to rows (N, D): floor and shares by rows that are held out, then clusters and kernels with all of them.

    The shares are those under which the held-out rows are the most likely (by EM, which for shares alone has one optimum).
    """
    x = x.double()
    held_out = torch.arange(len(x), device=x.device) % _HELD_OUT == _HELD_OUT // 2
    if held_out.sum() < 2 or (~held_out).sum() < 2:
        held_out = torch.zeros_like(held_out)
    rest, judge = (x[~held_out], x[held_out]) if held_out.any() else (x, x)

    def fitted(rows: Tensor, number: int, floor: float) -> GaussianMixture:
        generator = torch.Generator().manual_seed(seed + number)
        return fit_mixture(rows, candidates.num_components[number], candidates.strength, floor, generator)

    double = KernelMixture(x.shape[1], len(candidates.num_components), kernels.widths).to(x)
    one = KernelMixture(x.shape[1], 1, kernels.widths).to(x)

    def score(floor: float) -> float:
        _assign(one, rest, [fitted(rest, 0, floor)])
        return _fit_shares(one, judge)

    floor = max(candidates.floors, key=score) if len(candidates.floors) > 1 else candidates.floors[0]
    numbers = range(len(candidates.num_components))
    _assign(double, rest, [fitted(rest, number, floor) for number in numbers])
    _fit_shares(double, judge)
    _assign(kernels, x, [fitted(x, number, floor) for number in numbers])
    kernels.log_share.copy_(double.log_share)


def _assign(kernels: KernelMixture, x: Tensor, mixtures: Sequence[GaussianMixture]) -> None:
    """Clusters of rows (N, D), each of the Gaussian that explains it best; equal shares."""
    groups, means, covariances, first = [], [], [], 0
    for mixture in mixtures:
        best = mixture.log_densities(x).argmax(-1)
        used, group = best.unique(return_inverse=True)
        groups.append(group + first)
        means.append(mixture.means[used])
        covariances.append(mixture.covariances[used])
        first += len(used)
    share = torch.full_like(kernels.log_share, 1 / kernels.log_share.numel())
    kernels.set(x, torch.stack(groups), torch.cat(means), torch.cat(covariances), share)


def _fit_shares(kernels: KernelMixture, x: Tensor) -> float:
    """Sets the shares that make rows (N, D) the most likely; returns the mean log-likelihood in nats."""
    observation = kernels.observation(torch.arange(x.shape[1], device=x.device))
    of_parts = torch.cat([kernels.log_parts(chunk, observation) for chunk in x.split(512)])
    share = kernels.log_share.exp()
    for _ in range(_EM_STEPS):
        share = torch.softmax((of_parts + share.log()).flatten(1), -1).mean(0).view_as(share)
    kernels.log_share.copy_(share.clamp_min(_MIN_SHARE).log())
    return float(torch.logsumexp((of_parts + share.log()).flatten(1), -1).mean())
