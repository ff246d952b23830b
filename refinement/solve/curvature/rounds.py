"""Rounds of a sub-stage that goes on to the minimum, between which what is held still is found anew."""

from __future__ import annotations

import logging

from torch import Tensor

from pose_priors.refinement.solve.curvature.arrow import NotDefiniteError, is_large
from pose_priors.refinement.solve.curvature.gauss_newton import GaussNewton
from pose_priors.refinement.solve.curvature.white import White, WhiteLBFGS
from pose_priors.refinement.solve.objective import Objective

log = logging.getLogger("refine")

# Metres that joints move by on average in a step of Newton's: below it has converged, beyond what shared variables change is found anew.
_STILL_M, _FAR_M = 3e-5, 1e-3
# Iterations of a round, with Newton's steps and with others.
_NEWTON_ROUND, _ROUND = 4, 17
_LONGER = 1.5  # times a step of Newton's, tried first once the first round has led near the minimum


class Round:
    """Iterations that share what is held still.

    Where the curvature can be factored and knows all terms, each is a step of Newton's from where it begins; where it does not know all,
    steps are those of L-BFGS in its coordinates; else those of L-BFGS.

    Args:
        optimizer: of the variables, without anything of earlier points.
        objective: where it stands.
        moving: (P, T) bool, people's frames that move.
        first: whether it is the first of its sub-stage.
    """

    def __init__(self, optimizer: WhiteLBFGS, objective: Objective, moving: Tensor, *, first: bool) -> None:
        self._optimizer, self._objective, self._moving = optimizer, objective, moving
        self._first, self._steps, self._joints = first, 0, self._present()
        variables = objective.variables
        self._curvature: GaussNewton | None = None
        if moving.device.type == "cpu" and not is_large(int(moving.sum()), 3 + 3 * len(variables.free)):
            self._curvature = self._seen_from_here()
        elif first:
            log.info("the clip is too long for the curvature of the objective, or not on the CPU, and is solved without")

    def prepare(self) -> None:
        """To be called before each iteration."""
        curvature, optimizer = self._curvature, self._optimizer
        if curvature is None or (self._steps and not curvature.complete):
            return
        optimizer.white = None  # or there would be two of them in memory
        try:
            optimizer.white = White(self._objective.variables, curvature.factor(), self._moving)
        except NotDefiniteError:
            self._curvature = None
            log.warning("the curvature of the objective cannot be factored, and it goes on without")
        optimizer.newton = (1.0 if self._first else _LONGER) * curvature.complete

    def ended(self, threshold: float, loss: float) -> tuple[bool, bool]:
        """To be asked after each iteration: whether the round is over, and whether the sub-stage has converged, which only its first
        iteration says, and only one along the curvature.

        Args:
            threshold: fraction of the loss, by which iterations that still count lower it.
            loss: before the iteration.
        """
        self._steps += 1
        white, newton = self._optimizer.white is not None, self._optimizer.newton > 0
        if not white:
            return self._steps == _ROUND, False
        weight = self._objective.weight
        arrived = self._has_arrived(threshold * max(abs(loss), 1.0) * weight) if newton else self._optimizer.gain < threshold * weight
        return arrived or self._steps == (_NEWTON_ROUND if newton else _ROUND), arrived and self._steps == 1

    def _has_arrived(self, least: float) -> bool:
        """Whether the last step of Newton's neither lowered the objective much nor moved anybody."""
        joints = self._present()
        moved = float((joints - self._joints)[self._moving].norm(dim=-1).mean())
        self._joints = joints
        if moved > _FAR_M:
            self._curvature = self._seen_from_here()
        return self._optimizer.decrease < least and moved < _STILL_M

    def _seen_from_here(self) -> GaussNewton:
        return GaussNewton(self._objective.variables, self._objective.terms, self._objective.problem, self._moving)

    def _present(self) -> Tensor:
        joints: Tensor = self._objective.variables(self._objective.problem).joints.detach()
        return joints
