"""Planes in the points of a scene: level ones, those that most points lie on, those of least absolute deviations."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

_TRIALS, _SCORED_ON = 200, 4000  # planes drawn, and about how many points each is scored on
_TILT = np.cos(np.radians(25))  # a floor leans no more than this from what is known to be up
_REFITS = 5
_ROUNDS, _EXACT = 20, 1e-3
_MOST, _LEAST_SHARE = 6, 0.04  # planes that are told of one scene, and the share of its points that each holds
_PATCH, _PATCHES, _IN_PATCHES = 1.0, 400, 3000  # metres across which a plane is drawn, how many are, and of how many points


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
    best = int(_inliers(sample, normals, offsets, threshold).argmax())
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


def scene_planes(points: np.ndarray, threshold: float, seed: int) -> list[tuple[np.ndarray, float]]:
    """The planes of a scene, floors, walls and table tops alike, the one with most points first, and the share of the points on each.

    One after the other: the best of many that are drawn through three points near each other, refitted, its points taken away.

    Args:
        points: (N, 3).
        threshold: distance from a plane within which a point lies on it.
        seed: of the draws.
    Returns:
        at most six of (4,) unit normal, of either sign, and offset.
    """
    rng = np.random.default_rng(seed)
    left = points if len(points) <= _IN_PATCHES else points[rng.choice(len(points), _IN_PATCHES, replace=False)]
    count, found = len(left), list[tuple[np.ndarray, float]]()
    while len(found) < _MOST and len(left) >= max(3, _LEAST_SHARE * count):
        plane = _best_patch(left, threshold, rng)
        if plane is None:
            break
        for _ in range(_REFITS):
            near = left[np.abs(left @ plane[:3] + plane[3]) < threshold]
            if len(near) < 3:
                break
            centre = near.mean(0)
            normal = np.linalg.eigh((near - centre).T @ (near - centre))[1][:, 0]
            plane = np.array([*normal, -normal @ centre])
        on = np.abs(left @ plane[:3] + plane[3]) < threshold
        if on.sum() < max(3, _LEAST_SHARE * count):
            break
        found.append((plane, float(on.sum() / count)))
        left = left[np.abs(left @ plane[:3] + plane[3]) >= 2 * threshold]
    return found


def _best_patch(points: np.ndarray, threshold: float, rng: np.random.Generator) -> np.ndarray | None:
    """The plane through three neighbours that most points lie on."""
    tree = cKDTree(points)
    corners = []
    for seed in rng.integers(0, len(points), _PATCHES):
        near = tree.query_ball_point(points[seed], _PATCH)
        if len(near) >= 3:
            corners.append(points[[seed, *rng.choice(near, 2, replace=False)]])
    if not corners:
        return None
    at = np.stack(corners)
    normals = np.cross(at[:, 1] - at[:, 0], at[:, 2] - at[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    at, normals = at[lengths > 1e-6], normals[lengths > 1e-6] / lengths[lengths > 1e-6, None]
    if not len(at):
        return None
    offsets = -np.einsum("ni,ni->n", normals, at[:, 0])
    best = int(_inliers(points, normals, offsets, threshold).argmax())
    return np.array([*normals[best], offsets[best]])


def _inliers(points: np.ndarray, normals: np.ndarray, offsets: np.ndarray, threshold: float) -> np.ndarray:
    """(K,) how many points (N, 3) lie on each plane of normals (K, 3) and offsets (K,)."""
    away = normals @ points.T
    away += offsets[:, None]
    return np.asarray((np.abs(away, out=away) < threshold).sum(1))
