"""Draws of rotation vectors that are no longer than pi, as the densities that they are drawn from are restricted to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pose_priors.body.rotations import canonicalize


@runtime_checkable
class DrawnFromNoise(Protocol):
    """A prior whose draws are what a map makes of standard normal noise."""

    @property
    def num_noise(self) -> int:
        """How many numbers a draw is made of; 0 where the map also depends on something else."""

    def from_noise(self, noise: Tensor, /) -> Tensor:
        """(N, num_noise) -> rotation vectors (N, J, 3), those of no draw where one is longer than pi."""


# Rounds in which draws with a rotation beyond pi are drawn again; what is left then is folded back.
_MAX_ROUNDS = 20


def drawn_within_pi(noise: Callable[[], Sequence[Tensor]], pose_of: Callable[..., Tensor]) -> Tensor:
    """Draws of N poses, those with a rotation beyond pi again and again: a density over rotation vectors, restricted to angles <= pi.

    Args:
        noise: tensors (N, ...) of random numbers, other ones with each call.
        pose_of: from rows (M,) of the N, and their random numbers, to rotation vectors (M, J, 3). What it makes of a row must not depend
            on the others, so that none changes when another is drawn again.
    Returns:
        (N, J, 3), canonical.
    """
    first = noise()
    drawn = pose_of(torch.arange(len(first[0]), device=first[0].device), *first)
    for _ in range(_MAX_ROUNDS):
        beyond = (torch.linalg.vector_norm(drawn, dim=-1) > math.pi).any(-1).nonzero().squeeze(-1)
        if not len(beyond):
            break
        drawn[beyond] = pose_of(beyond, *(value[beyond] for value in noise()))
    return canonicalize(drawn)
