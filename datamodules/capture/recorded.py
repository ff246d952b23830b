"""What a file of motion capture says, whatever its format: where named joints are over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

END = "_end"
"""What is added to a joint's name for the end of its last bone, where the file says that."""


@dataclass(frozen=True)
class Recorded:
    """One skeleton over time.

    Attributes:
        source: the file, for messages.
        names: N joints, parents before their children; ends of bones are called as their joint with `END`.
        parents: N indices, -1 for the root.
        places: (T, N, 3) in the file's unit and axes.
        turns: (T, N, 3, 3) rotations of the joints relative to the world, from their own axes.
        fps: frames a second, None where the file does not say.
    """

    source: str
    names: tuple[str, ...]
    parents: tuple[int, ...]
    places: np.ndarray
    turns: np.ndarray
    fps: float | None


def posed(parents: tuple[int, ...], offsets: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (T, N, 3) and rotations relative to the world (T, N, 3, 3) of a tree.

    Args:
        offsets: (T, N, 3) of each joint from its parent in the parent's axes; of the root, its place.
        turns: (T, N, 3, 3) of each joint relative to its parent.
    """
    places, whole = np.zeros_like(offsets), np.zeros_like(turns)
    for joint, parent in enumerate(parents):
        if parent < 0:
            places[:, joint], whole[:, joint] = offsets[:, joint], turns[:, joint]
        else:
            places[:, joint] = places[:, parent] + np.einsum("tij,tj->ti", whole[:, parent], offsets[:, joint])
            whole[:, joint] = whole[:, parent] @ turns[:, joint]
    return places, whole


def euler(order: str, degrees: np.ndarray) -> np.ndarray:
    """(T, 3, 3) of angles (T, 3) about the body's own axes, in the order in which they are listed."""
    matrix: np.ndarray = Rotation.from_euler(order.upper(), degrees, degrees=True).as_matrix()
    return matrix
