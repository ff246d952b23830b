"""Rounds of a sub-stage that goes on to the minimum, between which what is held still is found anew."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from pose_priors.refinement.solve.curvature.arrow import NotDefiniteError, is_large
from pose_priors.refinement.solve.curvature.gauss_newton import GaussNewton
from pose_priors.refinement.solve.curvature.white import White, WhiteLBFGS
from pose_priors.refinement.solve.objective import Objective
from pose_priors.refinement.solve.variables import Variables

log = logging.getLogger("refine")

# Metres that joints move by on average in a step: below it has converged, beyond the curvature is found anew.
_STILL_M, _FAR_M = 3e-5, 1e-3
# Iterations of a round at most, and of those that share a factor. Where the curvature knows all terms a round ends once a step lowers the
# objective by less than such a share of the round's best, since what is found anew then changes it by more.
_ROUND, _SHARE_A_FACTOR, _REST = 17, 6, 0.1
# The last round, after which nothing is found anew: contacts that reach on from frame to frame would take many more.
_LAST = 5


def can_be_factored(moving: Tensor, variables: Variables) -> bool:
    """Whether the curvature of people's frames (P, T) bool that move is worth its memory, and on the CPU."""
    return moving.device.type == "cpu" and not is_large(int(moving.sum()), 3 + 3 * len(variables.free))


class Round:
    """Iterations that share what is held still.

    Steps are those of L-BFGS: in coordinates of the curvature where it can be factored; if it knows all terms they are renewed after
    a long step, and now and then. A factor takes as long as several steps, and by short ones the curvature changes little: what it does
    change by, and what it lies above the true one by where kernels bend (`curvature.residuals`), L-BFGS sees in the steps that it takes.

    Args:
        optimizer: of the variables, without anything of earlier points.
        objective: where it stands.
        moving: (P, T) bool, people's frames that move.
        before: the round of the same sub-stage that has ended, or None.
    Attributes:
        over: whether it has ended.
    """

    def __init__(self, optimizer: WhiteLBFGS, objective: Objective, moving: Tensor, before: Round | None = None) -> None:
        self.over = False
        self._optimizer, self._objective, self._moving = optimizer, objective, moving
        self._number: int = 1 if before is None else before._number + 1
        self._steps, self._since, self._best = 0, 0, 0.0
        with torch.no_grad():
            self._joints: Tensor = objective.variables(objective.problem).joints
        self._curvature: GaussNewton | None = None
        if can_be_factored(moving, objective.variables):
            self._curvature = self._seen_from_here()
        elif before is None:
            log.info("the clip is too long for the curvature of the objective, or not on the CPU, and is solved without")

    def prepare(self) -> None:
        """To be called before each iteration."""
        curvature, optimizer = self._curvature, self._optimizer
        if curvature is None or (self._steps and not curvature.complete) or 0 < self._since < _SHARE_A_FACTOR:
            return
        self._since = 0
        optimizer.forget()  # or there would be two of its coordinates in memory
        try:
            optimizer.white = White(self._objective.variables, curvature.factor(), self._moving)
        except NotDefiniteError:
            self._curvature = None
            log.warning("the curvature of the objective cannot be factored, and it goes on without")

    def ended(self, threshold: float, loss: float) -> bool:
        """To be asked after each iteration: whether the sub-stage has converged, which only iterations along the curvature say, and of
        rounds before the last only their first.

        Args:
            threshold: fraction of the loss, by which iterations that still count lower it.
            loss: before the iteration.
        """
        self._steps, self._since = self._steps + 1, self._since + 1
        enough = self._steps == _ROUND
        if self._optimizer.white is None or self._curvature is None:
            self.over = enough
            return False
        last, least = self._number >= _LAST, threshold * self._objective.weight
        if self._curvature.complete:
            decrease = loss * self._objective.weight - float(self._objective())
            self._best = max(self._best, decrease)
            arrived = self._moved() < _STILL_M and decrease < least * max(abs(loss), 1.0)
            enough = enough or decrease < _REST * self._best
        else:
            arrived = self._optimizer.gain < least
        self.over = not last and (arrived or enough)
        return arrived and (last or self._steps == 1)

    def _moved(self) -> float:
        """Metres by which joints moved on average in the last step."""
        moved = float((self._objective.joints - self._joints)[self._moving].norm(dim=-1).mean())
        self._joints = self._objective.joints
        if moved > _FAR_M:
            self._curvature, self._since = self._seen_from_here(), 0
        return moved

    def _seen_from_here(self) -> GaussNewton:
        return GaussNewton(self._objective.variables, self._objective.terms, self._objective.problem, self._moving)
