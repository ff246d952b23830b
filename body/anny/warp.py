"""Smooth displacements of space that bring some places where they ought to be."""

from __future__ import annotations

import numpy as np


def warped(points: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Points (V, 3) moved with places (K, 3) that go from `before` to `after`, and smoothly between these.

    A polyharmonic spline in space with the distance as its kernel and an affine part (Duchon, "Splines minimizing rotation-invariant
    semi-norms in Sobolev spaces", 1977): of the functions that do it, the one with the least bending.

    Args:
        before: no two of them in one place, and not all in one plane.
    """
    num = len(before)
    affine = np.concatenate([np.ones((num, 1)), before], 1)
    system = np.zeros((num + 4, num + 4))
    system[:num, :num] = np.linalg.norm(before[:, None] - before[None], axis=-1)
    system[:num, num:], system[num:, :num] = affine, affine.T
    found = np.linalg.solve(system, np.concatenate([after - before, np.zeros((4, 3))]))
    reach = np.linalg.norm(points[:, None] - before[None], axis=-1)
    moved: np.ndarray = points + reach @ found[:num] + np.concatenate([np.ones((len(points), 1)), points], 1) @ found[num:]
    return moved
