"""Expectation maximisation for a mixture of Gaussians whose covariances are drawn towards what they have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LLOYD_STEPS = 10
# Mean log-likelihood in nats that an iteration has to gain for there to be another one.
_TOLERANCE = 1e-2


@dataclass(frozen=True)
class GaussianMixture:
    """Weights (K,) that sum to one, means (K, D) and covariances (K, D, D)."""

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def log_densities(self, x: Tensor) -> Tensor:
        """Log of weight times density of each Gaussian: (N, D) -> (N, K)."""
        root = torch.linalg.cholesky(self.covariances)
        eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).expand_as(root)
        whitening = torch.linalg.solve_triangular(root, eye, upper=False)
        constant: Tensor = self.weights.log() - root.diagonal(dim1=-2, dim2=-1).log().sum(-1) - x.shape[-1] / 2 * math.log(2 * math.pi)
        # one Gaussian at a time: all of them at once would hold K copies of the poses
        squares = [((x - mean) @ white.T).square().sum(-1) for mean, white in zip(self.means, whitening, strict=True)]
        return constant - torch.stack(squares, -1) / 2


def fit_mixture(
    x: Tensor, num_components: int, strength: float, floor: float, generator: torch.Generator, max_iterations: int = 60
) -> GaussianMixture:
    """The mixture of the largest posterior density under an inverse-Wishart prior on its covariances, near a start by k-means.

    A covariance of D dimensions from a few hundred poses is poorly known. Each is drawn towards the pooled covariance within
    components as by `strength` more poses (Fraley and Raftery, "Bayesian regularization for normal mixture estimation and model-based
    clustering", Journal of Classification 24, 2007).

    Args:
        x: (N, D) float64.
        num_components: K; fewer come out where there are fewer distinct rows.
        strength: of the prior, in poses.
        floor: added to each variance, in squared units of x.
        generator: draws the start, on the CPU.
        max_iterations: at most.
    """
    share = _start(x, num_components, generator)
    mixture, before = _maximise(x, share, strength, floor), -math.inf
    for _ in range(max_iterations):
        log_densities = mixture.log_densities(x)
        likelihood = float(torch.logsumexp(log_densities, -1).mean())
        if likelihood < before + _TOLERANCE:
            break
        before = likelihood
        mixture = _maximise(x, torch.softmax(log_densities, -1), strength, floor)
    return mixture


def _maximise(x: Tensor, share: Tensor, strength: float, floor: float) -> GaussianMixture:
    """The mixture that fits rows (N, D) of which each Gaussian has a share (N, K)."""
    count = share.sum(0)
    share, count = share[:, count > 1e-3], count[count > 1e-3]
    means = share.T @ x / count[:, None]
    scatter = torch.stack([_scatter(x - mean, weight) for mean, weight in zip(means, share.T, strict=True)])
    pooled = scatter.sum(0) / len(x)
    covariances = (scatter + strength * pooled) / (count + strength)[:, None, None]
    covariances = covariances + floor * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return GaussianMixture(count / count.sum(), means, covariances)


def _scatter(centred: Tensor, weight: Tensor) -> Tensor:
    return (centred * weight[:, None]).T @ centred


def _start(x: Tensor, num_components: int, generator: torch.Generator) -> Tensor:
    """Which of K groups each row is in, one-hot (N, K), by k-means from distant rows (Arthur and Vassilvitskii, SODA 2007)."""
    centres = x[torch.randint(len(x), (1,), generator=generator)]
    nearest = (x - centres).square().sum(-1)
    while len(centres) < num_components and nearest.max() > 0:
        row = torch.multinomial(nearest.cpu(), 1, generator=generator).to(x.device)
        centres = torch.cat([centres, x[row]])
        nearest = torch.minimum(nearest, (x - x[row]).square().sum(-1))
    for _ in range(_LLOYD_STEPS):
        group = torch.nn.functional.one_hot(torch.cdist(x, centres).argmin(-1), len(centres)).to(x)
        count = group.sum(0)
        centres = torch.where(count[:, None] > 0, group.T @ x / count.clamp_min(1)[:, None], centres)
    return torch.nn.functional.one_hot(torch.cdist(x, centres).argmin(-1), len(centres)).to(x)
