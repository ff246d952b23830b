"""What L-BFGS minimises: the weighted terms of a sub-stage as a function of the variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import torch
from torch import Tensor

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
            values = self._values(scene)
            # the gradient begins with the weights, and the sum is no part of what is differentiated
            pulls = [value.requires_grad for value in values]
            torch.autograd.backward([*compress(values, pulls)], [*compress(self._weights * self.weight, pulls)])
        found = torch.stack(values).detach()
        total = self._sum(found, scene).detach()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.free]
        if not torch.isfinite(torch.cat([total[None], *(gradient.flatten() for gradient in gradients)])).all():
            raise NotFiniteError
        return _Evaluation(point, total * self.weight, scene.joints.detach(), gradients, self._by_name(found))

    def _values(self, scene: Scene) -> list[Tensor]:
        return [term(scene, self.problem) for term, _ in self.terms]

    def _sum(self, values: Tensor, scene: Scene) -> Tensor:
        return sum((values * self._weights).unbind(), scene.alpha * 0)

    def _by_name(self, values: Tensor) -> dict[str, float]:
        return dict(zip((term.name for term, _ in self.terms), values.tolist(), strict=True))

    def total(self) -> Tensor:
        """The weighted mean, with its gradient."""
        scene = self.variables(self.problem)
        return self._sum(torch.stack(self._values(scene)), scene)

    @torch.no_grad()
    def evaluate(self) -> tuple[float, dict[str, float]]:
        """The weighted mean and the unweighted terms at the present variables."""
        scene = self.variables(self.problem)
        values = torch.stack(self._values(scene))
        return float(self._sum(values, scene)), self._by_name(values)

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
