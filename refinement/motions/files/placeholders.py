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

    Who passes through such a pose, or keeps it for the whole clip, is somebody; and where nobody is seen on two frames that follow each
    other, nothing tells how fast they move.

    Args:
        pose: (T, 22, 3) rotation vectors; points: (T, 3) places, in any axes and unit; known: (T,) bool.
    """
    rest = known & ~pose[:, 1:].any((1, 2))
    row = np.concatenate([pose[:, 0], points], 1)
    zeros = rest & ~row.any(1)
    found = np.zeros(len(known), dtype=bool)
    if not rest.any() or rest[known].all():
        return found
    at = np.flatnonzero(known)
    quat = quat_of(pose[at])
    step = angles(quat[1:], quat[:-1]).max(1)
    for kind, is_zeros in ((zeros, True), (rest & ~zeros, False)):  # a clip may begin with a real one and have zeros farther on
        if kind.any() and np.all(row[kind] == row[kind][0]):
            found[at] |= _jumped_to(kind[at], step, np.diff(at) == 1, at_ends=is_zeros)
    return found


def _jumped_to(kind: np.ndarray, step: np.ndarray, follows: np.ndarray, *, at_ends: bool) -> np.ndarray:
    """(N,) bool, frames of a kind that somebody jumps to and away from, by more than by the steps of theirs that are nearest.

    Args:
        kind: (N,) bool; step: (N - 1,) radians between known frames, which may have others between them that are not, if not `follows`.
        at_ends: whether at an end of the clip a jump on one side is enough.
    """
    found = np.zeros(len(kind), dtype=bool)
    own = np.flatnonzero(~kind[1:] & ~kind[:-1] & follows)  # not those to and from other frames of the kind
    for begin, end in runs(kind):
        sides = step[[side for side in (begin - 1, end - 1) if 0 <= side < len(step)]]
        before, behind = own[own < begin][-_BESIDE:], own[own >= end][:_BESIDE]
        around = step[np.concatenate([before, behind])]
        found[begin:end] = len(around) > 0 and (len(sides) == 2 or at_ends) and sides.min() > max(_LEAST, _TIMES * around.max())
    return found
