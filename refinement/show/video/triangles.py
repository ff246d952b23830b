"""Draws meshes as a camera sees them, shaded, the nearer before the farther: each pixel whose centre a triangle covers."""

from __future__ import annotations

import numpy as np

from pose_priors.body.pinhole import to_pixels
from pose_priors.refinement.show.video.painter import NEAREST_M, Painter, lit


def draw_mesh(painter: Painter, vertices: np.ndarray, normals: np.ndarray, faces: np.ndarray, owner: int) -> None:
    """Draws a mesh that is seen from outside.

    Args:
        vertices: (V, 3) metres, in the camera's axes (x right, y down, z forward); normals: (V, 3) unit, outwards.
        faces: (F, 3), counter-clockwise from outside.
        owner: whose it is, as in `Painter.draw`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = to_pixels(vertices[:, :2] / vertices[:, 2:], painter.intrinsics)
    shown = (vertices[faces, 2] > NEAREST_M).all(1)
    corners = pixels[faces[shown]]  # (F, 3, 2)
    turned, faces = _twice_area(*np.moveaxis(corners, 1, 0)), faces[shown]
    # what is counter-clockwise from outside is clockwise with y down
    low = np.ceil(np.clip(corners.min(1) - 0.5, 0, None))
    high = np.floor(np.minimum(corners.max(1) - 0.5, np.array(painter.size) - 1))
    kept = (turned < 0) & (high >= low).all(1)
    corners, turned, faces, low, high = (value[kept] for value in (corners, turned, faces, low, high))
    if not len(faces):
        return
    # every pixel of the box around each triangle
    widths, counts = (high - low + 1).astype(int)[:, 0], (high - low + 1).astype(int).prod(1)
    of = np.repeat(np.arange(len(faces)), counts)
    place = np.arange(len(of)) - np.repeat(counts.cumsum() - counts, counts)
    column, row = low[of, 0].astype(int) + place % widths[of], low[of, 1].astype(int) + place // widths[of]
    centre = np.stack([column, row], 1) + 0.5
    a, b, c = np.moveaxis(corners[of], 1, 0)
    share = np.stack([_twice_area(centre, b, c), _twice_area(a, centre, c), _twice_area(a, b, centre)], 1) / turned[of][:, None]
    inside = (share >= 0).all(1)
    share, column, row, at = share[inside], column[inside], row[inside], faces[of[inside]]
    # in the picture 1 / depth is linear, and depth is not
    depth = (1 / (share / vertices[at, 2]).sum(1)).astype(np.float32)
    nearer = depth < painter.depth[row, column]
    share, column, row, at, depth = (value[nearer] for value in (share, column, row, at, depth))
    share = share / vertices[at, 2] * depth[:, None]
    shade = (lit(vertices / np.linalg.norm(vertices, axis=1, keepdims=True), normals)[at] * share).sum(1)
    # the nearest comes last, and stays
    order = np.argsort(-depth, kind="stable")
    column, row = column[order], row[order]
    painter.depth[row, column], painter.shade[row, column], painter.owner[row, column] = depth[order], shade[order], owner


def _twice_area(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    area: np.ndarray = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    return area
