"""Rounds of a sub-stage that goes on to the minimum, between which what is held still is found anew."""

from __future__ import annotations

import logging

from torch import Tensor

from pose_priors.refinement.solve.curvature.arrow import NotDefiniteError, is_large
from pose_priors.refinement.solve.curvature.gauss_newton import GaussNewton
from pose_priors.refinement.solve.curvature.white import White, WhiteLBFGS
from pose_priors.refinement.solve.objective import Objective
from pose_priors.refinement.solve.variables import Variables

log = logging.getLogger("refine")

# Metres that joints move by on average in a step of Newton's: below it has converged, beyond what shared variables change is found anew.
_STILL_M, _FAR_M = 3e-5, 1e-3
# Iterations of a round at most, with Newton's steps and with others; one of Newton's ends once a step lowers the objective by less than
# such a share of the round's best, since what is found anew then changes it by more.
_NEWTON_ROUND, _ROUND, _REST = 4, 17, 0.1
# The last round, after which nothing is found anew: contacts that reach on from frame to frame would take many more.
_LAST = 7


def can_be_factored(moving: Tensor, variables: Variables) -> bool:
    """Whether the curvature of people's frames (P, T) bool that move is worth its memory, and on the CPU."""
    return moving.device.type == "cpu" and not is_large(int(moving.sum()), 3 + 3 * len(variables.free))


class Round:
    """Iterations that share what is held still.

    Where the curvature can be factored and knows all terms, each is a step of Newton's from where it begins; where it does not know all,
    steps are those of L-BFGS in its coordinates; else those of L-BFGS.

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
        self._steps, self._best, self._joints = 0, 0.0, self._present()
        self._curvature: GaussNewton | None = None
        if can_be_factored(moving, objective.variables):
            self._curvature = self._seen_from_here()
        elif before is None:
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
        if self._steps == 0 or self._curvature is None:
            optimizer.newton = float(self._curvature is not None and curvature.complete)

    def ended(self, threshold: float, loss: float) -> bool:
        """To be asked after each iteration: whether the sub-stage has converged, which only iterations along the curvature say, and of
        rounds before the last only their first.

        Args:
            threshold: fraction of the loss, by which iterations that still count lower it.
            loss: before the iteration.
        """
        self._steps += 1
        if self._optimizer.white is None:
            self.over = self._steps == _ROUND
            return False
        last, least = self._number >= _LAST, threshold * self._objective.weight
        if self._optimizer.newton:
            decrease = self._optimizer.decrease
            self._best = max(self._best, decrease)
            arrived = self._has_arrived(least * max(abs(loss), 1.0))
            enough = decrease < _REST * self._best or self._steps == _NEWTON_ROUND
        else:
            arrived = self._optimizer.gain < least
            enough = self._steps == _ROUND
        self.over = not last and (arrived or enough)
        return arrived and (last or self._steps == 1)

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
