"""Draws from a mixture of normal densities times any likelihood: annealed from what its modes look like, moved component by component."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from pose_priors.priors.gaussians.quadratic import Bumps, Likelihood, Quadratic, expansion
from pose_priors.priors.posterior import Drawn, LogLikelihood, Seen, first_draws, posed
from pose_priors.priors.posteriors.components import Components
from pose_priors.priors.posteriors.modes import find_modes
from pose_priors.priors.posteriors.particles import (
    Idleness,
    Particles,
    check_met,
    check_possible,
    is_within,
    moved,
    next_temperature,
    resampled_at,
    taken,
    whitening_of,
)

_MAX_STAGES = 200
# Modes of each observation, the share of their curvature that draws begin under, and the share of draws that begin at the prior.
_NUM_MODES, _SHARE, _PRIOR_SHARE = 6, 0.5, 0.2
# Effective number of plausible draws of the prior from which on they need no help.
_PLAUSIBLE = 16
# Trajectories after each stage, and when all is seen; after how many each particle is given a component anew; steps of each.
_MOVES, _LAST_MOVES, _MOVES_OF_COMPONENT, _STEPS = 2, 12, 3, 5
_LONGEST = 1.2
# Particles whose curvature steps are fitted to.
_NUM_BENDS = 4


def draw_given(
    prior: Drawn,
    components: Components,
    log_likelihood: LogLikelihood,
    num_observations: int,
    num_samples: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draws from p(pose) exp(log_likelihood(pose)) for many observations at once, p a mixture of normal densities within angles of pi.

    Modes are looked for from each group of components (`find_modes`). Particles are drawn from the prior times the quadratics that fit
    there, which is in closed form, and meet the likelihood itself by and by, as fast as enough of them survive (Del Moral, Doucet and
    Jasra, "Sequential Monte Carlo samplers", JRSS B 68, 2006). In between each is given one of the components that it may have come from,
    by how probable each is, and moves by Hamiltonian dynamics under that one's normal density (Neal, "MCMC using Hamiltonian dynamics",
    2011), so that many moves cost one evaluation of the prior.

    Args:
        log_likelihood: of poses (num_samples, num_observations, 55, 3); also called with other poses than draws.
        num_observations, num_samples: at least 1.
        generator: draws; the same state gives the same poses.
    Returns:
        (num_samples, num_observations, 55, 3), canonical; joints not learnt as in the prior's samples.
    Raises:
        ValueError: if the likelihood of an observation rules out all that draws begin with, is not one number for each draw and
            observation, or has no gradient.
    """
    return posed(prior, particles_given(prior, components, log_likelihood, num_observations, num_samples, generator), num_samples)


