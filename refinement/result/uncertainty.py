"""How far each joint may be from where it was put: the curvature of the evidence at the solution, turned into millimetres.

A Gauss-Newton approximation in the pelvis' place and the turns of the joints, person by person (the Laplace approximation of MacKay, "A
Practical Bayesian Framework for Backpropagation Networks", Neural Computation 4, 1992): what keypoints, depth maps, feet that stand and the
inertia of bodies say, each in units of its own noise, and stage 3's own error, which changes slowly and therefore does not average out from
frame to frame. Since nothing reaches further than two frames, the matrix is block tridiagonal in pairs of frames, and the blocks of its
inverse that are needed follow by one pass forth and one back (Takahashi's equations). What all frames share, the error of the scale and of
a person's size, is added along the ray.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

from pose_priors.configs.threads.cores import side_by_side
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.result.evidence import Evidence, evidence_of
from pose_priors.refinement.result.quality import LEVELS_M
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.scene import Scene

# Widths. Of stage 3's slow error, of its place as shares of the distance (along the ray, across), seconds over which it changes; on frames
# on which nobody is seen, radians and metres that a person may stray.
_LEAST_BIAS, _BIAS_RAD, _ALONG, _ACROSS, _SLOW_S = 0.006, 6.0, 2.5, 1.0, 0.3
_HIDDEN_RAD, _HIDDEN_M = 0.4, 0.6
_ACCELERATION, _HIDDEN_ACCELERATION = 2.0, 12.0  # m/s^2, beside what the joint does; where nobody sees it, that is nothing to go by
_STANDS_M = 0.01  # by how much a foot that stands moves in a frame of 1/30 s, and how exactly its height is known
# Of the distance: what is wrong on all frames alike, of the scale and of sizes; and where one size tells the scale, not the mean of two.
_SHARED, _ALONE = 0.0045, 0.0064
_SIZE, _BIAS, _DRIFT = 0.02, 0.025, 0.05  # what sizes, depths and the scale over time are off by where nothing is wrong
_FLOORLESS = float(np.sqrt(_ALONE**2 - _SHARED**2))  # more of it where one plane is no floor, and therefore a witness less
_HALF = 0.5  # of a doubt is an error, and the rest has been made good
_SHORT = 300  # frames up to which several people are looked at at a time; each takes half a megabyte a frame
_FINGER_RAD = 0.2  # by which fingers, which are not followed one by one, are turned wrongly


@dataclass(frozen=True)
class _Banded:
    """A symmetric matrix of blocks (n, D, D): on the diagonal, one and two frames beside it."""

    same: np.ndarray
    next: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, frames: int, size: int) -> _Banded:
        return cls(*(np.zeros((frames, size, size)) for _ in range(3)))


def joint_sigmas(module: RefinementModule, scene: Scene, contacts: np.ndarray, doubts: np.ndarray) -> np.ndarray:
    """(P, T, J) metres, the root mean square distance at which the true joint is to be expected; 0 outside a person's life.

    Args:
        module: done. scene: as it stands.
        contacts: (P, T, F) in [0, 1].
        doubts: (P,) shares of the distance by which a person may be off besides, by what `quality` found.
    """
    problem = module.problem
    out = np.zeros(tuple(scene.joints.shape[:3]))
    common = _SHARED if int(problem.visible.any(1).sum()) > 1 else _ALONE

    def of_person(p: int) -> None:
        rows = np.flatnonzero(problem.alive[p].cpu().numpy())
        if not len(rows):
            return
        seen = evidence_of(problem, scene, contacts, module.noise, p, rows)
        local = _local(_information(problem, seen, max(module.noise.bias, _LEAST_BIAS)), seen)
        shared = np.hypot(common, doubts[p]) * seen.distance
        out[p, rows, : seen.joints.shape[1]] = np.sqrt(local + shared**2)
        _fingers(out[p], scene.joints[p].detach().cpu().double().numpy(), problem.bodies.parents, rows, seen.joints.shape[1])

    side_by_side(of_person, range(len(out)), None if out.shape[1] <= _SHORT else 1)
    return out


def _fingers(sigma: np.ndarray, joints: np.ndarray, parents: tuple[int, ...], rows: np.ndarray, known: int) -> None:
    """Joints beyond the body: as their parents, and by how far they stand from those."""
    for joint in range(known, len(parents)):
        above = parents[joint]
        away = np.linalg.norm(joints[rows, joint] - joints[rows, above], axis=-1)
        sigma[rows, joint] = np.hypot(sigma[rows, above], _FINGER_RAD * away)


def distance_doubts(quality: Mapping[str, Any], people: Sequence[int]) -> np.ndarray:
    """(P,) shares of the distance by which people may be off, by what `quality` has found against sizes, depths, the scale over time and a
    floor of one plane."""
    drift = _HALF * _beyond(quality["scale_drift"], _DRIFT)

    def doubt(found: Mapping[str, float]) -> float:
        floor = _FLOORLESS * (found["standing_levels"] > LEVELS_M)
        return float(np.linalg.norm([drift, _beyond(found["size_change"], _SIZE), _HALF * _beyond(found["depth_bias"], _BIAS), floor]))

    return np.array([doubt(quality["people"][str(person)]) for person in people])


def _beyond(value: float, usual: float) -> float:
    """How much of a finding is more than scenes without a fault have; none where there is no finding."""
    return max(abs(value) - usual, 0.0) if np.isfinite(value) else 0.0


def _information(problem: Problem, seen: Evidence, bias: float) -> _Banded:
    """The Gauss-Newton matrix of one person."""
    frames, _, size = seen.jacobian.shape[0], seen.jacobian.shape[1], seen.jacobian.shape[-1]
    found = _Banded.of(frames, size)
    found.same[:] += np.einsum("tri,trj->tij", seen.rows, seen.rows)
    _add_slow_error(found, problem, seen, bias)
    _add_inertia(found, seen, problem.fps)
    _add_standing(found, seen, problem.fps)
    return found


def _add_slow_error(found: _Banded, problem: Problem, seen: Evidence, bias: float) -> None:
    """Stage 3's error as a process of first order: each frame's is that of the one before but for a little."""
    frames, size = found.same.shape[:2]
    keeps = np.exp(-1 / (_SLOW_S * problem.fps))
    width = np.full((frames, size), _BIAS_RAD * bias)
    width[~seen.visible] = _HIDDEN_RAD
    cov = np.zeros((frames, size, size))
    cov[:, np.arange(size), np.arange(size)] = width**2
    along = seen.rays[:, :, None] * seen.rays[:, None]
    far = seen.distance.mean(1)[:, None, None]
    place = (_ACROSS * bias * far) ** 2 * (np.eye(3) - along) + (_ALONG * bias * far) ** 2 * along
    cov[:, :3, :3] = np.where(seen.visible[:, None, None], place, _HIDDEN_M**2 * np.eye(3))
    inverse = np.linalg.inv(cov)
    found.same[0] += inverse[0]
    step = inverse[1:] / (1 - keeps**2)
    found.same[1:] += step
    found.same[:-1] += keeps**2 * step
    found.next[:-1] -= keeps * step


def _add_inertia(found: _Banded, seen: Evidence, fps: float) -> None:
    """Joints accelerate by about as much as they do at the solution."""
    if len(seen.joints) < 3:
        return
    change = np.linalg.norm(np.diff(seen.joints, 2, axis=0), axis=-1) * fps**2
    usual = np.where(seen.visible[1:-1], _ACCELERATION, _HIDDEN_ACCELERATION)[:, None]
    sure = (fps**2 / np.hypot(usual, change)).repeat(3, 1)[..., None]
    before, at, after = (sure * seen.jacobian[k : len(seen.joints) - 2 + k] * factor for k, factor in enumerate((1, -2, 1)))
    for k, one in enumerate((before, at, after)):
        found.same[k : len(seen.joints) - 2 + k] += _product(one, one)
    found.next[: len(seen.joints) - 2] += _product(before, at)
    found.next[1 : len(seen.joints) - 1] += _product(at, after)
    found.after[: len(seen.joints) - 2] += _product(before, after)


def _add_standing(found: _Banded, seen: Evidence, fps: float) -> None:
    """Feet that stand stay where they are, and are as high as the floor."""
    if not len(seen.feet):
        return
    feet = seen.jacobian.reshape(len(seen.joints), -1, 3, found.same.shape[-1])[:, seen.feet]
    height = np.einsum("tfid,i->tfd", feet, seen.up) * (seen.stands / _STANDS_M)[..., None]
    found.same[:] += _product(height, height)
    if len(feet) < 2:
        return
    both = np.minimum(seen.stands[1:], seen.stands[:-1])[..., None, None] * fps / (30 * _STANDS_M)
    here, there = ((both * part).reshape(len(both), -1, found.same.shape[-1]) for part in (feet[:-1], feet[1:]))
    found.same[:-1] += _product(here, here)
    found.same[1:] += _product(there, there)
    found.next[:-1] -= _product(here, there)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, D, D) of rows (n, R, D)."""
    out: np.ndarray = a.transpose(0, 2, 1) @ b
    return out


