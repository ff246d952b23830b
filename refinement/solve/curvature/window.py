"""People and frames about those that move, as a problem of their own: what the others say does not change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pose_priors.refinement.given.problem import Problem, with_frames, with_people
from pose_priors.refinement.solve.curvature.gauss_newton import knows_all
from pose_priors.refinement.solve.curvature.rounds import can_be_factored
from pose_priors.refinement.solve.gaps import ExpectedInGaps
from pose_priors.refinement.solve.noise import NoiseLevels
from pose_priors.refinement.solve.terms import GapEnergy, Smoothness, Term, UntrackedSurface
from pose_priors.refinement.solve.variables import Variables

_OF_JOINTS = ("height", "thickness")  # nan where a joint has none
_BESIDE = 3  # frames, by which contacts and steps reach farther than accelerations that last


@dataclass(frozen=True)
class Window:
    """P' people over T' frames that follow each other.

    Attributes:
        people: (P',) their indices.
        frames: which.
    """

    people: Tensor
    frames: slice

    @classmethod
    def around(cls, moving: Tensor, terms: Sequence[tuple[Term, float]], fps: float) -> Window:
        """The least one in which terms say all that they say of the people and frames (P, T) bool that move, of which there are some."""
        beside = _BESIDE + max((term.reach(fps) for term, _ in terms if isinstance(term, Smoothness)), default=0)
        at = moving.any(0).nonzero()[:, 0]
        first, last = int(at[0]) - beside, int(at[-1]) + beside
        return cls(moving.any(1).nonzero()[:, 0], slice(max(first, 0), min(last + 1, moving.shape[1])))

    def of(self, values: Tensor) -> Tensor:
        """(P', T', ...) of values (P, T, ...)."""
        return values[self.people, self.frames]

    def problem(self, problem: Problem) -> Problem:
        """What is given of them; what holds of all people's bodies, as which joints carry, stays as it is with the others."""

        def here(_: str, value: Tensor, dim: int) -> Tensor:
            return value[(slice(None),) * dim + (self.frames,)]

        def own(name: str, value: Tensor) -> Tensor:
            if name in _OF_JOINTS:
                value = torch.where(torch.isfinite(value).all(0), value, torch.nan)
            return value[self.people]

        person_ids = tuple(problem.person_ids[p] for p in self.people.tolist())
        return replace(
            with_people(with_frames(problem, problem.frame_ids[self.frames], here), person_ids, own),
            padding=max(0, self.frames.stop - problem.num_frames),
        )

    @torch.no_grad()
    def variables(self, whole: Variables, problem: Problem, noise: NoiseLevels) -> Variables:
        """Variables of the window's problem that stand where those of the whole clip do."""
        part = Variables(problem, noise, whole.alpha_bound, whole.free[1:].tolist())
        part.grows = whole.grows
        for name in ("scale", "plane", "centre"):
            getattr(part, name).copy_(getattr(whole, name))
        for name in ("shape", "depth_bias", "growth", "bias_step", "log_size"):
            getattr(part, name).copy_(getattr(whole, name)[self.people])
        part.add_increments(self.of(whole.moved()))
        for name, parameter in whole.named_parameters():
            getattr(part, name).requires_grad_(parameter.requires_grad)
        return part

    def gaps(self, whole: ExpectedInGaps, problem: Problem) -> ExpectedInGaps:
        """What the window's frames are held to."""
        part = ExpectedInGaps(problem, None).to(whole.points)
        part.frames.copy_(self.of(whole.frames))
        part.points.copy_(self.of(whole.points))
        part.thicker.copy_(whole.thicker[self.people])
        part.growth.copy_(whole.growth)
        return part


class Part:
    """A window of a clip in which alone anything moves, and how it gets back into the whole.

    Args:
        variables: of the whole clip; those that require a gradient are each of a single person and frame.
        terms: each with its weight, all local in time (`gauss_newton.knows_all`).
        gaps: what holds the frames that move, of which there are some.
    Attributes:
        variables, problem, terms, gaps: the window's.
        moving: (P', T') bool, what of it moves.
    """

    def __init__(
        self, variables: Variables, problem: Problem, terms: Sequence[tuple[Term, float]], gaps: ExpectedInGaps, noise: NoiseLevels
    ) -> None:
        self._whole, moving = variables, gaps.around(problem)
        self._window = window = Window.around(moving, terms, problem.fps)
        self.moving = window.of(moving)
        self.problem = window.problem(problem)
        self.variables = window.variables(variables, self.problem, noise)
        self.gaps = window.gaps(gaps, self.problem)
        self.terms = [
            (term.model_copy(update={"expected": self.gaps}) if isinstance(term, GapEnergy | UntrackedSurface) else term, weight)
            for term, weight in terms
        ]

    @torch.no_grad()
    def give_back(self) -> None:
        """Moves the whole clip's variables to where those that move stand now."""
        whole, window = self._whole, self._window
        moved = torch.zeros_like(found := whole.moved())
        change = self.variables.moved() - window.of(found)
        moved[window.people, window.frames] = torch.where(self.moving[..., None, None], change, 0)
        whole.add_increments(moved)
        for name in ("contacts", "facing"):
            kept: Tensor = getattr(whole, name)
            kept[window.people, window.frames] = torch.where(self.moving[..., None], getattr(self.variables, name), window.of(kept))


def part_of(
    variables: Variables, problem: Problem, terms: Sequence[tuple[Term, float]], gaps: ExpectedInGaps, noise: NoiseLevels
) -> Part | None:
    """What alone moves where gaps are gone along the curvature to the minimum; None where that cannot be, or terms may look farther."""
    moving = gaps.around(problem)
    if not (moving.any() and knows_all(terms) and can_be_factored(moving, variables)):
        return None
    return Part(variables, problem, terms, gaps, noise)
