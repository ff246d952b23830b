"""L-BFGS in coordinates in which the curvature is one in every direction, so that a few steps of it reach the minimum."""

from __future__ import annotations

from collections.abc import Callable, Iterable

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
    """

    def __init__(self, variables: Variables, factor: Factor) -> None:
        self._variables, self._factor = variables, factor
        people, frames = variables.pelvis.shape[:2]
        self._shared, self._shape = Shared.of(variables, people), (people, frames, -1)

    def gradient(self) -> Tensor:
        """(N,) by these coordinates, of the gradients that the variables hold."""
        variables = self._variables
        by_name = {name: p.grad if p.grad is not None else torch.zeros_like(p) for name, p in variables.named_parameters()}
        increments = variables.by_increments(by_name).cpu().double().numpy()
        people, shared = self._factor.white_gradient([each.reshape(-1) for each in increments], self._shared.gathered(by_name))
        return torch.from_numpy(np.concatenate([*people, shared])).to(variables.pelvis)

    def reach(self, direction: Tensor) -> float:
        """The largest move of a pelvis in metres, or turn of a joint in radians, along a direction (N,) in these coordinates."""
        people, _ = self._steps(direction.detach().cpu().double().numpy())
        return max((float(np.abs(each).max(initial=0.0)) for each in people), default=0.0)

    def _steps(self, flat: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        own = flat[: len(flat) - self._shared.size].reshape(self._shape[0], -1)
        return self._factor.step(list(own), flat[len(flat) - self._shared.size :])

    @torch.no_grad()
    def move(self, size: float, direction: Tensor) -> None:
        """Moves the variables by a multiple of a direction (N,) in these coordinates."""
        variables = self._variables
        people, frames = self._shape[:2]
        steps, shared = self._steps(float(size) * direction.detach().cpu().double().numpy())
        moved = torch.from_numpy(np.stack(steps).reshape(people, frames, -1, 3)).to(variables.pelvis)
        variables.add_increments(moved)
        by_name = dict(variables.named_parameters())
        for name, change in self._shared.scattered(shared, {name: by_name[name] for name in self._shared.names}).items():
            by_name[name].add_(change)


class WhiteLBFGS(torch.optim.LBFGS):
    """`torch.optim.LBFGS`, in coordinates of its own where it is given some.

    Attributes:
        white: the coordinates, or None for the variables themselves.
    """

    def __init__(self, parameters: Iterable[Tensor], **options: object) -> None:
        super().__init__(parameters, **options)  # type: ignore[arg-type]
        self.white: White | None = None

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """As torch's, but the first step is one of Newton's, where torch would make it as long as one unit in all; no longer than the
        curvature can be trusted, since what a trained prior says is not in it, and may be all that holds a hidden frame."""
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
    def gradient_before(self) -> float:
        """The length of the gradient that the last step began with, in its coordinates."""
        gradient: Tensor = self.state[self._params[0]]["prev_flat_grad"]
        return float(gradient.norm())

    def _gather_flat_grad(self) -> Tensor:
        return super()._gather_flat_grad() if self.white is None else self.white.gradient()  # type: ignore[no-untyped-call]

    def _add_grad(self, step_size: float, direction: Tensor) -> None:
        if self.white is None:
            super()._add_grad(step_size, direction)
        else:
            self.white.move(step_size, direction)
