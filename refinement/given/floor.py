"""Where the floor is: from the people who touch it and from the points of the scene around them."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from pose_priors.refinement.given.planes import level_plane, median_plane, ransac_plane
from pose_priors.refinement.given.problem import FloorMethod, Problem
from pose_priors.refinement.given.upright import find_up

_CAMERA_UP = np.array([0.0, -1.0, 0.0])
_MAX_POINTS = 4096  # of a scene's floor in a problem

_Points = TypeVar("_Points", np.ndarray, Tensor)


def soles(joints: np.ndarray, heights: np.ndarray, up: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(N, 3) where the lowest point of each person is on each seen frame: the sole of a foot, or the back of those who lie.

    Args:
        joints: (P, T, J, 3) in the world.
        heights: (P, J) of joints above the sole, or inside the skin (`skin_depths`); nan for those that never carry.
    """
    carriers = np.isfinite(heights).all(0)
    feet = joints[:, :, carriers] - heights[:, None, carriers, None] * up
    lowest = (feet @ up).argmin(-1)
    at_lowest: np.ndarray = np.take_along_axis(feet, lowest[..., None, None], 2)[:, :, 0][seen]
    return at_lowest


def skin_depths(heights: np.ndarray, thickness: np.ndarray) -> np.ndarray:
    """(P, J) metres from each joint down to where the body ends: its height above the sole, elsewhere the body's thickness, or 0."""
    return np.where(np.isfinite(heights), heights, np.nan_to_num(thickness))


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

    Where no floor was given, it is level by people and cameras, at the median height of what is lowest of the people; where these
    contradict each other, the floor is none that anything is held to.
    """
    seen, start, bodies = problem.observations, problem.start, problem.bodies
    plane, known, told = start.ground_plane, problem.floor_known, problem.warnings
    if not torch.isfinite(plane).all():
        joints, heights, thickness, visible, w2c = (
            value.cpu().numpy() for value in (start.joints(bodies), bodies.height, bodies.thickness, problem.visible, problem.cameras.w2c)
        )
        skin = skin_depths(heights, thickness)
        found = find_up(joints, skin, visible, w2c, [], None)
        plane = plane.new_tensor(level_plane(soles(joints, skin, found.up, found.on_floor), found.up))
        known, told = known and found.known, (*told, *found.doubts)
    return replace(
        problem,
        observations=replace(seen, floor_points=thinned(seen.floor_points)),
        start=replace(start, ground_plane=plane),
        floor_known=known,
        warnings=told,
    )
