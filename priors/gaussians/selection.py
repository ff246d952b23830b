"""A kernel mixture whose settings are chosen by how likely rows are that it was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_priors.priors.gaussians.em import GaussianMixture, fit_mixture
from pose_priors.priors.gaussians.kernels import KernelMixture

# One row in so many is held out.
_HELD_OUT = 8
_EM_STEPS = 300
# No part counts less: what held-out poses have no use for, wide Gaussians above all, bounds the energy of stranger ones.
_MIN_SHARE = 1e-3


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
