"""Draws of poses given what was seen: a prior times any likelihood, by annealing and Hamiltonian moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_priors.body.rotations import canonicalize, log_abs_det_exp
from pose_priors.priors.base import Prior

LogLikelihood = Callable[[Tensor], Tensor]
"""Poses (num_samples, num_observations, 55, 3) -> nats (num_samples, num_observations), each of its own pose alone; differentiable."""

Precision = Callable[[Tensor], Tensor]
"""Rotation vectors (B, J, 3) -> (B, 3J, 3J), roughly the inverse covariance of a prior around them."""

# Fewer particles would not tell how far a stage may go.
_MIN_PARTICLES = 64
# What a stage leaves of the effective number of particles.
_EFFICIENCY = 0.5
_MAX_STAGES = 200
# Trajectories after each stage, and when all is seen; steps of each.
_MOVES, _LAST_MOVES, _STEPS = 1, 12, 5
_ACCEPTANCE = 0.8
# Radians by which a likelihood's gradient is differenced for its curvature.
_DIFFERENCE = 3e-3
# A rotation has two vectors shorter than 2 pi, both of which are allowed: nothing happens at pi.
_MAX_ANGLE = 2 * math.pi - 1e-3
_NUM_FOR_COVARIANCE = 4096
_BISECTIONS = 30
# Poses that meet the prior at once.
_CHUNK = 2048


def draw_posterior(
    prior: Prior,
    log_likelihood: LogLikelihood,
    num_observations: int,
    num_samples: int,
    generator: torch.Generator | None = None,
    precision: Precision | None = None,
) -> Tensor:
    """Draws from p(pose) exp(log_likelihood(pose)) for many observations at once.

    Draws of the prior meet the likelihood by and by, as fast as half of them survives each step, and move by preconditioned Hamiltonian
    dynamics in between (Del Moral, Doucet and Jasra, "Sequential Monte Carlo samplers", JRSS B 68, 2006; Neal, "MCMC using Hamiltonian
    dynamics", 2011). They are right as far as the prior draws what it scores: a density whose `energy` is `-log_prob`.

    Args:
        log_likelihood: of poses (num_samples, num_observations, 55, 3); also called with other poses than draws.
        num_observations, num_samples: at least 1.
        generator: draws; the same state gives the same poses.
        precision: of the prior around poses, that of all its samples by default.
    Returns:
        (num_samples, num_observations, 55, 3), canonical; joints not learnt as in the prior's samples.
    """
    blocks = math.ceil(_MIN_PARTICLES / num_samples)
    target = _Target(prior, log_likelihood, num_samples)
    drawn = prior.select(prior.sample(blocks * num_samples * num_observations, generator)).flatten(1)
    at = drawn.view(blocks * num_samples, num_observations, -1)
    around = precision or _global_precision(prior, generator)
    beta = torch.zeros_like(at[0, :, 0])
    step = torch.full_like(beta, 0.5)
    seen = target.log_likelihood(at)
    for _ in range(_MAX_STAGES):
        after = _next_temperature(beta, seen)
        at = _resampled(at, (after - beta) * seen, generator)
        beta = after
        is_last = bool((beta == 1).all())
        whitening = _whitening(target, at, beta, around)
        for _ in range(_LAST_MOVES if is_last else _MOVES):
            at, step = _moved(target, at, beta, whitening, step, generator)
        if is_last:
            break
        seen = target.log_likelihood(at)
    at = at[::blocks]  # those that come of one ancestor stand side by side
    return prior.expand(canonicalize(at.unflatten(-1, (-1, 3))))


@dataclass(frozen=True)
class _Target:
    """The density over rotation vectors (P, O, 3J) that is drawn from, P a multiple of the samples asked for."""

    prior: Prior
    of_poses: LogLikelihood
    num_samples: int

    def log_likelihood(self, at: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([self.of_poses(self._poses(block)).to(at) for block in at.split(self.num_samples)])

    def likelihood_gradient(self, at: Tensor) -> Tensor:
        return torch.cat([_gradient(lambda x: self.of_poses(self._poses(x)).to(x), block)[1] for block in at.split(self.num_samples)])

    def value_and_gradient(self, at: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        """Log-densities (P, O) up to a constant, minus infinity where there is none, and gradients (P, O, 3J)."""

        def prior(x: Tensor) -> Tensor:
            # the density over rotation vectors, not rotations
            volume = log_abs_det_exp(x.unflatten(-1, (-1, 3))).sum(-1)
            return volume - self.prior.energy(self._poses(x))

        def likelihood(x: Tensor) -> Tensor:
            return beta * self.of_poses(self._poses(x)).to(x)

        # only the likelihood cares how many it is given at once
        of_prior = [_gradient(prior, rows) for rows in at.flatten(0, 1).split(_CHUNK)]
        value, gradient = (torch.cat(part).unflatten(0, at.shape[:2]) for part in zip(*of_prior, strict=True))
        of_blocks = [_gradient(likelihood, block) for block in at.split(self.num_samples)]
        values, gradients = (torch.cat(part) for part in zip(*of_blocks, strict=True))
        return (value + values).nan_to_num(nan=-math.inf, posinf=-math.inf), (gradient + gradients).nan_to_num(0.0, 0.0, 0.0)

    def _poses(self, at: Tensor) -> Tensor:
        return self.prior.expand(at.unflatten(-1, (-1, 3)))


def _gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        point = at.detach().requires_grad_()
        value = function(point)
        (gradient,) = torch.autograd.grad(value.sum(), point)
    return value.detach(), gradient


def _next_temperature(beta: Tensor, seen: Tensor) -> Tensor:
    """How much of the likelihood counts next, (O,), given log-likelihoods (P, O) of what is drawn with `beta` of it."""
    low, high = beta, torch.ones_like(beta)
    centred = seen - seen.max(0).values
    for number in range(_BISECTIONS):
        middle = (low + high) / 2 if number else high
        weight = ((middle - beta) * centred).exp()
        enough = weight.sum(0).square() / weight.square().sum(0) >= _EFFICIENCY * len(seen)
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    return low


def _resampled(at: Tensor, log_weight: Tensor, generator: torch.Generator | None) -> Tensor:
    """Particles (P, O, D) in proportion to their weights (P, O), at even places of the sum of weights (Kitagawa, JCGS 5, 1996)."""
    num = len(at)
    places = (torch.arange(num, device=at.device, dtype=torch.float64)[:, None] + _uniform(at[:1, :, 0], generator).double()) / num
    ends = log_weight.double().softmax(0).cumsum(0)
    chosen = torch.searchsorted(ends.T.contiguous(), places.T.contiguous()).T.clamp_max(num - 1)
    return at.gather(0, chosen.unsqueeze(-1).expand_as(at))


def _whitening(target: _Target, at: Tensor, beta: Tensor, around: Precision) -> Tensor:
    """(O, D, D): what turns standard normal numbers into steps as wide as the posterior, around the most likely particle of each."""
    best = _most_likely(target, at, beta)
    size = best.shape[-1]
    offsets = _DIFFERENCE * torch.cat([torch.eye(size), -torch.eye(size)]).to(best)
    num = target.num_samples
    padded = torch.cat([offsets, offsets.new_zeros(-len(offsets) % num, size)])
    gradients = target.likelihood_gradient(best + padded[:, None])[: 2 * size].double()
    curvature = -(gradients[:size] - gradients[size:]).movedim(1, 0) / (2 * _DIFFERENCE)
    values, vectors = torch.linalg.eigh((curvature + curvature.mT) / 2)
    curvature = (vectors * values.clamp_min(0).unsqueeze(-2)) @ vectors.mT
    whole = around(best.unflatten(-1, (-1, 3))).double() + beta.double()[:, None, None] * curvature
    root = torch.linalg.cholesky(whole)
    eye = torch.eye(size, dtype=root.dtype, device=root.device).expand_as(root)
    whitening: Tensor = torch.linalg.solve_triangular(root, eye, upper=False)
    return whitening.mT.to(at)


def _most_likely(target: _Target, at: Tensor, beta: Tensor) -> Tensor:
    """(O, D)"""
    values, _ = target.value_and_gradient(at, beta)
    return at.gather(0, values.argmax(0)[None, :, None].expand(1, -1, at.shape[-1]))[0]


def _moved(
    target: _Target, at: Tensor, beta: Tensor, whitening: Tensor, step: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Particles after one trajectory each, and the steps (O,) that suit the next."""

    def to_steps(gradient: Tensor) -> Tensor:
        return torch.einsum("oab,poa->pob", whitening, gradient)

    momentum = torch.randn(at.shape, generator=generator, dtype=at.dtype, device=at.device)
    # of random length, so that no direction comes round to where it was
    length = (step * (0.7 + 0.6 * _uniform(at[..., 0], generator))).unsqueeze(-1)
    value, gradient = target.value_and_gradient(at, beta)
    before = value - momentum.square().sum(-1) / 2
    place, after, is_inside = at, value, torch.ones_like(value, dtype=torch.bool)
    for _ in range(_STEPS):
        momentum = momentum + 0.5 * length * to_steps(gradient)
        place = place + torch.einsum("oab,pob->poa", whitening, length * momentum)
        is_inside &= (torch.linalg.vector_norm(place.unflatten(-1, (-1, 3)), dim=-1) < _MAX_ANGLE).all(-1)
        place = torch.where(is_inside.unsqueeze(-1), place, at)
        after, gradient = target.value_and_gradient(place, beta)
        momentum = momentum + 0.5 * length * to_steps(gradient)
    gain = (after - momentum.square().sum(-1) / 2 - before).nan_to_num(nan=-math.inf)
    accepted = is_inside & (_uniform(gain, generator).log() < gain)
    rate = (gain.clamp_max(0).exp() * is_inside).mean(0)
    return torch.where(accepted.unsqueeze(-1), place, at), (step * (rate - _ACCEPTANCE).exp()).clamp(1e-3, 1.5)


def _uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def _global_precision(prior: Prior, generator: torch.Generator | None) -> Precision:
    """That of all samples of a prior, whatever the pose."""
    drawn = prior.select(prior.sample(_NUM_FOR_COVARIANCE, generator)).flatten(1).double()
    covariance = torch.cov(drawn.T)
    precision = torch.linalg.inv(covariance + 1e-6 * torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device))
    return lambda rotvec: precision.expand(len(rotvec), -1, -1)
