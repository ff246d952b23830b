"""The Gauss-Newton matrix of a sub-stage's objective, in metres and radians of each frame and in the units of the shared variables.

What a residual changes by when a pelvis moves or a joint turns follows from the kinematics; what by when a shape, a bias, the scale or the
floor changes is found by differences of the residuals, since these are few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.contacts import contact_joints
from pose_priors.refinement.solve.curvature.arrow import Band, Factor, factored, solved
from pose_priors.refinement.solve.curvature.posed import joint_jacobians
from pose_priors.refinement.solve.curvature.residuals import OfFrames, of_frames
from pose_priors.refinement.solve.curvature.shared import Near, Shared
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.terms import (
    DepthConsistency,
    FootSkating,
    MultiPersonScale,
    PosePrior,
    SceneFloor,
    ShapePrior,
    Smoothness,
    StayNearPose,
    StayNearScale,
    Term,
)
from pose_priors.refinement.solve.terms.kernels import geman_mcclure_weight, squared_norm
from pose_priors.refinement.solve.terms.smoothness import growth_of
from pose_priors.refinement.solve.variables import Variables

_CHUNK = 64  # frames
_BY_HALVES = 50e6  # bytes of a person's factor, from which on it is kept in single precision
# Added for each unit of a shared variable, so that what nothing tells stays where it is, and does not go as far as rounding leads.
_LEAST_SHARED = 1e-3


@torch.no_grad()
def gauss_newton(variables: Variables, terms: Sequence[tuple[Term, float]], problem: Problem) -> Factor:
    """The factor of the matrix at the present variables, of the sum over people and frames.

    Args:
        variables: of those that all frames share, the ones that require a gradient count.
        terms: each with its weight.
    Raises:
        NotDefiniteError: where there is none.
    """
    people, frames = problem.visible.shape
    shared = Shared.of(variables, people)
    near = Near.of(variables, problem, shared)
    scene = near.scene
    single = [(term, weight, found) for term, weight in terms if (found := of_frames(term, scene, problem))]
    rows = [(weight, found, near.slopes(_residual_of(term, problem))) for term, weight, found in single]
    paths = [path for term, weight in terms if (path := _path(term, weight, scene, problem, near))]
    corners = [found for term, weight in terms for found in _corners(term, weight, scene, problem, near)]
    turns = _turns(terms, scene, problem)
    size = 3 + 3 * len(scene.free)
    center = _LEAST_SHARED * np.eye(shared.size)
    bands, borders = [], []
    for p, columns in enumerate(shared.columns):
        band, border = Band(frames, size), torch.zeros(frames, size, len(columns), dtype=scene.joints.dtype)
        joints, arms = joint_jacobians(scene, variables.parents, p)
        joints[..., :3] *= torch.exp(-scene.depth_bias[p])
        corner = _add_rows(band, border, joints, rows, p)
        for path in paths:
            corner += path.add(band, border, joints, arms, p)
        _add_turns(band, turns, p)
        corner += sum(torch.einsum("n...g,n...,n...h->gh", slope[p], weight[p], slope[p]) for weight, slope in corners)
        factor = factored(band)
        borders.append(
            solved(factor, border.reshape(frames * size, -1).numpy()) if len(columns) else border.reshape(frames * size, 0).numpy()
        )
        # coordinates are the same in single precision but for a rounding, at half the memory and time
        bands.append(factor.astype(np.float32) if factor.nbytes > _BY_HALVES else factor)
        center[np.ix_(columns, columns)] += corner.numpy()
    columns = shared.columns[0]
    for term, weight in terms:
        if isinstance(term, SceneFloor) and shared.size:
            residual, count = term.residuals(scene, problem)
            slope = near.slopes(_of_floor(term, problem))
            sure = weight * count * geman_mcclure_weight(residual.square(), term.bound**2)
            center[np.ix_(columns, columns)] += (slope.T @ (sure[:, None] * slope)).numpy()
        elif isinstance(term, StayNearScale) and shared.size:
            slope = near.slopes(_of_scale(term, problem))
            center[np.ix_(columns, columns)] += weight * (slope.T @ slope).numpy()
    return Factor(bands, borders, shared.columns, center)


_Rows = Sequence[tuple[float, OfFrames, Tensor]]


def _residual_of(term: Term, problem: Problem) -> Callable[[Scene], Tensor]:
    def residual(scene: Scene) -> Tensor:
        found = of_frames(term, scene, problem)
        assert found is not None
        return found.residual

    return residual


def _of_floor(term: SceneFloor, problem: Problem) -> Callable[[Scene], Tensor]:
    return lambda scene: term.residuals(scene, problem)[0]


def _of_scale(term: StayNearScale, problem: Problem) -> Callable[[Scene], Tensor]:
    return lambda scene: term.residual(scene, problem)[None]


def _add_rows(band: Band, border: Tensor, joints: Tensor, rows: _Rows, p: int) -> Tensor:
    """What the residuals of single frames add; returns what they add among the shared variables."""
    corner = joints.new_zeros(border.shape[-1], border.shape[-1])
    for at in _chunks(len(joints) if rows else 0):
        slopes, shares = [], []
        for weight, found, by_shared in rows:
            sure = (weight * found.weight[p, at]).sqrt()[..., None]
            slopes.append(sure * (found.slope[p, at][..., None, :] @ _of_groups(joints[at], found.groups))[..., 0, :])
            shares.append(sure * by_shared[p, at])
        slope, share = torch.cat(slopes, 1), torch.cat(shares, 1)
        band.same[at] += (slope.mT @ slope).numpy()
        border[at] += slope.mT @ share
        corner += (share.mT @ share).sum(0)
    return corner


def _chunks(frames: int) -> list[slice]:
    """Stretches of frames, whose Jacobians are in memory together."""
    return [slice(begin, min(begin + _CHUNK, frames)) for begin in range(0, frames, _CHUNK)]


def _of_groups(joints: Tensor, groups: tuple[tuple[int, ...], ...]) -> Tensor:
    """(T, M, 3, D) of the means of groups of joints (T, J, 3, D)."""
    if all(len(group) == 1 for group in groups):
        return joints[:, [group[0] for group in groups]]
    return torch.stack([joints[:, list(group)].mean(1) for group in groups], 1)


@dataclass(frozen=True)
class _Path:
    """Residuals that are differences over time of points that are fixed to bodies.

    Attributes:
        steps: what each frame of a difference counts, in the order of time.
        points: (T, N, 3, D) of the joints and their arms (T, J, 3, D), for one person.
        weight: (P, T - order, N).
        by_shared: (P, T - order, N, 3, G).
    """

    steps: tuple[int, ...]
    points: Callable[[Tensor, Tensor, int], Tensor]
    weight: Tensor
    by_shared: Tensor

    def add(self, band: Band, border: Tensor, joints: Tensor, arms: Tensor, p: int) -> Tensor:
        """Adds them; returns what they add among the shared variables."""
        frames, weight, slope = len(joints), self.weight[p], self.by_shared[p]
        count = len(weight)
        pull = joints.new_zeros(frames, *slope.shape[1:])
        sures = []
        for apart in range(len(self.steps)):
            sure = joints.new_zeros(frames, weight.shape[1])
            for first in range(len(self.steps) - apart):
                sure[first : first + count] += self.steps[first] * self.steps[first + apart] * weight
            sures.append(sure)
        for first, step in enumerate(self.steps):
            pull[first : first + count] += step * weight[..., None, None] * slope
        for at in _chunks(frames):
            reach = slice(at.start, at.stop + len(self.steps) - 1)
            points = self.points(joints[reach], arms[reach], p)
            flat = points.flatten(1, 2)
            for apart, block in enumerate((band.same, band.next, band.after)[: len(self.steps)]):
                stop = min(at.stop, frames - apart)
                if stop > at.start:
                    span = stop - at.start
                    here = (points[:span] * sures[apart][at.start : stop, :, None, None]).flatten(1, 2)
                    block[at.start : stop] += (here.mT @ flat[apart : apart + span]).numpy()
            border[at] += flat[: at.stop - at.start].mT @ pull[at].flatten(1, 2)
        return torch.einsum("tncg,tn,tnch->gh", slope, weight, slope)


def _path(term: Term, weight: float, scene: Scene, problem: Problem, near: Near) -> _Path | None:
    if isinstance(term, FootSkating) and scene.joints.shape[1] > 1:
        speeds, carry = term.residuals(scene, problem)
        sure = weight * carry * geman_mcclure_weight(squared_norm(speeds), term.bound**2)
        of_speed = problem.fps / (term.sigma * scene.growth)
        standing = contact_joints(problem.bodies)
        slopes = near.slopes(lambda at: term.residuals(at, problem)[0])
        return _Path((-1, 1), lambda joints, arms, p: of_speed * joints[:, standing], sure, slopes)
    if type(term) is Smoothness and scene.joints.shape[1] > 2:
        found, alive = term.residuals(term.points(scene, problem), problem)
        slopes = near.slopes(lambda at: term.residuals(term.points(at, problem), problem)[0])
        unit, growth, free = problem.fps**2 / term.acceleration, growth_of(scene, problem).flatten(), scene.free

        def points(joints: Tensor, arms: Tensor, p: int) -> Tensor:
            of_joints, of_arms = (value.index_select(1, free) for value in (joints / growth[p], arms))
            return unit * torch.cat([of_joints, of_joints + term.arm * of_arms], 1)

        return _Path((1, -2, 1), points, weight * term.weights(found, alive, problem.fps), slopes)
    return None


def _corners(term: Term, weight: float, scene: Scene, problem: Problem, near: Near) -> list[tuple[Tensor, Tensor]]:
    """Of residuals that look at shared variables alone, for each person, weights (P, ...) and slopes (P, ..., G)."""
    if isinstance(term, MultiPersonScale) and scene.joints.shape[1] > 2:
        found, alive = term.residuals(term.points(scene, problem), problem)
        sure = (weight * term.weights(found, alive, problem.fps))[..., None].expand_as(found)
        return [(sure, near.slopes(lambda at: term.residuals(term.points(at, problem), problem)[0]))]
    if isinstance(term, ShapePrior):
        slopes = near.slopes(lambda at: term.residuals(at, problem))
        return [(weight * problem.visible.sum(1)[:, None].expand(slopes.shape[:-1]), slopes)]
    if isinstance(term, DepthConsistency):
        slopes = near.slopes(lambda at: term.biases(at, problem)[0][:, None])
        return [(weight * term.biases(scene, problem)[1][:, None], slopes)]
    return []


def _turns(terms: Sequence[tuple[Term, float]], scene: Scene, problem: Problem) -> tuple[Tensor, Tensor]:
    """What turns of the free joints weigh by themselves (P, T, F), and changes of them from frame to frame (P, T - 1, F)."""
    free = scene.free
    place = scene.turn.new_zeros(*scene.turn.shape[:2], len(free))
    change = torch.zeros_like(place[:, 1:])
    both = problem.visible[:, 1:] & problem.visible[:, :-1]
    for term, weight in terms:
        if isinstance(term, StayNearPose):
            place += weight / term.bias_rad**2 * problem.visible[..., None]
            change += weight / term.variance_of_change(problem)[free] * both[..., None]
        elif isinstance(term, PosePrior):
            place[..., 1:] += weight / term.sigma**2 * problem.alive[..., None]
    return place, change


def _add_turns(band: Band, turns: tuple[Tensor, Tensor], p: int) -> None:
    place, change = (value[p].repeat_interleave(3, -1).numpy() for value in turns)
    same = place.copy()
    same[1:] += change
    same[:-1] += change
    at = np.arange(3, band.same.shape[1])
    band.same[:, at, at] += same
    band.next[:-1, at, at] -= change
