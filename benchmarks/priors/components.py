"""Baselines that are mixtures of Gaussians, as draws of what they believe are led by them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pose_priors.priors.gaussians.quadratic import Quadratic
from pose_priors.priors.posteriors.components import Components

# From how many groups modes are looked for, and rows whose densities are held at once.
_MAX_GROUPS = 16
_ROWS = 512


class SharedGaussians(Components):
    """M Gaussians over D numbers in G groups of one covariance each.

    Args:
        weights: (M,).
        means: (M, D).
        covariances: (G, D, D).
        group: (M,) whose covariance each has.
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor, group: Tensor) -> None:
        self._members = [(group == number).nonzero().squeeze(-1) for number in range(len(covariances))]
        self._log_weights, self._means, self._group = weights.double().log(), means.double(), group
        self._precisions: Tensor = torch.linalg.inv(covariances.double())
        self._log_det = torch.linalg.slogdet(self._precisions).logabsdet

    def groups(self) -> tuple[Tensor, Tensor]:
        """The heaviest groups, each around the mean of its means."""
        weight = torch.stack([self._log_weights[members].logsumexp(0) for members in self._members])
        heaviest = weight.topk(min(_MAX_GROUPS, len(weight))).indices.tolist()
        means, precisions = [], []
        for number in heaviest:
            members = self._members[number]
            share = self._log_weights[members].softmax(0)
            mean = share @ self._means[members]
            off = self._means[members] - mean
            covariance = torch.linalg.inv(self._precisions[number]) + (share * off.T) @ off
            means.append(mean)
            precisions.append(torch.linalg.inv(covariance))
        return torch.stack(means), torch.stack(precisions)

    def precisions(self) -> Tensor:
        return self._precisions

    def draw_component(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        drawn = [_drawn(self._log_densities(rows), generator) for rows in x.double().split(_ROWS)]
        which, log_density = (torch.cat(part) for part in zip(*drawn, strict=True))
        return self._means[which].to(x), self._group[which], log_density.to(x)

    def draw_under(self, likelihood: Quadratic, num: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        parts = [self._of_one(*one, num, generator) for one in zip(likelihood.centre, likelihood.precision, strict=True)]
        drawn, evidence = zip(*parts, strict=True)
        return torch.stack(drawn, 1).to(likelihood.top), likelihood.top + torch.stack(evidence).to(likelihood.top)

    def _log_densities(self, x: Tensor) -> Tensor:
        """Log of weight times density: (B, D) -> (B, M)."""
        found, constant = x.new_empty(len(x), len(self._means)), x.shape[1] / 2 * math.log(2 * math.pi)
        for members, precision, log_det in zip(self._members, self._precisions, self._log_det, strict=True):
            root = torch.linalg.cholesky(precision)
            apart = torch.cdist(x @ root, self._means[members] @ root)
            found[:, members] = self._log_weights[members] + (log_det - apart.square()) / 2 - constant
        return found

    def _of_one(self, centre: Tensor, seen: Tensor, num: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Draws (num, D) from the mixture times exp(-(x - centre)' seen (x - centre) / 2), and the logarithm of the integral."""
        centre, seen = centre.double(), seen.double()
        whole = self._precisions + seen
        root = torch.linalg.cholesky(whole)
        volume = (self._log_det - torch.linalg.slogdet(whole).logabsdet) / 2
        covariance = torch.cholesky_inverse(root)
        log_share = torch.empty_like(self._log_weights)
        for number, members in enumerate(self._members):
            # what is left of both is one quadratic in how far the mean is from the centre
            both = self._precisions[number] @ covariance[number] @ seen
            off = self._means[members] - centre
            log_share[members] = self._log_weights[members] + volume[number] - ((off @ both) * off).sum(-1) / 2
        which = torch.multinomial(log_share.softmax(0), num, replacement=True, generator=generator)
        group, normal = self._group[which], torch.randn(num, len(centre), generator=generator, dtype=torch.float64)
        pulled = torch.einsum("nab,nb->na", self._precisions[group], self._means[which]) + seen @ centre
        spread = torch.linalg.solve_triangular(root[group].mT, normal.unsqueeze(-1), upper=True).squeeze(-1)
        return torch.cholesky_solve(pulled.unsqueeze(-1), root[group]).squeeze(-1) + spread, log_share.logsumexp(0)


def _drawn(log_share: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """One of M for each of B rows (B, M), and the logarithms of the rows' sums."""
    return torch.multinomial(log_share.softmax(-1), 1, generator=generator).squeeze(-1), log_share.logsumexp(-1)
