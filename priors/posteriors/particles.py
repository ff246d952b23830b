"""Particles of many observations at once: which go on, how fast what was seen is met, and how they move."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self, TypeVar

import torch
from torch import Tensor

# What a stage leaves of the effective number of particles.
_EFFICIENCY = 0.4
_BISECTIONS = 30
_MOST_IDLE = 5  # stages in a row that may meet nothing of a likelihood, before no later one will
_ACCEPTANCE = 0.8
_SHORTEST = 1e-3  # of steps


@dataclass(frozen=True)
class Particles:
    """Rotation vectors (P, O, D), and what classes of its own know there, (P, O) or (P, O, D) all of it."""

    place: Tensor

    def taken(self, chosen: Tensor) -> Self:
        """Rows (Q, O) of each observation's own."""
        return type(self)(*[taken(getattr(self, field.name), chosen) for field in fields(self)])

    def where(self, chosen: Tensor, other: Self) -> Self:
        """The same particles where they are chosen (P, O), those of another kind elsewhere."""
        pairs = [(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)]
        return type(self)(*[torch.where(chosen if own.dim() == 2 else chosen.unsqueeze(-1), own, theirs) for own, theirs in pairs])


_Some = TypeVar("_Some", bound=Particles)


def moved(
    at_places: Callable[[Tensor], _Some],
    density: Callable[[_Some], tuple[Tensor, Tensor]],
    whitening: Tensor,
    start: _Some,
    step: Tensor,
    generator: torch.Generator | None,
    *,
    steps: int,
    longest: float,
    farthest: float,
) -> tuple[_Some, Tensor]:
    """Particles after one Hamiltonian trajectory each, and the steps (O,) that suit the next (Neal, "MCMC using Hamiltonian dynamics",
    2011).

    Args:
        at_places: what is known at rotation vectors (P, O, D).
        density: of particles, up to a constant, in nats (P, O), with gradient (P, O, D).
        whitening: (O, D, D), see `whitening_of`.
        step: (O,), of which a trajectory has so many `steps`.
        longest: of the steps returned.
        farthest: angle of a rotation vector beyond which none may go.
    """
    momentum = torch.randn(start.place.shape, generator=generator, dtype=step.dtype, device=step.device)
    value, slope = density(start)
    # of random length, so that no direction comes round to where it was
    length = (step * (0.7 + 0.6 * uniform(value, generator))).unsqueeze(-1)
    before = value - momentum.square().sum(-1) / 2
    at, is_inside = start, torch.ones_like(before, dtype=torch.bool)
    for _ in range(steps):
        momentum = momentum + 0.5 * length * torch.einsum("oab,pob->poa", whitening, slope)
        place = at.place + torch.einsum("oba,pob->poa", whitening, length * momentum)
        is_inside &= is_within(place, farthest)
        at = at_places(torch.where(is_inside.unsqueeze(-1), place, start.place))
        value, slope = density(at)
        momentum = momentum + 0.5 * length * torch.einsum("oab,pob->poa", whitening, slope)
    gain = (value - momentum.square().sum(-1) / 2 - before).nan_to_num(nan=-math.inf, neginf=-math.inf)
    is_accepted = is_inside & (uniform(gain, generator).log() < gain)
    rate = (gain.clamp_max(0).exp() * is_inside).mean(0)
    return at.where(is_accepted, start), (step * (rate - _ACCEPTANCE).exp()).clamp(_SHORTEST, longest)


def is_within(place: Tensor, angle: float) -> Tensor:
    """(..., D) -> (...) bool, whether all of its rotation vectors are no longer."""
    within: Tensor = (torch.linalg.vector_norm(place.unflatten(-1, (-1, 3)), dim=-1) <= angle).all(-1)
    return within


