"""What L-BFGS minimises: the weighted terms of a sub-stage as a function of the variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.terms import Term
from pose_priors.refinement.solve.variables import Variables

State = dict[str, Tensor]


class NotFiniteError(ArithmeticError):
    """The objective or its gradient is not finite; a line search cannot go on from there."""


@dataclass(frozen=True)
class _Evaluation:
    point: Tensor
    loss: Tensor
    joints: Tensor
    gradients: list[Tensor]
    values: dict[str, float]


class Objective:
    """A closure for `torch.optim.LBFGS` that never computes the same point twice.

    L-BFGS with one iteration a step asks at the start of each for what the line search of the one before has computed already: values and
    gradients of the last line search are kept.

    The sum over people and frames is minimised, not the mean that is reported, since the first step of L-BFGS supposes curvatures of one.

    Args:
        variables: those that require a gradient are changed.
        terms: each with its weight.
        problem: what is given.
    Attributes:
        joints: (P, T, J, 3) metres, where they were when it was last called.
    """

    joints: Tensor

    def __init__(self, variables: Variables, terms: Sequence[tuple[Term, float]], problem: Problem) -> None:
        self.variables, self.terms, self.problem = variables, terms, problem
        self.weight = float(problem.visible.sum().clamp_min(1))
        self._weights = problem.start.pelvis.new_tensor([weight for _, weight in terms])
        self.values_before: dict[str, float] = {}
        self.state_before = self.state()
        self._seen: list[_Evaluation] = []
        self._fresh = True

    @property
    def free(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.variables.parameters() if parameter.requires_grad]

    def begin_step(self) -> None:
        """The next call is the first of a step of the optimiser."""
        self._fresh = True

    def __call__(self) -> Tensor:
        """The objective at the present variables, its gradient left in them. Raises `NotFiniteError` where it has none."""
        point = torch.cat([parameter.detach().flatten() for parameter in self.free])
        known = next((entry for entry in reversed(self._seen) if torch.equal(entry.point, point)), None)
        if known is None:
            known = self._compute(point)
        else:
            for parameter, gradient in zip(self.free, known.gradients, strict=True):
                parameter.grad = gradient
        if self._fresh:
            self.values_before, self.state_before = known.values, self.state()
            self._seen, self._fresh = [], False
        self._seen.append(known)
        self.joints = known.joints
        return known.loss

    def _compute(self, point: Tensor) -> _Evaluation:
        for parameter in self.variables.parameters():
            parameter.grad = None
        with torch.enable_grad():
            scene = self.variables(self.problem)
            total, values = self._of(scene)
            (total * self.weight).backward()
        total = total.detach()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.free]
        if not torch.isfinite(torch.cat([total[None], *(gradient.flatten() for gradient in gradients)])).all():
            raise NotFiniteError
        return _Evaluation(point, total * self.weight, scene.joints.detach(), gradients, self._by_name(values))

    def total(self) -> Tensor:
        """The weighted mean, with its gradient."""
        return self._of(self.variables(self.problem))[0]

    def _of(self, scene: Scene) -> tuple[Tensor, list[Tensor]]:
        values = [term(scene, self.problem) for term, _ in self.terms]
        total: Tensor = _Weighted.apply(self._weights, *values)  # type: ignore[no-untyped-call]
        return total, values

    def _by_name(self, values: Sequence[Tensor]) -> dict[str, float]:
        return dict(zip((term.name for term, _ in self.terms), torch.stack([*values]).tolist(), strict=True))

    @torch.no_grad()
    def evaluate(self) -> tuple[float, dict[str, float]]:
        """The weighted mean and the unweighted terms at the present variables."""
        total, values = self._of(self.variables(self.problem))
        return float(total), self._by_name(values)

    def state(self) -> State:
        """A copy of all variables."""
        return {name: parameter.detach().clone() for name, parameter in self.variables.named_parameters()}

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Sets all variables, and forgets earlier points."""
        for name, parameter in self.variables.named_parameters():
            parameter.copy_(state[name])
        self.forget()

    def forget(self) -> None:
        """Drops what is kept of earlier points."""
        self._seen = []


class _Weighted(torch.autograd.Function):
    """The weighted sum of numbers, in one step of the chain rule."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, *values: Tensor) -> Tensor:
        ctx.save_for_backward(weights)
        return torch.as_tensor(sum((torch.stack(values) * weights).unbind()))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weights,) = ctx.saved_tensors
        return None, *(gradient * weights).unbind()
