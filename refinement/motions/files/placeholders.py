"""Rows that tools write where they saw nobody: a body at rest, always in the same place."""

from __future__ import annotations

import numpy as np

from pose_priors.body.interpolation import runs
from pose_priors.refinement.motions.files.layouts import FoundLayout, rows_of
from pose_priors.refinement.motions.motion import angles, quat_of

_SEEN = 0.5  # of a number that says how surely somebody was seen
_BESIDE = 4  # steps of a person
_TIMES, _LEAST = 2.0, 0.3  # the largest of these, and radians, by which some joint jumps to a placeholder and away from it


def absent_frames(
    arrays: dict[str, np.ndarray], layout: FoundLayout, person: int, pose: np.ndarray, points: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """(T,) bool, frames on which nobody was seen: as the file's marks say, which may be numbers from 0 to 1, or as `placeholders` does."""
    nobody = np.zeros(len(known), dtype=bool)
    if layout.seen is not None:
        nobody = ~(rows_of(arrays[layout.seen], layout, person)[:, 0] > _SEEN)
    found: np.ndarray = nobody | placeholders(pose, points, known & ~nobody)
    return found


def placeholders(pose: np.ndarray, points: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(T,) bool, known frames that hold no pose: no joint of the body is turned at all, root and place are the same on all frames of this
    kind, and the person jumps there and away. They may be zeros, or what another change of axes has made of them; at the ends of a clip
    zeros alone are meant, since clips may begin with a body at rest that somebody has placed.

    Who passes through such a pose, or keeps it for the whole clip, is somebody.

    Args:
        pose: (T, 22, 3) rotation vectors; points: (T, 3) places, in any axes and unit; known: (T,) bool.
    """
    found = np.zeros(len(known), dtype=bool)
    rest = known & ~pose[:, 1:].any((1, 2))
    row = np.concatenate([pose[:, 0], points], 1)
    if not rest.any() or rest[known].all() or np.any(row[rest] != row[rest][0]):
        return found
    at = np.flatnonzero(known)
    quat = quat_of(pose[at])
    step = angles(quat[1:], quat[:-1]).max(1)
    for begin, end in runs(rest[at]):
        sides = step[[side for side in (begin - 1, end - 1) if 0 <= side < len(step)]]
        around = np.concatenate([step[max(begin - 1 - _BESIDE, 0) : max(begin - 1, 0)], step[end : end + _BESIDE]])
        jumps = sides.min() > max(_LEAST, _TIMES * around.max(initial=0))
        if jumps and (len(sides) == 2 or not row[rest].any()):
            found[at[begin:end]] = True
    return found
