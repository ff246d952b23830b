"""Steps in coordinates in which the curvature is one in every direction, so that a few of them reach the minimum."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose_priors.refinement.solve.curvature.arrow import Factor
from pose_priors.refinement.solve.curvature.shared import Shared
from pose_priors.refinement.solve.variables import Variables

_REACH = 0.5  # metres and radians within which residuals change about as their slopes say


class White:
    """Coordinates in which a Gauss-Newton matrix is the identity: a unit is how far the evidence lets a direction be wrong.

    Args:
        variables: those that require a gradient move.
        factor: of the matrix.
        moving: (P, T) bool, people's frames that move; None for all.
    """

    def __init__(self, variables: Variables, factor: Factor, moving: Tensor | None = None) -> None:
        self._variables, self._factor = variables, factor
        self._moving = torch.ones_like(variables.pelvis[..., 0], dtype=torch.bool) if moving is None else moving
        self._shared, self._width = Shared.of(variables, len(variables.pelvis)), 3 + 3 * len(variables.free)
        # of the factor and of its transpose, what was last asked for: a search ends with a step that it has tried, and the next one begins
        # with the gradient there
        self._gradient: tuple[Tensor, Tensor] | None = None
        self._step: tuple[np.ndarray, tuple[list[np.ndarray], np.ndarray]] | None = None

    def gradient(self) -> Tensor:
        """(N,) by these coordinates, of the gradients that the variables hold."""
        by_name = {name: p.grad if p.grad is not None else torch.zeros_like(p) for name, p in self._variables.named_parameters()}
        given = torch.cat([gradient.flatten() for gradient in by_name.values()])
        if self._gradient is None or not torch.equal(self._gradient[0], given):
            self._gradient = given, self._white(by_name)
        return self._gradient[1]

    def _white(self, by_name: dict[str, Tensor]) -> Tensor:
        variables = self._variables
        increments = variables.by_increments(by_name).cpu().double()
        own = [each[moving].flatten().numpy() for each, moving in zip(increments, self._moving, strict=True)]
        people, shared = self._factor.white_gradient(own, self._shared.gathered(by_name))
        return torch.from_numpy(np.concatenate([*people, shared])).to(variables.pelvis)

    def reach(self, direction: Tensor) -> float:
        """The largest move of a pelvis in metres, or turn of a joint in radians, along a direction (N,) in these coordinates."""
        people, _ = self._steps(direction.detach().cpu().double().numpy())
        return max((float(np.abs(each).max(initial=0.0)) for each in people), default=0.0)

    def _steps(self, flat: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        if self._step is None or not np.array_equal(self._step[0], flat):
            own = np.split(flat, np.cumsum(self._moving.sum(1).numpy() * self._width))
            self._step = flat, self._factor.step(own[:-1], own[-1])
        return self._step[1]

    @torch.no_grad()
    def move(self, size: float, direction: Tensor) -> None:
        """Moves the variables by a multiple of a direction (N,) in these coordinates."""
        variables = self._variables
        steps, shared = self._steps(float(size) * direction.detach().cpu().double().numpy())
        moved = torch.zeros(*self._moving.shape, self._width, dtype=torch.float64)
        moved[self._moving] = torch.from_numpy(np.concatenate(steps)).unflatten(0, (-1, self._width))
        variables.add_increments(moved.unflatten(2, (-1, 3)).to(variables.pelvis))
        by_name = dict(variables.named_parameters())
        for name, change in self._shared.scattered(shared, {name: by_name[name] for name in self._shared.names}).items():
            by_name[name].add_(change)


class WhiteLBFGS(torch.optim.LBFGS):
    """`torch.optim.LBFGS`, in coordinates of its own where it is given some.

    Attributes:
        white: the coordinates, or None for the variables themselves.
        gain: what the last step in such coordinates was to lower the objective by, had it been a square.
    """

    def __init__(self, parameters: Iterable[Tensor], **options: object) -> None:
        super().__init__(parameters, **options)  # type: ignore[arg-type]
        self.white: White | None = None

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        # past torch's own wrapper, which keeps its compiler off, and imports that to do so: as long as a short clip takes
        inspect.unwrap(torch.optim.LBFGS.add_param_group)(self, param_group)

    def of(self, parameters: Iterable[Tensor]) -> None:
        """Moves these from now on, and forgets all of earlier points."""
        self._params[:] = list(parameters)
        self._numel_cache = None
        self.forget()

    def forget(self) -> None:
        """Forgets all of earlier points, the coordinates too."""
        self.white = None
        self.state.clear()

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Returns the objective before the step. In white coordinates the first step of L-BFGS is one of Newton's, where torch would make
        it as long as one unit in all; no longer than the curvature can be trusted, since what a trained prior says is not in it, and may
        be all that holds a hidden frame."""
        group = self.param_groups[0]
        rate = group["lr"]
        if self.white is not None and not self.state[self._params[0]]:
            with torch.enable_grad():
                closure()
            gradient = self._gather_flat_grad()
            group["lr"] = rate * max(1.0, float(gradient.abs().sum())) * min(1.0, _REACH / max(self.white.reach(gradient), _REACH))
        try:
            found: Tensor = super().step(closure)  # type: ignore[no-untyped-call]
        finally:
            group["lr"] = rate
        return found

    @property
    def gain(self) -> float:
        gradient: Tensor = self.state[self._params[0]]["prev_flat_grad"]
        return 0.5 * float(gradient.norm()) ** 2

    def _gather_flat_grad(self) -> Tensor:
        return super()._gather_flat_grad() if self.white is None else self.white.gradient()  # type: ignore[no-untyped-call]

    def _add_grad(self, step_size: float, direction: Tensor) -> None:
        if self.white is None:
            super()._add_grad(step_size, direction)
        else:
            self.white.move(step_size, direction)
