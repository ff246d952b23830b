"""How far people are from what a prior of whole clips expects on frames on which nobody saw them."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.gaps import ExpectedInGaps
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.terms.base import Term, num_visible, per_person_frame
from pose_priors.refinement.solve.terms.kernels import squared_norm


class GapEnergy(Term):
    """The noise-annealed energy of a prior of clips about its own completion of a gap, with what it expects held still.

    The score of a motion x seen with noise of standard deviation s is (E[x | seen] - x) / s^2 (Robbins, "An empirical Bayes approach to
    statistics", 1956; Miyasawa, 1961): held still, it is that of a normal of that width about what is expected.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    name: ClassVar[str] = "gaps"
    expected: ExpectedInGaps
    width: float = 0.02
    """Metres, s."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        square = squared_norm(self.expected.apart(scene)) / self.width**2
        return per_person_frame(0.5 * square, self.expected.frames, num_visible(problem))
