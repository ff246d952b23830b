"""The denoising energy of velocity networks: how far they miss the end of paths that lead there, over all amounts of noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from pose_priors.priors.networks.eager_gradient import eagerly
from pose_priors.priors.networks.velocity import VelocityField

# The energy is an integral over the log of the signal-to-noise ratio, between times at which nothing but noise is left (what lies before
# is worth 0.05 nats) and at which noise is a fiftieth of the data's spread.
_FIRST_TIME, _LAST_TIME = 0.05, 0.98
# Poses whose energy keeps all that its gradient needs, and that can be differentiated twice.
_MAX_KEPT = 1024


def denoising_energy(networks: Sequence[VelocityField], x: Tensor, noise: Tensor, frozen: bool) -> Tensor:
    """The terms of the variational bound on -log p(x) (Kingma et al., "Variational diffusion models", NeurIPS 2021) at noise that is given.

    Args:
        networks: asked in turn, each for a pair.
        x: (*batch, D) where paths end.
        noise: (K, D), of which half is taken, and minus it.
        frozen: whether no parameter needs a gradient; of many rows it is then taken at once, pass by pass.
    Returns:
        (*batch,) nats.
    """
    # x_t = t (x + noise / sqrt(SNR)), and over all noise -log p(x) <= -E log p(x | x_t at the last time) + 1/2 int |x - x_hat|^2 dSNR;
    # there x - x_hat = (1 - t) (x - noise - v); over log SNR, half the integrand is t^2 |x - noise - v|^2 / 2.
    first, last = (2 * math.log(t / (1 - t)) for t in (_FIRST_TIME, _LAST_TIME))
    width = (last - first) / (len(noise) // 2)
    energy = torch.full_like(x[..., 0], 0.5 * x.shape[-1] * (1 + math.log(2 * math.pi) - last))
    # what the passes leave for the gradient is a megabyte a row
    at_once = torch.is_grad_enabled() and x[..., 0].numel() > _MAX_KEPT and frozen
    for number, drawn in enumerate(noise[: len(noise) // 2]):
        time = torch.sigmoid(0.5 * (first + (number + 0.5) * width * torch.ones_like(x[..., 0])))
        network = networks[number % len(networks)]
        of_draw = partial(_both_ways, network, noise=drawn, time=time)
        residual = eagerly(of_draw, x) if at_once else of_draw(x)
        # less what this draw adds for normal data because its numbers are larger or smaller than they are on average
        by_chance = (network.sensitivity(time).square() * (drawn.square() - 1)).sum(-1)
        energy = energy + 0.5 * width * time.square() * (residual - by_chance)
    return energy


def squared_residual(field: Callable[..., Tensor], x: Tensor, noise: Tensor, time: Tensor, visible: Tensor | None = None) -> Tensor:
    """The squared residual of a field's velocity on the straight path to x, where joints are not `visible`: (*batch, 3 J) -> (*batch,)."""
    moved = time.unsqueeze(-1)
    at = (1 - moved) * noise + moved * x
    if visible is None:
        return (x - noise - field(at, time)).square().sum(-1)
    seen = by_feature(visible)
    residual = x - noise - field(torch.where(seen, x, at), time, visible.to(x))
    return (residual.square() * ~seen).sum(-1)


def by_feature(of_joints: Tensor) -> Tensor:
    """(*batch, J) -> (*batch, 3 J)"""
    return of_joints.bool().repeat_interleave(3, -1)


def _both_ways(field: Callable[..., Tensor], x: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """The mean of `squared_residual` with noise and with minus it (antithetic variates, Hammersley and Morton, 1956)."""
    return (squared_residual(field, x, noise, time) + squared_residual(field, x, -noise, time)) / 2
