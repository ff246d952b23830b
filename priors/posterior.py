"""Draws of poses given what was seen: any prior times any likelihood, by annealing and Hamiltonian moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from pose_priors.body.rotations import canonicalize, log_abs_det_exp
from pose_priors.priors.gaussians.quadratic import curvature
from pose_priors.priors.posteriors.particles import (
    Idleness,
    Particles,
    check_asked,
    check_met,
    check_possible,
    moved,
    nats_of,
    next_temperature,
    resampled_at,
    taken,
    whitening_of,
)

LogLikelihood = Callable[[Tensor], Tensor]
"""Poses (num_samples, num_observations, 55, 3) -> nats (num_samples, num_observations), each of its own pose alone; differentiable."""

Energy = Callable[[Tensor], Tensor]
"""Poses (N, 55, 3) -> nats (N,), differentiable."""

Precision = Callable[[Tensor], Tensor]
"""Rotation vectors (B, J, 3) -> (B, 3J, 3J), roughly the inverse covariance of a prior around them."""

_MIN_PARTICLES = 48  # fewer would not tell how far a stage may go
_MAX_STAGES = 200
# Trajectories after each stage, and when all is seen, by particles that begin with the prior, and by those that are led; steps of each.
_MOVES, _LAST_MOVES, _LAST_MOVES_OF_LED, _STEPS = 1, 10, 5, 4
_LONGEST = 1.5
# A rotation has two vectors shorter than 2 pi, both of which are allowed: nothing happens at pi.
_FARTHEST = 2 * math.pi - 1e-3
# Poses that meet the prior at once.
_CHUNK = 2048


class Drawn(Protocol):
    """What of a prior draws are made with, see `priors.base.Prior`."""

    def select(self, pose: Tensor, /) -> Tensor:
        """(*batch, 55, 3) -> (*batch, J, 3)."""

    def expand(self, rotvec: Tensor, /) -> Tensor:
        """(*batch, J, 3) -> (*batch, 55, 3)."""

    def energy(self, pose: Tensor, /) -> Tensor:
        """(*batch, 55, 3) -> (*batch,) nats."""

    def sample(self, num_samples: int, generator: torch.Generator | None, /) -> Tensor:
        """Draws (num_samples, 55, 3)."""


def draw_posterior(
    prior: Drawn, log_likelihood: LogLikelihood, num_observations: int, num_samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draws from p(pose) exp(log_likelihood(pose)) for many observations at once.

    Draws of the prior meet the likelihood by and by, as fast as enough of them survive each step, and move by preconditioned Hamiltonian
    dynamics in between (Del Moral, Doucet and Jasra, "Sequential Monte Carlo samplers", JRSS B 68, 2006; Neal, "MCMC using Hamiltonian
    dynamics", 2011). They are right as far as the prior draws what it scores: a density whose `energy` is `-log_prob`.

    Args:
        log_likelihood: of poses (num_samples, num_observations, 55, 3); also called with other poses than draws.
        num_observations, num_samples: at least 1.
        generator: draws; the same state gives the same poses.
    Returns:
        (num_samples, num_observations, 55, 3), canonical; joints not learnt as in the prior's samples.
    Raises:
        ValueError: if the likelihood of an observation rules out all draws of the prior, is not one number for each draw and observation,
            or has no gradient.
    """
    drawn = first_draws(prior, num_observations, num_samples, generator)
    precision = _precision(drawn.flatten(0, 1))
    seen, density = Seen(prior, log_likelihood, num_samples), _Density(prior, prior.energy)

    def at(place: Tensor) -> _Annealed:
        return _Annealed(place, *density(place), *seen(place))

    def bend(place: Tensor, beta: Tensor) -> Tensor:
        return precision + beta.double()[:, None, None] * curvature(seen, place)

    particles = _annealed(at, bend, drawn, _LAST_MOVES, generator)
    return posed(prior, particles, num_samples)


