"""The velocity field of a continuous normalizing flow: its network, the diagonal of its Jacobian, and the integration of its paths."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from pose_priors.priors.networks.dropout import Dropout
from pose_priors.priors.networks.precision import within_range, without_gradient
from pose_priors.priors.networks.told_blocks import layers_of, through, told_blocks

_NUM_FREQUENCIES = 16
_MAX_FREQUENCY = 64.0
# Features that move less are taken for as wide as that, so that paths do not get too stiff for a few steps.
_MIN_SPREAD = 0.1


class VelocityField(nn.Module):
    """v(x, t) of straight paths from the standard normal at time 0 to data at time 1: that of independent Gaussians of the data's mean and
    spread, in closed form, and a residual network for the rest, whose blocks are all told the time.

    Args:
        num_features: D.
        hidden, num_blocks, dropout: width of the layers, residual blocks, share of hidden units dropped in training.
        num_conditions: G, things that a path may be told from the start, such as which features of x are data already.
    """

    frequencies: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, num_features: int, hidden: int, num_blocks: int, dropout: float, num_conditions: int = 0) -> None:
        super().__init__()
        frequencies = 0.5 * math.pi * torch.exp(torch.linspace(0, math.log(_MAX_FREQUENCY), _NUM_FREQUENCIES))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("spread", torch.ones(num_features))
        num_time = 2 * _NUM_FREQUENCIES
        self.first = nn.Linear(num_features + num_time, hidden)
        self.condition_layer = nn.Linear(num_conditions, hidden, bias=False) if num_conditions else None
        self.blocks = told_blocks(num_blocks, hidden, num_time)
        self.last = nn.Linear(hidden, num_features)
        self.dropout = Dropout(dropout)
        with torch.no_grad():
            self.last.weight.mul_(0.01)
            self.last.bias.mul_(0.01)
            if self.condition_layer is not None:
                self.condition_layer.weight.zero_()

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Sets the Gaussians from data (N, D)."""
        self.mean.copy_(x.mean(0))
        self.spread.copy_(x.std(0).clamp_min(_MIN_SPREAD))

    @within_range
    def forward(self, x: Tensor, time: Tensor, condition: Tensor | None = None) -> Tensor:
        """(*batch, D), (*batch) in [0, 1], (*batch, G), by default zeros -> (*batch, D)."""
        embedding = self._time_embedding(time)
        hidden = through(self.blocks, self._first(x, embedding, condition), embedding, self.dropout)
        moved = time.unsqueeze(-1)
        gaussian_velocity = self.mean + self._gaussian_slope(time) * (x - moved * self.mean)
        correction: Tensor = self.last(nn.functional.silu(hidden))
        return gaussian_velocity + correction

    @within_range
    def slopes(self, x: Tensor, time: Tensor, condition: Tensor | None = None) -> Tensor:
        """The exact diagonal of the velocities' Jacobian, whose sum is the divergence: (N, D), (N,), (N, G) -> (N, D).

        Derivatives along all D inputs go through the blocks side by side, which takes D times the arithmetic of a forward pass. Without
        dropout, as in evaluation mode. Where no gradient is taken of it, they are multiplied as `without_gradient` has it: of densities
        this is a fiftieth of what their integration leaves.
        """
        kind = without_gradient(x, self.first.weight)
        embedding = self._time_embedding(time)
        hidden = self._first(x, embedding, condition)
        # (N, D, H), how hidden units move with each input; rows of memory, or each product below would copy its matrix for each of N
        along = self.first.weight[:, : x.shape[-1]].T.to(kind).contiguous().expand(len(x), -1, -1)
        for number, (norm, inner, time_layer, outer) in enumerate(layers_of(self.blocks)):
            scale = (hidden.var(-1, unbiased=False, keepdim=True) + norm.eps).rsqrt()
            unit = (hidden - hidden.mean(-1, keepdim=True)) * scale
            before = inner(unit * norm.weight + norm.bias) + time_layer(embedding)
            # d unit = scale (1 - 1 1'/H - unit unit'/H) d hidden: the network's product, and one of rank two
            weight = inner.weight * norm.weight
            taken = torch.stack([weight.sum(1).expand_as(unit), unit @ weight.T], 1) / -unit.shape[-1]
            of_taken, weight = along @ torch.stack([torch.ones_like(unit), unit], 2).to(kind), weight.to(kind)
            # all rows' derivatives are alike at first
            product = (along[:1] @ weight.T).expand_as(along) if number == 0 else along @ weight.T
            step = torch.baddbmm(product, of_taken, taken.to(kind)) * (scale * _silu_slope(before)).unsqueeze(1).to(kind)
            along = along + step @ outer.weight.T.to(kind)
            hidden = hidden + outer(nn.functional.silu(before))
        slope = (along * self.last.weight.to(kind)) @ _silu_slope(hidden).to(kind).unsqueeze(-1)
        return slope.squeeze(-1) + self._gaussian_slope(time)

    def _time_embedding(self, time: Tensor) -> Tensor:
        phase = time.unsqueeze(-1) * self.frequencies.to(time)
        return torch.cat([phase.sin(), phase.cos()], -1)

    def _first(self, x: Tensor, embedding: Tensor, condition: Tensor | None) -> Tensor:
        hidden: Tensor = self.first(torch.cat([x, embedding], -1))
        return hidden if condition is None or self.condition_layer is None else hidden + self.condition_layer(condition)

    def sensitivity(self, time: Tensor) -> Tensor:
        """How much more noise moves the residual x - noise - v of independent Gaussians on the path to x, by feature: (*batch, D)."""
        return 1 + self._gaussian_slope(time) * (1 - time.unsqueeze(-1))

    def _gaussian_slope(self, time: Tensor) -> Tensor:
        """The slopes of independent Gaussians' velocities, (*batch, D)."""
        moved = time.unsqueeze(-1)
        left = 1 - moved
        return (moved * self.spread.square() - left) / (moved.square() * self.spread.square() + left.square())


