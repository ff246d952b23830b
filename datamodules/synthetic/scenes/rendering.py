"""Depth maps and masks of bodies made of balls along their bones, in front of planes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pose_priors.body.pinhole import pixel_centres

SCENE = -1
"""What `render` says where it shows no person."""

_ALONG = np.linspace(0, 1, 5)


def render(
    joints: np.ndarray,
    radii: np.ndarray,
    parents: Sequence[int],
    planes: Sequence[np.ndarray],
    intrinsics: np.ndarray,
    image_size: tuple[int, int],
    grid: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """What one camera sees.

    Args:
        joints: (P, J, 3) metres, in the camera's axes.
        radii: (P, J) metres of the body at each joint; between joints it is as thick as its ends, linearly.
        parents: J indices, -1 for the root.
        planes: (4,) each, n and d with n.x + d = 0 in the camera's axes.
        intrinsics: (3, 3) in pixels of the full image.
        image_size: width and height in pixels.
        grid: rows and columns of the result.
    Returns:
        z-depth (h, w) in metres, inf where nothing is, and the index of the person there (h, w), `SCENE` for none.
    """
    _, _, centres = pixel_centres(grid, image_size)
    pixels = centres.reshape(*grid, 2)
    rays = np.concatenate([pixels, np.ones_like(pixels[..., :1])], -1) @ np.linalg.inv(intrinsics).T
    depth, who = np.full(grid, np.inf), np.full(grid, SCENE)
    for plane in planes:
        slope = rays @ plane[:3]
        hit = -plane[3] / np.where(np.abs(slope) > 1e-9, slope, np.nan)
        depth = np.fmin(depth, np.where(hit > 0, hit, np.inf))
    bones = [(child, parent) for child, parent in enumerate(parents) if parent >= 0]
    child, parent = (list(ends) for ends in zip(*bones, strict=True))
    cell = np.array(image_size) / grid[::-1]
    for p in range(len(joints)):
        share = _ALONG[:, None]
        balls = (joints[p, parent] * (1 - share[..., None]) + joints[p, child] * share[..., None]).reshape(-1, 3)
        thick = (radii[p, parent] * (1 - share) + radii[p, child] * share).reshape(-1)
        for centre, radius in zip(balls, thick, strict=True):
            _draw_ball(centre, radius, p, rays, intrinsics, cell, depth, who)
    return depth, who


def _draw_ball(
    centre: np.ndarray,
    radius: float,
    person: int,
    rays: np.ndarray,
    intrinsics: np.ndarray,
    cell: np.ndarray,
    depth: np.ndarray,
    who: np.ndarray,
) -> None:
    """Draws one ball where it is in front of what is drawn already. Rays meet it at about its own depth."""
    if centre[2] <= radius:
        return
    middle = (intrinsics @ (centre / centre[2]))[:2] / cell
    reach = radius / centre[2] * np.diag(intrinsics)[:2] / cell
    (left, top), (right, bottom) = (np.clip(edge, 0, depth.shape[::-1]).astype(int) for edge in (middle - reach, middle + reach + 1))
    window = slice(top, bottom), slice(left, right)
    off = rays[window][..., :2] * centre[2] - centre[:2]
    inside = radius**2 - (off**2).sum(-1)
    front = centre[2] - np.sqrt(np.maximum(inside, 0))
    nearer = (inside > 0) & (front < depth[window])
    depth[window][nearer], who[window][nearer] = front[nearer], person
