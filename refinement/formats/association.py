"""Who is who on the next frame, where a tool does not say: people are followed by where they stand and by their boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FAR_M = 1.0  # people go no further from one frame to the next, or are others
_NOWHERE = 1e9  # what it costs to go on from, or to, what is not finite
_APART = 0.15  # of the cost that is the boxes': two that do not meet
_FORGOTTEN = 30  # frames after which who comes back is somebody new


@dataclass(frozen=True)
class Sighting:
    """One person on one frame.

    Attributes:
        place: (3,) metres in the camera.
        box: (4,) corners in pixels, None where the tool has none.
        mask: (h, w) bool, None where the tool has none.
    """

    place: np.ndarray
    box: np.ndarray | None = None
    mask: np.ndarray | None = None


def followed(frames: Sequence[tuple[int, Sequence[Sighting]]]) -> list[list[int]]:
    """An id, from 0, for each sighting: pairs of one frame and those before that are nearest in all (Kuhn, Naval Res. Logist. 2, 1955).

    Args:
        frames: number and sightings of each frame, in order.
    """
    from scipy.optimize import linear_sum_assignment  # brings much that every command would wait for

    last: dict[int, tuple[int, Sighting]] = {}
    ids: list[list[int]] = []
    following = 0
    for number, sightings in frames:
        known = [person for person, (seen, _) in last.items() if number - seen <= _FORGOTTEN]
        cost = np.array([[_cost(last[person][1], sighting) for sighting in sightings] for person in known]).reshape(
            len(known), len(sightings)
        )
        cost = np.nan_to_num(cost, nan=_NOWHERE, posinf=_NOWHERE)  # who is at no place goes on from nobody
        given = [-1] * len(sightings)
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            # who was not seen for a while may have gone on
            if cost[row, column] < _FAR_M + _APART and _within(last[known[row]], number, sightings[column]):
                given[column] = known[row]
        for column, sighting in enumerate(sightings):
            if given[column] < 0:
                given[column], following = following, following + 1
            last[given[column]] = number, sighting
        ids.append(given)
    return ids


def _within(before: tuple[int, Sighting], number: int, sighting: Sighting) -> bool:
    reach: float = _FAR_M * max(1, number - before[0]) ** 0.5
    return float(np.linalg.norm(before[1].place - sighting.place)) < reach


def _cost(before: Sighting, after: Sighting) -> float:
    overlap = 0.0
    if before.mask is not None and after.mask is not None and before.mask.shape == after.mask.shape:
        overlap = float((before.mask & after.mask).sum() / max((before.mask | after.mask).sum(), 1))
    elif before.box is not None and after.box is not None:
        overlap = _iou(before.box, after.box)
    return float(np.linalg.norm(before.place - after.place)) + _APART * (1 - overlap)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    inner = float(np.prod((high - low).clip(0)))
    return inner / max(float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - inner, 1e-9)
