"""Joints against the rays through their keypoints: what least squares under Huber's weights make of where a body is, or how large.

The distance between joint and ray is counted in metres at the joint and not in pixels: stage 3's poses are off by several times what
keypoints are, and who divides by the noisy one of two quantities finds people too far away (errors in variables).
"""

from __future__ import annotations

import numpy as np

_STEPS, _SOLVABLE = 15, 1e10
_HUBER = 0.03  # metres between joint and ray beyond which a keypoint or a joint counts as a slip


def rays_through(keypoints: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(..., K, 2) x and y, at z = 1 in the camera's axes, of the rays through keypoints (..., K, 2) of cameras (..., 3, 3) without skew."""
    focal = np.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], -1)[..., None, :]
    rays: np.ndarray = (keypoints - intrinsics[..., None, :2, 2]) / focal
    return rays


def fitted(rows: np.ndarray, distance: np.ndarray, confidence: np.ndarray, use: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The unknowns at which joints lie on their rays, by iteratively reweighted least squares (Huber, "Robust Statistics", 1981).

    Args:
        rows: (..., K, 2, N) change of each joint's distance across its ray, in metres, for a unit of each of N unknowns.
        distance: (..., K, 2) metres, where all unknowns are 0.
        confidence: (..., K), 0 where there is no keypoint.
        use: (...) bool, which are to be solved.
    Returns:
        the unknowns (..., N), 0 where they cannot be told; and (...) bool, where they can.
    """
    weight, unknowns = confidence, np.zeros((*rows.shape[:-3], rows.shape[-1]))
    for _ in range(_STEPS):
        normal = np.einsum("...k,...kci,...kcj->...ij", weight, rows, rows)
        right = -np.einsum("...k,...kci,...kc->...i", weight, rows, distance)
        use = use & (np.linalg.cond(np.where(use[..., None, None], normal, np.eye(rows.shape[-1]))) < _SOLVABLE)
        normal = np.where(use[..., None, None], normal, np.eye(rows.shape[-1]))
        unknowns = np.linalg.solve(normal, np.where(use[..., None], right, 0)[..., None])[..., 0]
        residual = np.linalg.norm(distance + np.einsum("...kci,...i->...kc", rows, unknowns), axis=-1)
        weight = confidence * _HUBER / np.maximum(residual, _HUBER)
    return unknowns, use
