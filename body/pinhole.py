"""Pinhole cameras in numpy: points into cameras, into images and back."""

from __future__ import annotations

import numpy as np


def to_camera(points: np.ndarray, w2c: np.ndarray) -> np.ndarray:
    """World points (..., N, 3) in the axes of cameras (..., 4, 4)."""
    return points @ np.swapaxes(w2c[..., :3, :3], -1, -2) + w2c[..., None, :3, 3]


def to_world(points: np.ndarray, w2c: np.ndarray) -> np.ndarray:
    """Points (..., N, 3) in the axes of cameras (..., 4, 4), in the world."""
    return (points - w2c[..., None, :3, 3]) @ w2c[..., :3, :3]


def plane_in_camera(plane: np.ndarray, w2c: np.ndarray) -> np.ndarray:
    """A plane (4,), n and d with n.x + d = 0 in the world, in the axes of a camera (4, 4)."""
    normal = w2c[:3, :3] @ plane[:3]
    return np.append(normal, plane[3] - normal @ w2c[:3, 3])


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Pixels (..., N, 2) of points (..., N, 3) in the camera's axes; nan for points that are not in front of it."""
    depth = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
    rays = np.concatenate([points[..., :2] / depth, np.ones_like(depth)], -1)
    return (rays @ np.swapaxes(intrinsics, -1, -2))[..., :2]


def unproject(pixels: np.ndarray, depth: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Points (..., N, 3) in the camera's axes at pixels (..., N, 2) with z-depth (..., N)."""
    rays = np.concatenate([pixels, np.ones_like(pixels[..., :1])], -1) @ np.swapaxes(np.linalg.inv(intrinsics), -1, -2)
    return rays * depth[..., None]


def pixel_centres(shape: tuple[int, int], image_size: tuple[int, int], step: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns (N,) of every `step`-th cell of a grid over the image, and their centres (N, 2) in full-resolution pixels."""
    rows, columns = (g.ravel() for g in np.meshgrid(*(np.arange(step // 2, n, step) for n in shape), indexing="ij"))
    centres = np.stack([(columns + 0.5) * image_size[0] / shape[1], (rows + 0.5) * image_size[1] / shape[0]], -1)
    return rows, columns, centres
