"""Draws of poses given what was seen: a prior times any likelihood, by annealing and Hamiltonian moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch
from torch import Tensor

from pose_priors.body.rotations import canonicalize, log_abs_det_exp
from pose_priors.priors.gaussians.quadratic import Bumps, Quadratic, curvature, fit_quadratic
from pose_priors.priors.posteriors.particles import next_temperature, resampled_at, taken, uniform

LogLikelihood = Callable[[Tensor], Tensor]
"""Poses (num_samples, num_observations, 55, 3) -> nats (num_samples, num_observations), each of its own pose alone; differentiable."""

Energy = Callable[[Tensor], Tensor]
"""Poses (N, 55, 3) -> nats (N,), differentiable."""

Precision = Callable[[Tensor], Tensor]
"""Rotation vectors (B, J, 3) -> (B, 3J, 3J), roughly the inverse covariance of a prior around them."""

DrawUnder = Callable[[Quadratic, int, torch.Generator | None], tuple[Tensor, Tensor]]
"""Draws of rotation vectors (num, O, 3J) from a prior times O quadratic log-likelihoods, and the logarithms (O,) of their integrals."""

# Fewer particles would not tell how far a stage may go.
_MIN_PARTICLES = 48
_MAX_STAGES = 200
# Trajectories after each stage, and when all is seen; steps of each.
_MOVES, _LAST_MOVES, _STEPS = 1, 10, 4
_ACCEPTANCE = 0.8
# Of a likelihood's curvature that draws begin under: what it hides beside its top is still to be found.
_SHARE = 0.5
# Draws of the prior from which modes of the likelihood are looked for, and the share of draws that begin at the prior all the same.
_NUM_STARTS, _PRIOR_SHARE = 6, 0.2
# Effective number of plausible draws of the prior from which on they need no help.
_PLAUSIBLE = 16
# A rotation has two vectors shorter than 2 pi, both of which are allowed: nothing happens at pi.
_MAX_ANGLE = 2 * math.pi - 1e-3
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
    prior: Drawn,
    log_likelihood: LogLikelihood,
    num_observations: int,
    num_samples: int,
    generator: torch.Generator | None = None,
    precision: Precision | None = None,
    draw_under: DrawUnder | None = None,
    meant: Energy | None = None,
) -> Tensor:
    """Draws from p(pose) exp(log_likelihood(pose)) for many observations at once.

    Draws of the prior meet the likelihood by and by, as fast as enough of them survive each step, and move by preconditioned Hamiltonian
    dynamics in between (Del Moral, Doucet and Jasra, "Sequential Monte Carlo samplers", JRSS B 68, 2006; Neal, "MCMC using Hamiltonian
    dynamics", 2011). They are right as far as the prior draws what it scores: a density whose `energy` is `-log_prob`. One that others lead
    to is drawn from by way of these: draws of `prior` meet both the likelihood and the energy that is `meant`.

    Args:
        log_likelihood: of poses (num_samples, num_observations, 55, 3); also called with other poses than draws.
        num_observations, num_samples: at least 1.
        generator: draws; the same state gives the same poses.
        precision: of the prior around poses, that of all its samples by default.
        draw_under: begins nearer to what was seen than draws of the prior are, where a prior can do so exactly.
        meant: the energy of the prior that the posterior is meant of, that of `prior` by default. Up to a constant.
    Returns:
        (num_samples, num_observations, 55, 3), canonical; joints not learnt as in the prior's samples.
    """
    blocks = math.ceil(_MIN_PARTICLES / num_samples)
    drawn = prior.select(prior.sample(blocks * num_samples * num_observations, generator)).flatten(1)
    around = precision or _global_precision(drawn)
    place = drawn.view(blocks * num_samples, num_observations, -1)
    target = _Target(prior, log_likelihood, num_samples, _flat(place), meant)
    if draw_under is not None:
        start, place = _nearer(target, place, draw_under, generator)
        target = replace(target, start=start)
    particles = target.at(place)
    beta = torch.zeros_like(particles.place[0, :, 0])
    step = torch.full_like(beta, 0.5)
    for _ in range(_MAX_STAGES):
        after = next_temperature(beta, particles.log_likelihood)
        particles = _resampled(particles, (after - beta) * particles.log_likelihood, generator)
        beta = after
        is_last = bool((beta == 1).all())
        whitening = _whitening(target, particles, beta, around)
        for _ in range(_LAST_MOVES if is_last else _MOVES):
            particles, step = _moved(target, particles, beta, whitening, step, generator)
        if is_last:
            break
    place = particles.place[::blocks]  # those that come of one ancestor stand side by side
    return prior.expand(canonicalize(place.unflatten(-1, (-1, 3))))


@dataclass(frozen=True)
class _Particles:
    """Rotation vectors (P, O, 3J), and there, in nats, (P, O), with gradients (P, O, 3J): what is begun with, the prior or that times a
    quadratics, and what is still to be seen. Minus infinity where there is none."""

    place: Tensor
    log_prior: Tensor
    prior_gradient: Tensor
    log_likelihood: Tensor
    likelihood_gradient: Tensor

    def value(self, beta: Tensor) -> Tensor:
        """(P, O), with a share `beta` (O,) of the likelihood."""
        return self.log_prior + torch.where(beta > 0, beta * self.log_likelihood, torch.zeros_like(self.log_likelihood))

    def gradient(self, beta: Tensor) -> Tensor:
        return self.prior_gradient + beta.unsqueeze(-1) * self.likelihood_gradient

    def mapped(self, function: Callable[..., Tensor], other: _Particles | None = None) -> _Particles:
        """The same function of each field, and of that of other particles if there are any."""
        names = [field.name for field in fields(self)]
        others = [(getattr(other, name),) if other else () for name in names]
        return _Particles(*[function(getattr(self, name), *extra) for name, extra in zip(names, others, strict=True)])


@dataclass(frozen=True)
class _Target:
    """The density over rotation vectors (P, O, 3J) that is drawn from, P a multiple of the samples asked for."""

    prior: Drawn
    of_poses: LogLikelihood
    num_samples: int
    start: Bumps
    meant: Energy | None

    def at(self, place: Tensor) -> _Particles:
        prior, slope = self._log_density(self.prior.energy, place)
        likelihood, of_likelihood = self.likelihood_at(place)
        if self.meant is not None:
            log_density, of_density = self._log_density(self.meant, place)
            likelihood, of_likelihood = likelihood + log_density - prior, of_likelihood + of_density - slope
        start, of_start = self.start.value_and_gradient(place)
        return _Particles(place, prior + start, slope + of_start, likelihood - start, of_likelihood - of_start)

    def _log_density(self, energy: Energy, place: Tensor) -> tuple[Tensor, Tensor]:
        """Over rotation vectors (P, O, 3J), not rotations: nats (P, O) and gradients."""

        def of_rows(x: Tensor) -> Tensor:
            return log_abs_det_exp(x.unflatten(-1, (-1, 3))).sum(-1) - energy(self._poses(x))

        # only the likelihood cares how many it is given at once
        parts = [_gradient(of_rows, rows) for rows in place.flatten(0, 1).split(_CHUNK)]
        value, slope = (torch.cat(part).unflatten(0, place.shape[:2]) for part in zip(*parts, strict=True))
        return value, slope

    def likelihood_at(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Nats (P, O) and gradients (P, O, 3J), of any number of places."""
        padded = torch.cat([place, place[:1].expand(-len(place) % self.num_samples, -1, -1)])
        blocks = [_gradient(lambda x: self.of_poses(self._poses(x)).to(x), block) for block in padded.split(self.num_samples)]
        values, gradients = (torch.cat(part)[: len(place)] for part in zip(*blocks, strict=True))
        return values, gradients

    def _poses(self, at: Tensor) -> Tensor:
        return self.prior.expand(at.unflatten(-1, (-1, 3)))


def _flat(place: Tensor) -> Bumps:
    """Nothing seen, at places (P, O, D)."""
    first = place[0]
    return Bumps([Quadratic(torch.zeros_like(first), first.new_zeros(*first.shape, first.shape[-1]), first.new_zeros(len(first)))])


def _nearer(target: _Target, place: Tensor, draw_under: DrawUnder, generator: torch.Generator | None) -> tuple[Bumps, Tensor]:
    """What the likelihood looks like around its modes, and draws of the prior times that, instead of draws of the prior (P, O, D)."""
    seen = target.likelihood_at(place)[0]
    likely = (next_temperature(torch.zeros_like(seen[0]), seen) * seen).softmax(0)
    chosen = torch.multinomial(likely.T, min(_NUM_STARTS, len(place)), generator=generator).T
    drawn = place.flatten(0, 1)
    overall = _global_precision(drawn)(drawn[:1])[0]
    parts, draws, evidence = [], [], []
    for starts in taken(place, chosen):
        part = fit_quadratic(target.likelihood_at, starts, drawn.mean(0), overall, _SHARE)
        of_part, of_evidence = draw_under(part, len(place), generator)
        parts.append(part)
        draws.append(of_part)
        evidence.append(of_evidence)
    # where draws of the prior are plausible already, they are the better beginning: they miss no mode
    is_near = 1 / seen.double().softmax(0).square().sum(0) > _PLAUSIBLE
    parts = [replace(part, top=part.top.masked_fill(is_near, -math.inf)) for part in parts]
    of_parts = torch.stack(evidence).masked_fill(is_near, -math.inf)
    of_prior = of_parts.logsumexp(0) + math.log(_PRIOR_SHARE / (1 - _PRIOR_SHARE))
    flat = replace(_flat(place).parts[0], top=torch.where(is_near, torch.zeros_like(of_prior), of_prior))
    share = torch.cat([of_parts, flat.top[None]]).softmax(0)
    which = torch.multinomial(share.T, len(place), replacement=True, generator=generator).T
    every = torch.stack([*draws, place])
    return Bumps([*parts, flat]), every.gather(0, which[None, :, :, None].expand(1, -1, -1, place.shape[-1]))[0]


def _gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        point = at.detach().requires_grad_()
        value = function(point)
        (gradient,) = torch.autograd.grad(value.sum(), point)
    return value.detach().nan_to_num(nan=-math.inf, posinf=-math.inf, neginf=-math.inf), gradient.nan_to_num(0.0, 0.0, 0.0)


def _resampled(particles: _Particles, log_weight: Tensor, generator: torch.Generator | None) -> _Particles:
    chosen = resampled_at(log_weight, generator)
    return particles.mapped(lambda value: taken(value, chosen))


def _whitening(target: _Target, particles: _Particles, beta: Tensor, around: Precision) -> Tensor:
    """(O, D, D): what turns standard normal numbers into steps as wide as the posterior, around the most likely particle of each."""
    best = taken(particles.place, particles.value(beta).argmax(0, keepdim=True))[0]
    seen = curvature(target.likelihood_at, best)
    share = beta.double()[:, None, None]
    whole = around(best.unflatten(-1, (-1, 3))).double() + share * seen + (1 - share) * target.start.precision_at(best).double()
    root = torch.linalg.cholesky(whole)
    eye = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device).expand_as(root)
    whitening: Tensor = torch.linalg.solve_triangular(root, eye, upper=False)
    return whitening.to(best)


