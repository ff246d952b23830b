"""Which way is up, and where the floor is: from the people who stand on it and from the points of the scene around them."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from pose_priors.refinement.given.problem import FloorMethod, Problem

_HEAD, _FEET = 15, (10, 11)
_CAMERA_UP = np.array([0.0, -1.0, 0.0])
_TRIALS, _SCORED_ON = 200, 4000  # planes drawn, and about how many points each is scored on
_TILT = np.cos(np.radians(25))  # a floor leans no more than this from the people who stand on it
_REFITS = 5
_ROUNDS, _EXACT = 20, 1e-3
_MAX_POINTS = 4096  # of a scene's floor in a problem

_Points = TypeVar("_Points", np.ndarray, Tensor)


def up_direction(joints: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(3,) unit vector: the mean over people and frames of the direction from the feet to the head.

    Args:
        joints: (P, T, J, 3) in the world.
        seen: (P, T) bool, at least one true.
    """
    bodies = joints[:, :, _HEAD] - joints[:, :, list(_FEET)].mean(2)
    directions = bodies[seen] / np.linalg.norm(bodies[seen], axis=-1, keepdims=True)
    # people bend and lie down: a few rounds of leaving out those far from the mean
    mean: np.ndarray = directions.mean(0)
    for _ in range(_REFITS):
        near = directions @ mean >= min(_TILT, np.median(directions @ mean)) * np.linalg.norm(mean)
        mean = directions[near].mean(0) if near.any() else mean
    up: np.ndarray = mean / np.linalg.norm(mean)
    return up


def soles(joints: np.ndarray, heights: np.ndarray, up: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(N, 3) where the sole of each person's lowest foot is on each seen frame.

    Args:
        joints: (P, T, J, 3) in the world.
        heights: (P, J) of joints above the sole; nan for those that never carry.
    """
    carriers = np.isfinite(heights).all(0)
    feet = joints[:, :, carriers] - heights[:, None, carriers, None] * up
    lowest = (feet @ up).argmin(-1)
    at_lowest: np.ndarray = np.take_along_axis(feet, lowest[..., None, None], 2)[:, :, 0][seen]
    return at_lowest


def floor_candidates(points: np.ndarray, feet: np.ndarray, up: np.ndarray, band: float) -> np.ndarray:
    """Points of the scene (N, 3) within a band about the median height of the feet (M, 3).

    Height alone decides, so the feet of walls and furniture are among them; the methods that fit a plane leave them out.

    Args:
        up: (3,) unit vector.
        band: in the points' unit.
    """
    height = points @ up - np.median(feet @ up)
    near: np.ndarray = points[np.abs(height) < band]
    return near


def level_plane(feet: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(4,) the plane of that normal at the median height of the feet (N, 3)."""
    return np.array([*up, -np.median(feet @ up)])


def median_plane(points: np.ndarray, start: np.ndarray, band: float) -> np.ndarray:
    """The plane of least absolute deviations, to planes what the median is to numbers (Koenker and Bassett, Econometrica 46, 1978).

    Args:
        points: (N, 3).
        start: (4,) plane to begin with.
        band: points farther than this from the plane are no floor.
    Returns:
        (4,), `start` where fewer than three points lie in the band or the fit leans far from it.
    """
    plane = start
    for _ in range(_ROUNDS):
        away = points @ plane[:3] + plane[3]
        near, away = points[np.abs(away) < band], away[np.abs(away) < band]
        if len(near) < 3:
            return start
        weight = 1 / np.maximum(np.abs(away), _EXACT * band)  # squares so weighted sum to absolute values
        centre = weight @ near / weight.sum()
        normal = np.linalg.eigh((near - centre).T @ ((near - centre) * weight[:, None]))[1][:, 0]
        normal = normal * np.sign(normal @ start[:3])
        plane = np.array([*normal, -normal @ centre])
    return plane if plane[:3] @ start[:3] >= _TILT else start


def ransac_plane(points: np.ndarray, up: np.ndarray, threshold: float, seed: int) -> np.ndarray | None:
    """The plane that most points lie on (Fischler and Bolles, Communications of the ACM 24, 1981), refitted to its inliers.

    Args:
        points: (N, 3).
        up: (3,) unit; only planes that lean little from it are tried.
        threshold: distance from the plane within which a point is an inlier.
        seed: of the draws.
    Returns:
        (4,) unit normal along `up` and offset, or None where no plane can be drawn.
    """
    if len(points) < 3:
        return None
    rng = np.random.default_rng(seed)
    corners = points[rng.integers(0, len(points), (_TRIALS, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    normals = normals / np.maximum(lengths, 1e-12)[:, None] * np.sign(normals @ up)[:, None]
    kept = (lengths > 1e-9) & (normals @ up >= _TILT)
    if not kept.any():
        return None
    normals, offsets = normals[kept], -np.einsum("ni,ni->n", normals[kept], corners[kept, 0])
    sample = points[:: max(1, len(points) // _SCORED_ON)]
    inliers = (np.abs(sample @ normals.T + offsets) < threshold).sum(0)
    best = int(inliers.argmax())
    plane = np.array([*normals[best], offsets[best]])
    for _ in range(_REFITS):
        near = points[np.abs(points @ plane[:3] + plane[3]) < threshold]
        if len(near) < 3:
            break
        centre = near.mean(0)
        normal = np.linalg.eigh((near - centre).T @ (near - centre))[1][:, 0]
        normal = normal * np.sign(normal @ up)
        plane = np.array([*normal, -normal @ centre])
    return plane if plane[:3] @ up >= _TILT else None


def ground_plane(method: FloorMethod, feet: np.ndarray, points: np.ndarray, up: np.ndarray, threshold: float, seed: int) -> np.ndarray:
    """(4,) the floor by one of three methods.

    `ransac`: the plane that most points of the scene lie on, refitted to them. `median`: from there to the plane of least absolute
    deviations. Where the points hold no plane, both are level by `up`, at the median height of the soles; `fixed` is level by the first
    camera, at that height.

    Args:
        feet: (N, 3) soles; points: (M, 3) candidates of the floor, in the same unit. `up` as from `up_direction`,
            `threshold` and `seed` as in `ransac_plane`.
    """
    if method == "fixed":
        return level_plane(feet, _CAMERA_UP)
    found = ransac_plane(points, up, threshold, seed)
    if found is None:
        return level_plane(feet, up)
    return found if method == "ransac" else median_plane(points, found, 2 * threshold)


def thinned(points: _Points) -> _Points:
    """Every n-th of the points (N, 3) of a scene's floor: as few as tell where it is, at most 4096."""
    return points[:: max(1, -(-len(points) // _MAX_POINTS))]


def with_floor(problem: Problem) -> Problem:
    """The problem as the solver needs it: with a floor, and with no more points of the scene's floor than tell where it is.

    Where no floor was given, it is level by the people who stand on it, at the median height of their soles.
    """
    seen, start, bodies = problem.observations, problem.start, problem.bodies
    plane = start.ground_plane
    if not torch.isfinite(plane).all():
        joints, heights, visible = (value.cpu().numpy() for value in (start.joints(bodies), bodies.height, problem.visible))
        up = up_direction(joints, visible)
        plane = plane.new_tensor(level_plane(soles(joints, heights, up, visible), up))
    return replace(
        problem,
        observations=replace(seen, floor_points=thinned(seen.floor_points)),
        start=replace(start, ground_plane=plane),
    )
