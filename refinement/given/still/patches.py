"""Patches of a still scene: a depth map in small planes, which average its noise away and can be compared between frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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
    seen = still & np.isfinite(depth)
    disparity = _blocks(np.where(seen, 1 / np.where(seen, depth, 1), np.inf), side)  # what is not seen is sorted to the end
    count = np.isfinite(disparity).sum(1)
    use = count >= max(1, _LEAST * side**2)
    middle = np.full(len(disparity), np.nan)
    middle[use] = _median(disparity[use], count[use])
    inside = np.abs(disparity / middle[:, None] - 1) < _NEAR_MEDIAN
    use &= inside.mean(1) >= _LEAST
    of, weight = _rays(depth.shape, image_size, intrinsics.tobytes(), side)[use], inside[use].astype(float)
    seen_at = np.where(inside, disparity, 0)[use]
    plane = np.full((rows * columns, 3), np.nan)
    points, normals = np.zeros((0, 3)), np.zeros((0, 3))
    if use.any():
        weighed = (weight[..., None] * of).swapaxes(1, 2)
        normal = weighed @ of
        least, _, most = np.linalg.eigvalsh(normal).T
        solvable = most < 1e10 * least
        normal[~solvable] = np.eye(3)
        found = np.linalg.solve(normal, weighed @ seen_at[..., None])[..., 0]
        off = (of @ found[..., None])[..., 0] - seen_at
        spread = np.sqrt((weight * off**2).sum(1) / weight.sum(1)) / middle[use]
        flat = solvable & (spread < _FLAT)
        plane[np.flatnonzero(use)[flat]] = found[flat]
        ray = (weighed.sum(2) / weight.sum(1)[:, None])[flat]
        points = ray / np.maximum(np.einsum("bi,bi->b", ray, found[flat]), 1e-9)[:, None]
        normals = found[flat] / np.linalg.norm(found[flat], axis=1)[:, None]
    return Patches(plane.reshape(rows, columns, 3), points, normals)


def _blocks(values: np.ndarray, side: int) -> np.ndarray:
    """(B, side^2, ...) the cells of each square of a map (h, w, ...), in which what does not fill one at its end is left out."""
    rows, columns = values.shape[0] // side, values.shape[1] // side
    cut = values[: rows * side, : columns * side].reshape(rows, side, columns, side, *values.shape[2:])
    return np.moveaxis(cut, 2, 1).reshape(rows * columns, side * side, *values.shape[2:])


@lru_cache(maxsize=1)  # the cameras of a clip are mostly one
def _rays(shape: tuple[int, int], image_size: tuple[int, int], intrinsics: bytes, side: int) -> np.ndarray:
    """(B, side^2, 3) where the cells of each square look, through intrinsics (3, 3)."""
    _, _, centres = pixel_centres(shape, image_size)
    rays = unproject(centres, np.ones(len(centres)), np.frombuffer(intrinsics).reshape(3, 3))
    return _blocks(rays.reshape(*shape, 3), side)


def _median(values: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(B,) of the first `count` (B,) of values (B, K) in their order."""
    ordered, at = np.sort(values, 1), np.arange(len(values))
    return np.asarray((ordered[at, (count - 1) // 2] + ordered[at, count // 2]) / 2)
