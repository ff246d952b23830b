"""Patches of a still scene: a depth map in small planes, which average its noise away and can be compared between frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_priors.body.pinhole import pixel_centres, unproject

_ACROSS = 24  # patches across the image's width
_NEAR_MEDIAN, _LEAST = 0.1, 0.4  # relative disparities that belong to a patch, and the share of its cells that must
_FLAT = 0.04  # relative standard deviation beyond which a patch is no plane


@dataclass(frozen=True)
class Patches:
    """The planes of one depth map, each over a block of its cells.

    Attributes:
        plane: (H, W, 3) m with m . x = 1 on the plane, in the axes and the unit of the frame's camera; nan where there is none.
        points: (N, 3) the middles of those that there are, on their planes.
        normals: (N, 3) unit vectors.
    """

    plane: np.ndarray
    points: np.ndarray
    normals: np.ndarray

    def through(self, focal: float) -> Patches:
        """The same map seen through a focal length that is so many times as long."""
        wider = np.array([focal, focal, 1.0])
        plane, normals = self.plane * wider, self.normals * wider
        return Patches(plane, self.points / wider, normals / np.linalg.norm(normals, axis=1, keepdims=True))

    def at(self, pixels: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """(N, 3) the planes under pixels (N, 2), nan outside."""
        shape = self.plane.shape[:2]
        cell = np.floor(np.nan_to_num(pixels, nan=-1.0) * [shape[1], shape[0]] / np.array(image_size)).astype(int)
        inside = (cell >= 0).all(1) & (cell < [shape[1], shape[0]]).all(1)
        found = np.full((len(pixels), 3), np.nan)
        found[inside] = self.plane[cell[inside, 1], cell[inside, 0]]
        return found


def patches(depth: np.ndarray, still: np.ndarray, intrinsics: np.ndarray, image_size: tuple[int, int]) -> Patches:
    """Planes by least squares in disparity, in which they are linear over the image.

    Args:
        depth: (h, w), nan where there is none.
        still: (h, w) bool, where nobody is.
        intrinsics: (3, 3).
        image_size: width and height in pixels.
    """
    side = max(2, depth.shape[1] // _ACROSS)
    rows, columns = depth.shape[0] // side, depth.shape[1] // side
    if not rows or not columns:
        return Patches(np.full((1, 1, 3), np.nan), np.zeros((0, 3)), np.zeros((0, 3)))
    _, _, centres = pixel_centres(depth.shape, image_size)
    rays = unproject(centres, np.ones(len(centres)), intrinsics).reshape(*depth.shape, 3)

    def blocks(values: np.ndarray) -> np.ndarray:
        cut = values[: rows * side, : columns * side].reshape(rows, side, columns, side, -1)
        return np.moveaxis(cut, 2, 1).reshape(rows * columns, side * side, -1)

    seen = still & np.isfinite(depth)
    disparity = blocks(np.where(seen, 1 / np.where(seen, depth, 1), np.nan))[..., 0]
    use = np.isfinite(disparity).mean(1) >= _LEAST
    middle = np.full(len(disparity), np.nan)
    middle[use] = np.nanmedian(disparity[use], 1)
    with np.errstate(invalid="ignore"):
        inside = np.abs(disparity / middle[:, None] - 1) < _NEAR_MEDIAN
    use &= inside.mean(1) >= _LEAST
    of, weight, seen_at = blocks(rays)[use], inside[use].astype(float), np.nan_to_num(disparity[use])
    plane = np.full((rows * columns, 3), np.nan)
    points, normals = np.zeros((0, 3)), np.zeros((0, 3))
    if use.any():
        normal = np.einsum("bk,bki,bkj->bij", weight, of, of)
        solvable = np.linalg.cond(normal) < 1e10
        normal[~solvable] = np.eye(3)
        found = np.linalg.solve(normal, np.einsum("bk,bki,bk->bi", weight, of, seen_at)[..., None])[..., 0]
        off = np.einsum("bki,bi->bk", of, found) - seen_at
        spread = np.sqrt((weight * off**2).sum(1) / weight.sum(1)) / middle[use]
        flat = solvable & (spread < _FLAT)
        plane[np.flatnonzero(use)[flat]] = found[flat]
        ray = (np.einsum("bk,bki->bi", weight, of) / weight.sum(1)[:, None])[flat]
        points = ray / np.maximum(np.einsum("bi,bi->b", ray, found[flat]), 1e-9)[:, None]
        normals = found[flat] / np.linalg.norm(found[flat], axis=1)[:, None]
    return Patches(plane.reshape(rows, columns, 3), points, normals)
