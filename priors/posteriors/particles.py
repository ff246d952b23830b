"""Particles of many observations at once: which go on, and how fast what was seen is met."""

from __future__ import annotations

import torch
from torch import Tensor

# What a stage leaves of the effective number of particles.
_EFFICIENCY = 0.4
_BISECTIONS = 30


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
    """What turns standard normal numbers into steps as wide as curvatures (O, D, D) leave room for: its transpose does, (O, D, D)."""
    root = torch.linalg.cholesky(curvatures)
    eye = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device).expand_as(root)
    whitening: Tensor = torch.linalg.solve_triangular(root, eye, upper=False)
    return whitening
