"""What a loss term is, and the robust kernels that terms share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from configs.base import Config
from refinement.problem import Problem
from refinement.scene import Scene


class Term(Config, ABC):
    """A function of the scene and of what is given, in nats per person and frame, unweighted; its fields are physical scales."""

    name: ClassVar[str]
    """Under which it is logged."""

    @abstractmethod
    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        """(), finite with finite gradients for any finite scene."""


def geman_mcclure(square: Tensor, bound: Tensor | float) -> Tensor:
    """Half of a square, saturating at `bound` / 2 (Geman & McClure, "Statistical Methods for Tomographic Image Reconstruction", 1987)."""
    return 0.5 * square * (bound / (bound + square))


def student_t(square: Tensor, freedom: float, dimensions: int) -> Tensor:
    """Minus the log-density of a multivariate Student t, less its constant; `square` is in squared scales."""
    return 0.5 * (freedom + dimensions) * torch.log1p(square / freedom)


def per_person_frame(values: Tensor, mask: Tensor, count: Tensor) -> Tensor:
    """The sum of values (P, T', ...) where the mask (P, T') or (P, T', ...) holds, over the number of people and frames `count` (P, T)."""
    mask = mask.reshape(*mask.shape, *[1] * (values.dim() - mask.dim()))
    return torch.where(mask, values, torch.zeros_like(values)).sum() / count.sum().clamp_min(1)
