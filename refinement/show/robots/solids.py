"""Boxes, cylinders and balls as triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_AROUND, _RINGS = 24, 12


@dataclass(frozen=True)
class Solid:
    """A closed surface of triangles, in its own axes.

    Attributes:
        vertices: (V, 3) metres.
        faces: (F, 3) indices, counter-clockwise seen from outside.
    """

    vertices: np.ndarray
    faces: np.ndarray


def box(size: np.ndarray) -> Solid:
    """A box of edges (3,) about the origin."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * size
    faces = [
        [0, 1, 3],
        [0, 3, 2],
        [4, 6, 7],
        [4, 7, 5],
        [0, 4, 5],
        [0, 5, 1],
        [2, 3, 7],
        [2, 7, 6],
        [0, 2, 6],
        [0, 6, 4],
        [1, 5, 7],
        [1, 7, 3],
    ]
    return Solid(corners, np.array(faces))


def cylinder(radius: float, length: float) -> Solid:
    """A cylinder about the z axis, its middle at the origin."""
    half = length / 2
    return _lathe(np.array([[0, -half], [radius, -half], [radius, half], [0, half]]))


def sphere(radius: float) -> Solid:
    """A ball about the origin."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, _RINGS + 1)
    return _lathe(radius * np.stack([np.cos(angle), np.sin(angle)], 1))


def _lathe(outline: np.ndarray) -> Solid:
    """What an outline (N, 2) of radii and heights, from a point below to one above, turns into about the z axis."""
    turn, n = 2 * np.pi * np.arange(_AROUND) / _AROUND, _AROUND
    around = np.stack([np.cos(turn), np.sin(turn)], 1)
    rings = [np.concatenate([r * around, np.full((n, 1), z)], 1) for r, z in outline[1:-1]]
    ends = np.array([[0, 0, outline[0, 1]], [0, 0, outline[-1, 1]]])
    below, above, last = n * len(rings), n * len(rings) + 1, n * (len(rings) - 1)
    faces = []
    for i, j in zip(range(n), [*range(1, n), 0], strict=True):
        faces += [[below, j, i], [above, last + i, last + j]]
        for ring in range(0, last, n):
            faces += [[ring + i, ring + j, ring + n + j], [ring + i, ring + n + j, ring + n + i]]
    return Solid(np.concatenate([*rings, ends]), np.array(faces))