def _silu_slope(x: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return gate * (1 + x * (1 - gate))


VelocityFunction = Callable[[Tensor, Tensor], Tensor]
"""Velocities (N, D) at points (N, D) and times (N,)."""


def integrate(field: VelocityFunction, x: Tensor, times: Sequence[float]) -> Tensor:
    """Where dx/dt = field(x, t) takes x (N, D) from the first of some times to the last, by the classical Runge-Kutta method."""
    for before, after in pairwise(times):
        step = after - before

        def slope(at: Tensor, time: float) -> Tensor:
            return field(at, everywhere(time, at))

        first = slope(x, before)
        second = slope(x + 0.5 * step * first, before + 0.5 * step)
        third = slope(x + 0.5 * step * second, before + 0.5 * step)
        fourth = slope(x + step * third, after)
        x = x + step / 6 * (first + 2 * second + 2 * third + fourth)
    return x


def everywhere(time: float, x: Tensor) -> Tensor:
    """One time for all of some points (*batch, D), (*batch): a single number in memory, by which it is known for one."""
    return x.new_full((), time).expand(x.shape[:-1])


def times_to_data(num_steps: int) -> list[float]:
    """From 0 to 1 in steps that get shorter towards the data, where fields bend: half of the steps do as well as with equal ones."""
    return [1 - (1 - k / num_steps) ** 2 for k in range(num_steps + 1)]


def nodes_from_data(num_nodes: int) -> list[tuple[float, float]]:
    """Times between 1 and 0, in that order, and their weights in the integral of a smooth function over [0, 1]: Gauss's rule in s of
    t = 1 - (1 - s)^2, the limit of `times_to_data`."""
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    left = (1 - nodes) / 2
    return [(float(1 - rest**2), float(rest * weight)) for rest, weight in zip(left[::-1], weights[::-1], strict=True)]
