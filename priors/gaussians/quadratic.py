"""A likelihood as a quadratic function of what it is of: where a posterior is looked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Radians by which gradients are differenced.
_DIFFERENCE = 3e-3
# Curvature, relative to the largest, below which a direction counts as not seen.
_FLAT = 1e-7

Likelihood = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Places (Q, O, D) -> log-likelihoods of O observations there, (Q, O), and gradients (Q, O, D)."""


@dataclass(frozen=True)
class Quadratic:
    """top - (x - centre)' precision (x - centre) / 2 in nats, for each of O observations: centre (O, D), precision (O, D, D), top (O,)."""

    centre: Tensor
    precision: Tensor
    top: Tensor

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(P, O, D) -> (P, O), (P, O, D)."""
        off = x - self.centre
        gradient = -torch.einsum("oab,pob->poa", self.precision, off)
        return self.top + (gradient * off).sum(-1) / 2, gradient

    def rows(self, observation: int) -> tuple[Tensor, Tensor, Tensor]:
        """The same of one observation as V sums of x seen with noise: matrix (V, D), their values (V,), variances (V,)."""
        values, vectors = torch.linalg.eigh(self.precision[observation].double())
        seen = values > _FLAT * values.max().clamp_min(1e-30)
        matrix = vectors[:, seen].T
        return matrix, matrix @ self.centre[observation].double(), 1 / values[seen]


@dataclass(frozen=True)
class Bumps:
    """The logarithm of a sum of exponentials of quadratics: roughly a likelihood that has several modes."""

    parts: Sequence[Quadratic]

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(P, O, D) -> (P, O), (P, O, D)."""
        values, gradients = (torch.stack(part) for part in zip(*[part.value_and_gradient(x) for part in self.parts], strict=True))
        return values.logsumexp(0), (values.softmax(0).unsqueeze(-1) * gradients).sum(0)

    def precision_at(self, x: Tensor) -> Tensor:
        """(O, D) -> (O, D, D)."""
        values = torch.stack([part.value_and_gradient(x[None])[0][0] for part in self.parts])
        return torch.einsum("ko,koab->oab", values.softmax(0), torch.stack([part.precision for part in self.parts]))


def expansion(likelihood: Likelihood, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-likelihoods at places (Q, O, D) to second order: value (Q, O), slope (Q, O, D) and minus the second derivatives without what is
    convex, (Q, O, D, D), all float64."""
    size = place.shape[-1]
    offsets = _DIFFERENCE * torch.cat([torch.zeros(1, size), torch.eye(size)]).to(place)
    places = place.unsqueeze(1) + offsets[:, None]
    values, gradients = (part.double().unflatten(0, places.shape[:2]) for part in likelihood(places.flatten(0, 1)))
    found = (gradients[:, :1] - gradients[:, 1:]).movedim(1, 2) / _DIFFERENCE
    curvatures, vectors = torch.linalg.eigh((found + found.mT) / 2)
    positive = (vectors * curvatures.clamp_min(0).unsqueeze(-2)) @ vectors.mT
    return values[:, 0], gradients[:, 0], positive


def curvature(likelihood: Likelihood, place: Tensor) -> Tensor:
    """That of `expansion` alone: (O, D) -> (O, D, D) float64."""
    return expansion(likelihood, place[None])[2][0]


def quadratic_at(at: Tensor, value: Tensor, slope: Tensor, bend: Tensor, share: float) -> Quadratic:
    """Log-likelihoods by what they are at places (O, D): value (O,), slope (O, D) and curvature (O, D, D), of which a share is taken."""
    # where the quadratic has its top; along what is not seen there is none
    values, vectors = torch.linalg.eigh(bend)
    inverse = torch.where(values > _FLAT * values.amax(-1, keepdim=True), 1 / values.clamp_min(1e-30), torch.zeros_like(values))
    ahead = torch.einsum("oab,ob,ocb,oc->oa", vectors, inverse, vectors, slope)
    top = value + (ahead * slope).sum(-1) / 2
    return Quadratic(at + ahead, share * bend, top)
