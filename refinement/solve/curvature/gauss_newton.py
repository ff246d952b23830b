"""The Gauss-Newton matrix of a sub-stage's objective, in metres and radians of each frame and in the units of the shared variables.

What a residual changes by when a pelvis moves or a joint turns follows from the kinematics; what by when a shape, a bias, the scale or the
floor changes is found by differences of the residuals, since these are few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pose_priors.configs.threads.cores import side_by_side
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.contacts import contact_joints
from pose_priors.refinement.solve.curvature.arrow import Factor, Part, factored
from pose_priors.refinement.solve.curvature.composite import Chain
from pose_priors.refinement.solve.curvature.loads import Load, Rows, Single, blocks_of, border_of, runs_of
from pose_priors.refinement.solve.curvature.residuals import OF_FRAMES, OfFrames, of_frames, residual_of
from pose_priors.refinement.solve.curvature.shared import Near, Shared
from pose_priors.refinement.solve.curvature.surface import of_surface
from pose_priors.refinement.solve.gaps import points_of
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.terms import (
    DepthConsistency,
    FootSkating,
    GapEnergy,
    LevelFloor,
    MultiPersonScale,
    PosePrior,
    SceneFloor,
    ShapePrior,
    Smoothness,
    StayNearPose,
    StayNearScale,
    Term,
    UntrackedSurface,
)
from pose_priors.refinement.solve.terms.base import seen_for
from pose_priors.refinement.solve.terms.kernels import geman_mcclure_weight, squared_norm
from pose_priors.refinement.solve.terms.smoothness import growth_of
from pose_priors.refinement.solve.variables import Variables

# Added for each unit of a shared variable, so that what nothing tells stays where it is, and does not go as far as rounding leads.
_LEAST_SHARED = 1e-3


_KNOWN = {
    *OF_FRAMES,
    DepthConsistency,
    FootSkating,
    GapEnergy,
    LevelFloor,
    MultiPersonScale,
    PosePrior,
    SceneFloor,
    ShapePrior,
    Smoothness,
    StayNearPose,
    StayNearScale,
    UntrackedSurface,
}


class GaussNewton:
    """The matrix of the sum over people and frames.

    Args:
        variables: of those that all frames share, the ones that require a gradient count.
        terms: each with its weight.
        moving: (P, T) bool, people's frames that move; None for all.
    Attributes:
        complete: whether it knows all terms, so that nothing bends the objective much that it does not count.
    """

    def __init__(self, variables: Variables, terms: Sequence[tuple[Term, float]], problem: Problem, moving: Tensor | None = None) -> None:
        self._variables, self._terms, self._problem = variables, terms, problem
        self.moving = torch.ones_like(problem.visible) if moving is None else moving
        self._shared = Shared.of(variables, len(problem.visible))
        self._near: Near | None = None
        self.complete = knows_all(terms)

    @torch.no_grad()
    def factor(self) -> Factor:
        """Its factor at the present variables. Raises `NotDefiniteError` where there is none."""
        terms, problem, shared = self._terms, self._problem, self._shared
        scene = self._variables(problem)
        near = self._near = self._near or Near(scene, self._variables, problem, shared)
        single = [(term, weight, found) for term, weight in terms if (found := of_frames(term, scene, problem))]
        rows = [(weight, found, near.slopes(term.name, partial(residual_of, term, problem=problem))) for term, weight, found in single]
        paths = [path for term, weight in terms if (path := _path(term, weight, scene, problem, near))]
        paths += [_gaps(term, weight, scene, near) for term, weight in terms if isinstance(term, GapEnergy)]
        corners = [*((weight * found.weight, slope) for weight, found, slope in rows), *((path.weight, path.by_shared) for path in paths)]
        corners += [found for term, weight in terms for found in _corners(term, weight, scene, problem, near)]
        turns = _turns(terms, scene, problem)
        surfaces = [of_surface(term, weight, scene, problem) for term, weight in terms if isinstance(term, UntrackedSurface)]
        center = _LEAST_SHARED * np.eye(shared.size)

        def of_person(p: int) -> Part:
            moving = self.moving[p].numpy()
            chain = Chain(scene, self._variables.parents, p)
            joined, together = _of_rows(chain, scene.joints[p], rows, p, len(shared.columns[p]))
            for each in surfaces:
                joined.weight.add_(each[p])
            loads = [path.load(chain, p) for path in paths]
            border = border_of(chain, joined, loads, together)[moving].numpy()
            of_turns, runs = (turns[0][p], turns[1][p]), runs_of(moving)
            return factored(partial(blocks_of, chain, joined, loads, together, of_turns, runs), border)

        people = side_by_side(of_person, range(len(shared.columns)))
        for p, columns in enumerate(shared.columns):
            for weight, slope in corners if len(columns) else []:
                center[np.ix_(columns, columns)] += _corner(slope[p], weight[p]).numpy()
        self._add_all(center, scene, near)
        near.close()
        return Factor(people, shared.columns, center)

    def _add_all(self, center: np.ndarray, scene: Scene, near: Near) -> None:
        """What looks at the variables that all people share alone."""
        if not self._shared.size:
            return
        problem, columns = self._problem, self._shared.columns[0]
        for term, weight in self._terms:
            if isinstance(term, SceneFloor):
                residual, count = term.residuals(scene, problem)
                sure = weight * count * geman_mcclure_weight(residual.square(), term.bound**2)
                center[np.ix_(columns, columns)] += _corner(near.slopes(term.name, _of_floor(term, problem)), sure).numpy()
            elif isinstance(term, LevelFloor | StayNearScale):
                slope = near.slopes(term.name, _of_all(term, problem))
                count = float(problem.alive.sum()) if isinstance(term, LevelFloor) else 1.0
                center[np.ix_(columns, columns)] += _corner(slope, torch.full_like(slope[..., 0], weight * count)).numpy()


def knows_all(terms: Sequence[tuple[Term, float]]) -> bool:
    """Whether all terms are known here. Those that are look no farther in time than from frame to frame and `Smoothness.reach`."""
    return all(type(term) in _KNOWN and getattr(term, "prior", None) is None for term, _ in terms)


def _of_floor(term: SceneFloor, problem: Problem) -> Callable[[Scene], Tensor]:
    return lambda scene: term.residuals(scene, problem)[0]


def _of_all(term: LevelFloor | StayNearScale, problem: Problem) -> Callable[[Scene], Tensor]:
    return lambda scene: term.residual(scene, problem).reshape(-1)


def _corner(slope: Tensor, weight: Tensor) -> Tensor:
    """(G, G) of slopes (..., G) along shared variables, and what each weighs, of as many of the first dimensions."""
    sure = weight.reshape(*weight.shape, *[1] * (slope.dim() - weight.dim()))
    return slope.flatten(0, -2).T @ (sure * slope).flatten(0, -2)


def _of_rows(
    chain: Chain, joints: Tensor, rows: Sequence[tuple[float, OfFrames, Tensor]], p: int, shared: int
) -> tuple[Single, list[Rows]]:
    """Of the residuals of single frames: all that look at one joint each together; and the others."""
    weights, pulls = joints.new_zeros(*joints.shape, 3), joints.new_zeros(*joints.shape, shared)
    together = []
    for weight, found, by_shared in rows:
        sure, slope, share = weight * found.weight[p, ..., None], found.slope[p], by_shared[p]
        single = [row for row, group in enumerate(found.groups) if len(group) == 1]
        if single:
            at = torch.tensor([found.groups[row][0] for row in single])
            pull = (sure * slope)[:, single]
            weights.index_add_(1, at, pull[..., None] * slope[:, single, None])
            pulls.index_add_(1, at, pull[..., None] * share[:, single, None])
        if several := [row for row in range(len(found.groups)) if row not in single]:
            root, groups = sure[:, several].sqrt(), [found.groups[row] for row in several]
            together.append(Rows(chain.slopes(joints, groups, root * slope[:, several]), root * share[:, several]))
    moved = chain.moved(joints)
    return Single(moved.mT @ weights @ moved, moved.mT @ pulls), together


@dataclass(frozen=True)
class _Path:
    """Residuals that are differences over time of points that are fixed to bodies.

    Attributes:
        steps: what each frame of a difference counts, in the order of time; (1,) of points as they are.
        joints: (N,) which carry the points.
        points: (P, T, N, 3) metres, world.
        unit: (P,) residuals for each metre.
        weight: (P, T - order, N).
        by_shared: (P, T - order, N, 3, G).
    """

    steps: tuple[int, ...]
    joints: Tensor
    points: Tensor
    unit: Tensor
    weight: Tensor
    by_shared: Tensor

    def load(self, chain: Chain, p: int) -> Load:
        """Of one person."""
        pull = self.unit[p] * self.weight[p]
        return Load(self.steps, self.joints, chain.places(self.points[p]), self.unit[p] * pull, pull[..., None, None] * self.by_shared[p])


def _path(term: Term, weight: float, scene: Scene, problem: Problem, near: Near) -> _Path | None:
    if isinstance(term, FootSkating) and scene.joints.shape[1] > 1:
        speeds, carry = term.residuals(scene, problem)
        sure = weight * carry * geman_mcclure_weight(squared_norm(speeds), term.bound**2)
        unit = (problem.fps / (term.sigma * scene.growth)).expand(len(scene.joints))
        standing = contact_joints(problem.bodies)
        slopes = near.slopes(term.name, lambda at: term.residuals(at, problem)[0])
        return _Path((-1, 1), torch.tensor(standing, dtype=torch.long), scene.joints[:, :, standing], unit, sure, slopes)
    if type(term) is Smoothness and scene.joints.shape[1] > 2:
        found = term.residuals(term.points(scene, problem), problem)
        slopes = near.slopes(term.name, lambda at: term.residuals(term.points(at, problem), problem))
        growth, twice = growth_of(scene, problem), torch.cat([scene.free, scene.free])
        unit = problem.fps**2 / term.acceleration / growth.flatten()
        return _Path((1, -2, 1), twice, growth * term.points(scene, problem), unit, weight * term.weights(found, problem), slopes)
    return None


def _gaps(term: GapEnergy, weight: float, scene: Scene, near: Near) -> _Path:
    slopes = near.slopes(term.name, lambda at: term.expected.apart(at) / term.width)
    joints, unit = torch.arange(scene.joints.shape[2]), scene.joints.new_full((len(scene.joints),), 1 / term.width)
    sure = (weight * term.expected.frames).to(slopes)[..., None].expand(slopes.shape[:3])
    return _Path((1,), torch.cat([joints, joints]), points_of(scene), unit, sure, slopes)


def _corners(term: Term, weight: float, scene: Scene, problem: Problem, near: Near) -> list[tuple[Tensor, Tensor]]:
    """Of residuals that look at shared variables alone, for each person, weights (P, ...) and slopes (P, ..., G)."""
    if isinstance(term, MultiPersonScale) and scene.joints.shape[1] > 2:
        found = term.residuals(term.points(scene, problem), problem)
        sure = weight * term.weights(found, problem)
        return [(sure, near.slopes(term.name, lambda at: term.residuals(term.points(at, problem), problem)))]
    if isinstance(term, ShapePrior):
        slopes = near.slopes(term.name, lambda at: term.residuals(at, problem))
        return [(weight * problem.visible.sum(1)[:, None].expand(slopes.shape[:-1]), slopes)]
    if isinstance(term, DepthConsistency):
        slopes = near.slopes(f"{term.name} bias", lambda at: term.biases(at, problem)[0][:, None])
        return [(weight * term.biases(scene, problem)[1][:, None], slopes)]
    return []


def _turns(terms: Sequence[tuple[Term, float]], scene: Scene, problem: Problem) -> tuple[Tensor, Tensor]:
    """What turns of the free joints weigh by themselves (P, T, F), and changes of them from frame to frame (P, T - 1, F)."""
    free = scene.free
    place = scene.turn.new_zeros(*scene.turn.shape[:2], len(free))
    change = torch.zeros_like(place[:, 1:])
    both = seen_for(problem, 2)
    for term, weight in terms:
        if isinstance(term, StayNearPose):
            place += weight / term.bias_rad**2 * term.counts(problem)[..., free]
            change += weight / term.variance_of_change(problem)[free] * both[..., None]
        elif isinstance(term, PosePrior):
            place[..., 1:] += weight / term.sigma**2 * problem.alive[..., None]
    return place, change
