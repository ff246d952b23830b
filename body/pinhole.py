"""Pinhole cameras: points into cameras, into images and back. OpenCV axes (x right, y down, z forward), pixels of the full image.

What says `Array` takes numpy arrays or torch tensors, and gives gradients of the latter.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)


def intrinsic_matrices(parameters: np.ndarray) -> np.ndarray:
    """Intrinsics (..., 3, 3) of fx, fy, cx, cy (..., 4), pixels."""
    found = np.zeros((*parameters.shape[:-1], 3, 3))
    found[..., 0, 0], found[..., 1, 1], found[..., 0, 2], found[..., 1, 2] = np.moveaxis(parameters, -1, 0)
    found[..., 2, 2] = 1
    return found


def to_camera(points: Array, w2c: Array, alpha: Array | float = 1.0) -> Array:
    """World points in the axes of cameras.

    Args:
        points: (..., N, 3).
        w2c: (..., 4, 4) world to camera.
        alpha: the points' unit = alpha * the unit of the cameras' translations.
    Returns:
        (..., N, 3) in the points' unit.
    """
    turned: Array = points @ w2c[..., :3, :3].swapaxes(-1, -2)
    return turned + alpha * w2c[..., None, :3, 3]


def to_world(points: Array, w2c: Array) -> Array:
    """Points (..., N, 3) in the axes of cameras (..., 4, 4), in the world."""
    world: Array = (points - w2c[..., None, :3, 3]) @ w2c[..., :3, :3]
    return world


def camera_centres(w2c: Array) -> Array:
    """Where cameras (..., 4, 4) stand in the world, (..., 3)."""
    centres: Array = -(w2c[..., :3, :3].swapaxes(-1, -2) @ w2c[..., :3, 3:])[..., 0]
    return centres


def plane_in_camera(plane: np.ndarray, w2c: np.ndarray) -> np.ndarray:
    """A plane (4,), n and d with n.x + d = 0 in the world, in the axes of a camera (4, 4)."""
    normal: np.ndarray = w2c[:3, :3] @ plane[:3]
    return np.append(normal, plane[3] - normal @ w2c[:3, 3])


def to_pixels(plane: Array, intrinsics: Array) -> Array:
    """Pixels (..., N, 2) of points (..., N, 2) on the plane one unit before cameras of intrinsics (..., 3, 3)."""
    pixels: Array = plane @ intrinsics[..., :2, :2].swapaxes(-1, -2) + intrinsics[..., None, :2, 2]
    return pixels


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Pixels (..., N, 2) of points (..., N, 3) in the camera's axes; nan for points that are not in front of it.

    Where gradients must be finite, nan must not be: see `refinement.solve.scene.project`.
    """
    depth = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
    return to_pixels(points[..., :2] / depth, intrinsics)


def unproject(pixels: np.ndarray, depth: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Points (..., N, 3) in the camera's axes at pixels (..., N, 2) with z-depth (..., N)."""
    rays: np.ndarray = np.concatenate([pixels, np.ones_like(pixels[..., :1])], -1) @ np.swapaxes(np.linalg.inv(intrinsics), -1, -2)
    points: np.ndarray = rays * depth[..., None]
    return points


def pixel_centres(shape: tuple[int, int], image_size: tuple[int, int], step: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns (N,) of every `step`-th cell of a grid over the image, as far from one edge as from the other, and their centres
    (N, 2) in full-resolution pixels."""
    rows, columns = (g.ravel() for g in np.meshgrid(*(np.arange((n - 1) % step // 2, n, step) for n in shape), indexing="ij"))
    centres = np.stack([(columns + 0.5) * image_size[0] / shape[1], (rows + 0.5) * image_size[1] / shape[0]], -1)
    return rows, columns, centres