def lead(
    prior: Drawn,
    place: Tensor,
    precision: Precision,
    meant: Energy,
    log_likelihood: LogLikelihood,
    num_samples: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draws from exp(log_likelihood(pose) - meant(pose)), to which draws of a prior given what was seen lead: they exchange the prior's
    energy for what is meant by and by, and move as in `draw_posterior`.

    Args:
        prior: over the same joints.
        place: (P, O, 3J) rotation vectors, drawn from the prior times the likelihood; P is a multiple of `num_samples`.
        precision: of the prior.
        meant: the energy of another prior, up to a constant.
        log_likelihood, num_samples, generator: as of `draw_posterior`.
    Returns:
        (num_samples, O, 55, 3), as `draw_posterior`.
    """
    seen = Seen(prior, log_likelihood, num_samples)
    own, other = _Density(prior, prior.energy), _Density(prior, meant)

    def at(place: Tensor) -> _Annealed:
        (of_own, own_slope), (of_other, other_slope), (of_seen, seen_slope) = own(place), other(place), seen(place)
        return _Annealed(place, of_own + of_seen, own_slope + seen_slope, of_other - of_own, other_slope - own_slope)

    def bend(place: Tensor, beta: Tensor) -> Tensor:
        return precision(place.unflatten(-1, (-1, 3))).double() + curvature(seen, place)

    return posed(prior, _annealed(at, bend, place, _LAST_MOVES_OF_LED, generator), num_samples)


def first_draws(prior: Drawn, num_observations: int, num_samples: int, generator: torch.Generator | None) -> Tensor:
    """Draws of a prior to begin with: rotation vectors (P, num_observations, 3J), P a multiple of `num_samples`."""
    check_asked(num_observations, num_samples)
    num = math.ceil(_MIN_PARTICLES / num_samples) * num_samples
    return prior.select(prior.sample(num * num_observations, generator)).flatten(1).view(num, num_observations, -1)


def posed(prior: Drawn, place: Tensor, num_samples: int) -> Tensor:
    """So many poses (num_samples, O, 55, 3) of particles (P, O, 3J), those of one ancestor side by side."""
    return prior.expand(canonicalize(place[:: len(place) // num_samples].unflatten(-1, (-1, 3))))


@dataclass(frozen=True)
class _Annealed(Particles):
    """In nats, (P, O), with gradients (P, O, 3J): what is begun with, and what is added to it. Minus infinity where there is none."""

    begun: Tensor
    slope_of_begun: Tensor
    added: Tensor
    slope_of_added: Tensor

    def density(self, beta: Tensor) -> tuple[Tensor, Tensor]:
        """With a share `beta` (O,) of what is added: nats (P, O) and gradients (P, O, 3J)."""
        value = self.begun + torch.where(beta > 0, beta * self.added, torch.zeros_like(self.added))
        return value, self.slope_of_begun + beta.unsqueeze(-1) * self.slope_of_added


@dataclass(frozen=True)
class Seen:
    """A log-likelihood of poses as one of rotation vectors of a prior's joints."""

    prior: Drawn
    of_poses: LogLikelihood
    num_samples: int

    def __call__(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Nats (P, O) and gradients (P, O, 3J), of any number of places."""
        padded = torch.cat([place, place[:1].expand(-len(place) % self.num_samples, -1, -1)])
        blocks = [_gradient(self._of_places, block) for block in padded.split(self.num_samples)]
        values, gradients = (torch.cat(part)[: len(place)] for part in zip(*blocks, strict=True))
        return values, gradients

    def _of_places(self, place: Tensor) -> Tensor:
        nats = nats_of(self.of_poses(self.prior.expand(place.unflatten(-1, (-1, 3)))), place.shape[:2], place)
        if not nats.requires_grad:
            raise ValueError(
                "a log-likelihood has to be differentiable by the pose; this one has no gradient (nothing has in inference mode)"
            )
        return nats


@dataclass(frozen=True)
class _Density:
    """That of an energy over rotation vectors, not rotations."""

    prior: Drawn
    energy: Energy

    def __call__(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Nats (P, O) and gradients (P, O, 3J)."""
        # only the likelihood cares how many it is given at once
        parts = [_gradient(self._of_rows, rows) for rows in place.flatten(0, 1).split(_CHUNK)]
        value, slope = (torch.cat(part).unflatten(0, place.shape[:2]) for part in zip(*parts, strict=True))
        return value, slope

    def _of_rows(self, place: Tensor) -> Tensor:
        rotvec = place.unflatten(-1, (-1, 3))
        return log_abs_det_exp(rotvec).sum(-1) - self.energy(self.prior.expand(rotvec))


def _gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        point = at.detach().requires_grad_()
        value = function(point)
        (gradient,) = torch.autograd.grad(value.sum(), point)
    return value.detach().nan_to_num(nan=-math.inf, posinf=-math.inf, neginf=-math.inf), gradient.nan_to_num(0.0, 0.0, 0.0)


def _annealed(
    at: Callable[[Tensor], _Annealed],
    bend: Callable[[Tensor, Tensor], Tensor],
    place: Tensor,
    num_moves: int,
    generator: torch.Generator | None,
) -> Tensor:
    """Particles (P, O, D) under all that is added, from such under what is begun with.

    Args:
        bend: roughly the curvature at places (O, D) with a share (O,) of what is added: (O, D, D) float64.
        num_moves: in the end.
    """
    particles = at(place)
    check_possible(particles.added, "draws of the prior")
    beta = torch.zeros_like(particles.place[0, :, 0])
    step = torch.full_like(beta, 0.5)
    idleness = Idleness()
    for _ in range(_MAX_STAGES):
        after = next_temperature(beta, particles.added)
        if idleness.ends(beta, after):
            break
        chosen = resampled_at((after - beta) * particles.added, generator)
        particles, beta = particles.taken(chosen), after
        is_last = bool((beta == 1).all())
        best = taken(particles.place, particles.density(beta)[0].argmax(0, keepdim=True))[0]
        whitening = whitening_of(bend(best, beta)).to(best)
        for _ in range(num_moves if is_last else _MOVES):
            density = partial(_Annealed.density, beta=beta)
            particles, step = moved(at, density, whitening, particles, step, generator, steps=_STEPS, longest=_LONGEST, farthest=_FARTHEST)
        if is_last:
            break
    check_met(beta)
    return particles.place


def _precision(drawn: Tensor) -> Tensor:
    """Of samples (N, 3J) of a prior: (3J, 3J) float64."""
    covariance = torch.cov(drawn.double().T)
    # of few samples the covariance has no inverse: as much again of each variance alone as there are too few
    covariance = covariance + torch.diag(covariance.diagonal() * len(covariance) / len(drawn) + 1e-6)
    precision: Tensor = torch.linalg.inv(covariance)
    return precision
