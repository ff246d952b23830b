"""Priors as mixtures of normal densities, as draws of what they believe are led by them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from pose_priors.priors.gaussians.kernels import KernelMixture
from pose_priors.priors.gaussians.normal import draw_under
from pose_priors.priors.gaussians.observation import Observation
from pose_priors.priors.gaussians.quadratic import Quadratic


class Components(Protocol):
    """A prior over D numbers, the rotation vectors of its joints: a mixture of normal densities, of which many may share a covariance."""

    def groups(self) -> tuple[Tensor, Tensor]:
        """Means (G, D) and precisions (G, D, D) of a few normal densities that cover the prior: where modes are looked for. float64."""

    def precisions(self) -> Tensor:
        """(C, D, D) float64, those that components have."""

    def draw_component(self, x: Tensor, generator: torch.Generator | None, /) -> tuple[Tensor, Tensor, Tensor]:
        """One of the components for each of B places (B, D), by how probably it brought them forth: its mean (B, D), and the number (B,) of
        its precision. Beside it the log-density (B,) of all components together."""

    def draw_under(self, likelihood: Quadratic, num: int, generator: torch.Generator | None, /) -> tuple[Tensor, Tensor]:
        """Draws (num, O, D) from the prior times O quadratic log-likelihoods, and the logarithms (O,) of their integrals. Where a `top` is
        minus infinity, the integral is zero, and draws are anything finite."""


class OneNormal(Components):
    """A single normal density.

    Args:
        precision: (D, D) and mean: (D,).
    """

    def __init__(self, precision: Tensor, mean: Tensor) -> None:
        self._precision, self._mean = precision.double(), mean.double()

    def groups(self) -> tuple[Tensor, Tensor]:
        return self._mean[None], self._precision[None]

    def precisions(self) -> Tensor:
        return self._precision[None]

    def draw_component(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        normal = torch.distributions.MultivariateNormal(self._mean, precision_matrix=self._precision)
        number = torch.zeros(len(x), dtype=torch.long, device=x.device)
        return self._mean.to(x).expand_as(x), number, normal.log_prob(x.double()).to(x)

    def draw_under(self, likelihood: Quadratic, num: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        return draw_under(self._precision, self._mean, likelihood, num, generator)


class OfKernels(Components):
    """A density of kernels, whose groups are the clusters of its finest clustering.

    Args:
        draw: rotation vectors (B, J, 3) given what is observed of them, (B, V), none of them beyond pi.
    """

    def __init__(self, kernels: KernelMixture, draw: Callable[[Tensor, Observation, torch.Generator | None], Tensor]) -> None:
        self._kernels, self._draw = kernels, draw

    @torch.no_grad()
    def groups(self) -> tuple[Tensor, Tensor]:
        used = self._kernels.finest()
        root = self._kernels.root[used].double()
        return (self._kernels.mean[used] + self._kernels.shift).double(), torch.linalg.inv(root @ root.mT)

    @torch.no_grad()
    def precisions(self) -> Tensor:
        whitening = self._kernels.observation().whitening.double()
        return whitening.mT @ whitening

    @torch.no_grad()
    def draw_component(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        return self._kernels.draw_component(x, self._kernels.observation(), generator)

    @torch.no_grad()
    def draw_under(self, likelihood: Quadratic, num: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        drawn, evidence = [], []
        for number, top in enumerate(likelihood.top):
            if top == -math.inf:
                drawn.append(likelihood.centre.new_zeros(num, likelihood.centre.shape[-1]))
                evidence.append(top)
                continue
            matrix, seen, variance = likelihood.rows(number)
            rows, observation = seen.to(top).expand(num, -1), self._kernels.observation_of(matrix, variance)
            drawn.append(self._draw(rows, observation, generator).flatten(1))
            scale = (2 * math.pi * variance).log().sum() / 2
            evidence.append(top + self._kernels.log_prob(rows[:1], observation)[0] + scale.to(top))
        return torch.stack(drawn, 1), torch.stack(evidence)


class SideBySide(Components):
    """Several such densities over the same numbers, and the mixture of them.

    Args:
        members: K of them.
        weights: (K,), in proportion.
    """

    def __init__(self, members: Sequence[Components], weights: Tensor) -> None:
        self._members, self._log_weights = members, (weights.double() / weights.double().sum()).log()

    def groups(self) -> tuple[Tensor, Tensor]:
        means, precisions = zip(*[member.groups() for member in self._members], strict=True)
        return torch.cat(means), torch.cat(precisions)

    def precisions(self) -> Tensor:
        return torch.cat([member.precisions() for member in self._members])

    def draw_component(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        means, numbers, densities = zip(*[member.draw_component(x, generator) for member in self._members], strict=True)
        log_share = torch.stack(densities, -1) + self._log_weights.to(x)
        chosen = torch.multinomial(log_share.softmax(-1), 1, generator=generator).squeeze(-1)
        rows, before = torch.arange(len(x), device=x.device), 0
        of_all = []
        for member, number in zip(self._members, numbers, strict=True):
            of_all.append(before + number)
            before += len(member.precisions())
        return torch.stack(means)[chosen, rows], torch.stack(of_all)[chosen, rows], log_share.logsumexp(-1)

    def draw_under(self, likelihood: Quadratic, num: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        draws, evidence = zip(*[member.draw_under(likelihood, num, generator) for member in self._members], strict=True)
        log_share = torch.stack(evidence, -1) + self._log_weights.to(likelihood.top)
        # where there is nothing to draw from, any member will do
        share = log_share.softmax(-1).nan_to_num(1.0)
        chosen = torch.multinomial(share, num, replacement=True, generator=generator).T
        rows = torch.arange(len(likelihood.top), device=chosen.device)
        return torch.stack(draws)[chosen, torch.arange(num, device=chosen.device)[:, None], rows], log_share.logsumexp(-1)
