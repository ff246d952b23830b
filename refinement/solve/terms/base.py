"""What a loss term is, and the means that terms share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from pose_priors.configs.base import Config
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.once import once
from pose_priors.refinement.solve.scene import Scene


class Term(Config, ABC):
    """A function of the scene and of what is given, in nats per person and frame, unweighted; its fields are physical scales."""

    name: ClassVar[str]
    """Under which it is logged."""

    @abstractmethod
    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        """(), finite with finite gradients for any finite scene."""


def per_person_frame(values: Tensor, weights: Tensor, count: float) -> Tensor:
    """The sum of finite values (P, T', ...) with weights, or a mask, (P, T') or (P, T', ...), over `count` people and frames."""
    weights = weights.reshape(*weights.shape, *[1] * (values.dim() - weights.dim()))
    return (values * weights).sum() / count


@once
def num_visible(problem: Problem) -> float:
    """People and frames that were seen, at least 1: what all sums are over, so that what one person feels does not change with who else is
    hidden, and for how long."""
    return float(problem.visible.sum().clamp_min(1))


@once
def num_alive(problem: Problem) -> float:
    """People and frames of their lives, seen or not."""
    return float(problem.alive.sum())


@once
def alive_for(problem: Problem, frames: int) -> Tensor:
    """(P, T - frames + 1) bool, who is alive on so many frames that follow each other, by the first of them."""
    return _in_a_row(problem.alive, frames)


@once
def seen_for(problem: Problem, frames: int) -> Tensor:
    """(P, T - frames + 1) bool, who was seen on so many frames that follow each other, by the first of them."""
    return _in_a_row(problem.visible, frames)


def _in_a_row(there: Tensor, frames: int) -> Tensor:
    for _ in range(frames - 1):
        there = there[:, 1:] & there[:, :-1]
    return there
