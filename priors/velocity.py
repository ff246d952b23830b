"""The velocity field of a continuous normalizing flow: its network, and the integration of its paths and of their divergence."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import jacfwd, vmap

_NUM_FREQUENCIES = 16
_MAX_FREQUENCY = 64.0
# Features that move less are taken for as wide as that, so that paths do not get too stiff for a few steps.
_MIN_SPREAD = 0.1
# Columns of Jacobians that are held at once.
_CHUNK = 4096


class VelocityField(nn.Module):
    """v(x, t) of straight paths from the standard normal at time 0 to data at time 1: that of independent Gaussians of the data's mean and
    spread, in closed form, and a residual network for the rest, whose blocks are all told the time.

    Args:
        num_features: D.
        hidden, num_blocks, dropout: width of the layers, residual blocks, share of hidden units dropped in training.
    """

    frequencies: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, num_features: int, hidden: int, num_blocks: int, dropout: float) -> None:
        super().__init__()
        frequencies = 0.5 * math.pi * torch.exp(torch.linspace(0, math.log(_MAX_FREQUENCY), _NUM_FREQUENCIES))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("spread", torch.ones(num_features))
        num_time = 2 * _NUM_FREQUENCIES
        self.first = nn.Linear(num_features + num_time, hidden)
        self.blocks = nn.ModuleList(
            nn.ModuleList([nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.Linear(num_time, hidden), nn.Linear(hidden, hidden)])
            for _ in range(num_blocks)
        )
        self.last = nn.Linear(hidden, num_features)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            self.last.weight.mul_(0.01)
            self.last.bias.mul_(0.01)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Sets the Gaussians from data (N, D)."""
        self.mean.copy_(x.mean(0))
        self.spread.copy_(x.std(0).clamp_min(_MIN_SPREAD))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(*batch, D), (*batch) in [0, 1] -> (*batch, D)."""
        phase = time.unsqueeze(-1) * self.frequencies.to(x)
        told = torch.cat([phase.sin(), phase.cos()], -1)
        hidden = self.first(torch.cat([x, told], -1))
        for norm, inner, of_time, outer in self.blocks:
            hidden = hidden + outer(self.dropout(nn.functional.silu(inner(norm(hidden)) + of_time(told))))
        moved = time.unsqueeze(-1)
        left = 1 - moved
        pull = (moved * self.spread.square() - left) / (moved.square() * self.spread.square() + left.square())
        return self.mean + pull * (x - moved * self.mean) + self.last(nn.functional.silu(hidden))


def integrate(field: Callable[[Tensor, Tensor], Tensor], x: Tensor, start: float, stop: float, num_steps: int) -> Tensor:
    """Where dx/dt = field(x, t) takes x (N, D) from one time to another, by the classical Runge-Kutta method in equal steps."""
    times = torch.linspace(start, stop, num_steps + 1).tolist()
    for before, after in pairwise(times):
        step = after - before

        def slope(at: Tensor, time: float) -> Tensor:
            return field(at, at.new_full(at.shape[:-1], time))

        first = slope(x, before)
        second = slope(x + 0.5 * step * first, before + 0.5 * step)
        third = slope(x + 0.5 * step * second, before + 0.5 * step)
        fourth = slope(x + step * third, after)
        x = x + step / 6 * (first + 2 * second + 2 * third + fourth)
    return x


def with_divergence(field: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The field of (x, integral of the divergence along the path), (N, D + 1): the trace of the exact Jacobian, not an estimate of it."""

    def twice(x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        velocity = field(x, time)
        return velocity, velocity

    of_rows = vmap(jacfwd(twice, has_aux=True))

    def augmented(state: Tensor, time: Tensor) -> Tensor:
        parts, chunk = [], max(1, _CHUNK // (state.shape[-1] - 1))
        for rows, times in zip(state.split(chunk), time.split(chunk), strict=True):
            jacobian, velocity = of_rows(rows[:, :-1], times)
            parts.append(torch.cat([velocity, jacobian.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)], -1))
        return torch.cat(parts)

    return augmented