def _local(information: _Banded, seen: Evidence) -> np.ndarray:
    """(n, J) square metres: the trace of each joint's covariance."""
    cov = _blocks_of_inverse(information)
    along = seen.jacobian @ cov
    return np.asarray((along * seen.jacobian).sum(-1).reshape(len(cov), -1, 3).sum(-1))


def _blocks_of_inverse(banded: _Banded) -> np.ndarray:
    """(n, D, D) the diagonal blocks of the inverse, by pairs of frames."""
    frames, size = banded.same.shape[:2]
    pairs = (frames + 1) // 2
    same = np.tile(np.eye(2 * size), (pairs, 1, 1))
    beside = np.zeros((max(pairs - 1, 0), 2 * size, 2 * size))
    first, second = slice(0, size), slice(size, 2 * size)
    for k in range(pairs):
        t = 2 * k
        same[k, first, first] = banded.same[t]
        if t + 1 < frames:
            same[k, second, second] = banded.same[t + 1]
            same[k, first, second], same[k, second, first] = banded.next[t], banded.next[t].T
        if t + 2 < frames:
            beside[k, first, first] = banded.after[t]
            beside[k, second, first] = banded.next[t + 1]
        if t + 3 < frames:
            beside[k, second, second] = banded.after[t + 1]
    inverse = np.empty_like(same)
    inverse[0] = _inverse(same[0])
    for k in range(1, pairs):
        inverse[k] = _inverse(same[k] - beside[k - 1].T @ inverse[k - 1] @ beside[k - 1])
    for k in range(pairs - 2, -1, -1):
        gain = inverse[k] @ beside[k]
        inverse[k] = inverse[k] + gain @ inverse[k + 1] @ gain.T
    return np.stack([inverse[t // 2][(second if t % 2 else first), (second if t % 2 else first)] for t in range(frames)])


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Of a symmetric positive matrix, by half the arithmetic that others take."""
    root, lost = dpotrf(matrix, lower=1, clean=1)
    if lost:  # to rounding
        return np.asarray(np.linalg.inv(matrix))
    half: np.ndarray = dpotri(root, lower=1, overwrite_c=1)[0].T
    whole: np.ndarray = half + half.T
    whole[np.diag_indices_from(whole)] /= 2
    return whole