def particles_given(
    prior: Drawn,
    components: Components,
    log_likelihood: LogLikelihood,
    num_observations: int,
    num_samples: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The same draws, and where few are asked for the others that tell how far stages go: rotation vectors (P, num_observations, D), P a
    multiple of `num_samples`, those of one ancestor side by side."""
    seen = Seen(prior, log_likelihood, num_samples)
    bumps, place = _begun(components, seen, first_draws(prior, num_observations, num_samples, generator), generator)
    at = partial(_cloud, seen, bumps)
    cloud = at(place)
    cloud.seen.masked_fill_(~is_within(place, math.pi), -math.inf)
    check_possible(cloud.seen, "its modes or draws of the prior")
    beta = torch.zeros_like(place[0, :, 0])
    step = torch.full_like(beta, 0.3)
    precisions = components.precisions()
    idleness = Idleness()
    for _ in range(_MAX_STAGES):
        gain = (cloud.seen - cloud.begun).nan_to_num(nan=-math.inf, neginf=-math.inf)
        after = next_temperature(beta, gain)
        if idleness.ends(beta, after):
            break
        cloud = cloud.taken(resampled_at(((after - beta) * gain).nan_to_num(nan=-math.inf, neginf=-math.inf), generator))
        beta = after
        is_last = bool((beta == 1).all())
        bend = _bend(seen, bumps, cloud, beta, generator)
        for number in range(_LAST_MOVES if is_last else _MOVES):
            if number % _MOVES_OF_COMPONENT == 0:
                own = _owned(components, precisions, bend, cloud.place, generator)
            density = partial(own.density, beta=beta)
            cloud, step = moved(at, density, own.whitening, cloud, step, generator, steps=_STEPS, longest=_LONGEST, farthest=math.pi)
        if is_last:
            break
    check_met(beta)
    return cloud.place


@dataclass(frozen=True)
class _Cloud(Particles):
    """In nats (P, O) with gradients (P, O, D), what is begun with and what is seen. Minus infinity where there is none."""

    begun: Tensor
    slope_of_begun: Tensor
    seen: Tensor
    slope_of_seen: Tensor

    def value(self, beta: Tensor) -> Tensor:
        """(P, O), with a share `beta` (O,) of what is seen, and the rest of what is begun with."""
        return (1 - beta) * self.begun + torch.where(beta > 0, beta * self.seen, torch.zeros_like(self.seen))

    def slope(self, beta: Tensor) -> Tensor:
        share = beta.unsqueeze(-1)
        return (1 - share) * self.slope_of_begun + share * self.slope_of_seen


@dataclass(frozen=True)
class _Own:
    """The component of each particle, and what steps are fitted to.

    Attributes:
        mean: (P, O, D).
        precision: (K, D, D), of the K that are used.
        rows: (K, n) the particles of each, of P times O; some stand in for others where one has fewer than n.
        place: (P * O,) where in `rows` each particle is.
        whitening: (O, D, D), of steps.
    """

    mean: Tensor
    precision: Tensor
    rows: Tensor
    place: Tensor
    whitening: Tensor

    def density(self, cloud: _Cloud, beta: Tensor) -> tuple[Tensor, Tensor]:
        """That of each particle's component, with a share `beta` (O,) of what is seen: nats (P, O) and gradients (P, O, D)."""
        off = cloud.place - self.mean
        slope = -(off.flatten(0, 1)[self.rows] @ self.precision).flatten(0, 1)[self.place].view_as(off)
        return (off * slope).sum(-1) / 2 + cloud.value(beta), slope + cloud.slope(beta)


def _begun(components: Components, seen: Likelihood, place: Tensor, generator: torch.Generator | None) -> tuple[Bumps, Tensor]:
    """What likelihoods look like around their modes, and draws of the prior times that, some of the prior alone (P, O, D) among them."""
    num, first = len(place), place[0]
    parts = find_modes(seen, components, first, _NUM_MODES, _SHARE)
    draws, evidence = zip(*[components.draw_under(part, num, generator) for part in parts], strict=True)
    of_parts = torch.stack(evidence).nan_to_num(nan=-math.inf, neginf=-math.inf)
    # where draws of the prior are plausible already, they are the better beginning: they miss no mode
    is_near = 1 / seen(place)[0].double().softmax(0).square().sum(0) > _PLAUSIBLE
    of_parts = of_parts.masked_fill(is_near, -math.inf)
    parts = [replace(part, top=part.top.masked_fill(is_near, -math.inf)) for part in parts]
    # and they are all there is where there is no mode
    top = (of_parts.logsumexp(0) + math.log(_PRIOR_SHARE / (1 - _PRIOR_SHARE))).nan_to_num(neginf=0.0)
    flat = Quadratic(torch.zeros_like(first), first.new_zeros(*first.shape, first.shape[-1]), top)
    share = torch.cat([of_parts, top[None]]).softmax(0)
    which = torch.multinomial(share.T, num, replacement=True, generator=generator).T
    every = torch.stack([*draws, place])
    return Bumps([*parts, flat]), every.gather(0, which[None, :, :, None].expand(1, -1, -1, place.shape[-1]))[0]


def _cloud(seen: Likelihood, bumps: Bumps, place: Tensor) -> _Cloud:
    return _Cloud(place, *bumps.value_and_gradient(place), *seen(place))


def _bend(seen: Likelihood, bumps: Bumps, cloud: _Cloud, beta: Tensor, generator: torch.Generator | None) -> Tensor:
    """(O, D, D) float64, the mean curvature of all but the prior at some particles."""
    shape = _NUM_BENDS, cloud.place.shape[1]
    places = taken(cloud.place, torch.randint(len(cloud.place), shape, generator=generator, device=cloud.place.device))
    of_seen, of_begun = expansion(seen, places)[2].mean(0), torch.stack([bumps.precision_at(place) for place in places]).mean(0)
    share = beta.double()[:, None, None]
    return share * of_seen + (1 - share) * of_begun.double()


def _owned(components: Components, precisions: Tensor, bend: Tensor, place: Tensor, generator: torch.Generator | None) -> _Own:
    """A component for each particle (P, O, D), by how probably it came from it."""
    mean, which, _ = components.draw_component(place.flatten(0, 1), generator)
    used, group, counts = which.unique(return_inverse=True, return_counts=True)
    order = group.argsort(stable=True)
    number = torch.arange(len(which), device=which.device) - (counts.cumsum(0) - counts)[group[order]]
    size = int(counts.max())
    rows = torch.zeros(len(used), size, dtype=torch.long, device=which.device)
    rows[group[order], number] = order
    at = torch.empty_like(order)
    at[order] = group[order] * size + number
    # steps are fitted to the mean of what the components of an observation's particles know
    share = torch.nn.functional.one_hot(group.view(place.shape[:2]), len(used)).to(bend).mean(0)
    whole = torch.einsum("ok,kab->oab", share, precisions[used]) + bend
    return _Own(mean.view_as(place), precisions[used].to(place), rows, at, whitening_of(whole).to(place))