def nats_of(values: object, shape: torch.Size, like: Tensor) -> Tensor:
    """What a log-likelihood answered, as the type of `like`. Raises `ValueError` if it is not one number for each pose or clip."""
    if not isinstance(values, Tensor) or values.shape != shape:
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"a log-likelihood is a tensor of nats {tuple(shape)}, one for each draw and observation; got {got}")
    return values.to(like)


def check_asked(num_observations: object, num_samples: object) -> None:
    """Raises `ValueError` if these are no numbers of draws and of what they are given."""
    for name, number in (("num_observations", num_observations), ("num_samples", num_samples)):
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} is an integer of at least 1; got {number}")


def check_possible(seen: Tensor, where: str) -> None:
    """Raises `ValueError` if log-likelihoods (P, O) rule out all that draws of an observation begin with."""
    if none := (~seen.isfinite().any(0)).nonzero().squeeze(-1).tolist():
        raise ValueError(f"the log-likelihood of observation {none[0]} is not finite anywhere near {where}; make it so")


def check_met(beta: Tensor) -> None:
    """Raises `ValueError` if draws ended with less than all, shares `beta` (O,), of what was seen."""
    if left := (beta < 1).nonzero().squeeze(-1).tolist():
        raise _too_sharp(left[0])


def _too_sharp(observation: int) -> ValueError:
    return ValueError(
        f"the log-likelihood of observation {observation} is so sharp that draws cannot meet it step by step; it is in nats: are its "
        "noise and its units right?"
    )


class Idleness:
    """How many stages in a row have met nothing more of a likelihood."""

    def __init__(self) -> None:
        self._num = 0

    def ends(self, before: Tensor, after: Tensor) -> bool:
        """Whether no later stage will, after one that went from shares `before` to shares `after` (O,) of what is seen."""
        self._num = self._num + 1 if torch.equal(after, before) else 0
        return self._num > _MOST_IDLE


def next_temperature(beta: Tensor, seen: Tensor) -> Tensor:
    """How much of the likelihood counts next, (O,), given log-likelihoods (P, O) of what is drawn with `beta` of it."""
    low, high = beta, torch.ones_like(beta)
    centred = seen - seen.max(0).values
    num = seen.isfinite().sum(0)  # what the likelihood rules out is no beginning at all
    for number in range(_BISECTIONS):
        middle = (low + high) / 2 if number else high
        weight = ((middle - beta) * centred).exp()
        enough = weight.sum(0).square() / weight.square().sum(0) >= _EFFICIENCY * num
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    return low


def resampled_at(log_weight: Tensor, generator: torch.Generator | None) -> Tensor:
    """Rows (P, O) in proportion to their weights (P, O), at even places of the sum of weights (Kitagawa, JCGS 5, 1996)."""
    num = len(log_weight)
    even = torch.arange(num, device=log_weight.device, dtype=torch.float64)[:, None]
    places = (even + uniform(log_weight[:1], generator).double()) / num
    ends = log_weight.double().softmax(0).cumsum(0)
    return torch.searchsorted(ends.T.contiguous(), places.T.contiguous()).T.clamp_max(num - 1)


def taken(values: Tensor, chosen: Tensor) -> Tensor:
    """(P, O, ...) -> (Q, O, ...), rows (Q, O) of each observation's own."""
    return values.gather(0, chosen if values.dim() == 2 else chosen.unsqueeze(-1).expand(*chosen.shape, values.shape[-1]))


def uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Numbers in [0, 1), of the shape, type and place of others."""
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def whitening_of(curvatures: Tensor) -> Tensor:
    """What turns standard normal numbers into steps as wide as curvatures (O, D, D) leave room for: its transpose does, (O, D, D). Raises
    `ValueError` if one is none."""
    root, wrong = torch.linalg.cholesky_ex(curvatures)
    if broken := wrong.nonzero().squeeze(-1).tolist():  # what is squared has no end any more
        raise _too_sharp(broken[0])
    eye = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device).expand_as(root)
    whitening: Tensor = torch.linalg.solve_triangular(root, eye, upper=False)
    return whitening