def _moved(
    target: _Target, start: _Particles, beta: Tensor, whitening: Tensor, step: Tensor, generator: torch.Generator | None
) -> tuple[_Particles, Tensor]:
    """Particles after one trajectory each, and the steps (O,) that suit the next."""
    momentum = torch.randn(start.place.shape, generator=generator, dtype=step.dtype, device=step.device)
    # of random length, so that no direction comes round to where it was
    length = (step * (0.7 + 0.6 * uniform(start.log_prior, generator))).unsqueeze(-1)
    before = start.value(beta) - momentum.square().sum(-1) / 2
    at, is_inside = start, torch.ones_like(before, dtype=torch.bool)
    for _ in range(_STEPS):
        momentum = momentum + 0.5 * length * torch.einsum("oab,pob->poa", whitening, at.gradient(beta))
        place = at.place + torch.einsum("oba,pob->poa", whitening, length * momentum)
        is_inside &= (torch.linalg.vector_norm(place.unflatten(-1, (-1, 3)), dim=-1) < _MAX_ANGLE).all(-1)
        at = target.at(torch.where(is_inside.unsqueeze(-1), place, start.place))
        momentum = momentum + 0.5 * length * torch.einsum("oab,pob->poa", whitening, at.gradient(beta))
    gain = (at.value(beta) - momentum.square().sum(-1) / 2 - before).nan_to_num(nan=-math.inf, neginf=-math.inf)
    accepted = is_inside & (uniform(gain, generator).log() < gain)
    rate = (gain.clamp_max(0).exp() * is_inside).mean(0)
    moved = at.mapped(lambda after, value: torch.where(accepted if value.dim() == 2 else accepted.unsqueeze(-1), after, value), start)
    return moved, (step * (rate - _ACCEPTANCE).exp()).clamp(1e-3, 1.5)


def _global_precision(drawn: Tensor) -> Precision:
    """That of samples (N, 3J) of a prior, whatever the pose."""
    covariance = torch.cov(drawn.double().T)
    # of few samples the covariance has no inverse: as much again of each variance alone as there are too few
    covariance = covariance + torch.diag(covariance.diagonal() * len(covariance) / len(drawn) + 1e-6)
    precision = torch.linalg.inv(covariance)
    return lambda rotvec: precision.expand(len(rotvec), -1, -1)
