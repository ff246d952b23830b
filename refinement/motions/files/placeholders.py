"""Rows that tools write where they saw nobody: a body at rest, always in the same place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_priors.body.interpolation import runs
from pose_priors.configs.base import listed
from pose_priors.refinement.motions.files.layouts import FoundLayout, rows_of
from pose_priors.refinement.motions.motion import angles, quat_of

_SEEN = 0.5  # of a number that says how surely somebody was seen
_BESIDE = 4  # steps of a person
_TIMES, _LEAST = 2.0, 0.3  # the largest of these, and radians, by which some joint jumps to a placeholder and away from it
_ABSENT = "frames hold a placeholder, a body at rest in always the same place, and are taken as missing"
_POSED = "frames hold a body at rest where the root and the path are on their way from the frame before to the one behind: taken as a pose"


@dataclass(frozen=True)
class AtRest:
    """Frames of somebody that hold a body at rest which they jump to and away from.

    Attributes:
        absent: (T,) bool, those of placeholders.
        posed: (T,) bool, those of a pose, as far as can be told.
    """

    absent: np.ndarray
    posed: np.ndarray


def absent_frames(
    arrays: dict[str, np.ndarray], layout: FoundLayout, person: int, pose: np.ndarray, points: np.ndarray, known: np.ndarray
) -> AtRest:
    """Frames on which nobody was seen: as the file's marks say, which may be numbers from 0 to 1, or as `placeholders` does."""
    nobody = np.zeros(len(known), dtype=bool)
    if layout.seen is not None:
        nobody = ~(rows_of(arrays[layout.seen], layout, person)[:, 0] > _SEEN)
    found = placeholders(pose, points, known & ~nobody)
    return AtRest(nobody | found.absent, found.posed)


def placeholders(pose: np.ndarray, points: np.ndarray, known: np.ndarray) -> AtRest:
    """Known frames that hold no pose: no joint of the body is turned at all, root and place are the same on all frames of this kind, and
    the person jumps there and away. They may be zeros, or what another change of axes has made of them; at the ends of a clip zeros alone
    are meant, since clips may begin with a body at rest that somebody has placed. Other than zeros it is a pose if root and place are on
    the way from the frame before to the one behind, by steps that the person makes: no tool knows that way.

    Who passes through such a pose, or moves in it, is somebody.

    Args:
        pose: (T, 22, 3) rotation vectors; points: (T, 3) places, in any axes and unit; known: (T,) bool.
    """
    rest = known & ~pose[:, 1:].any((1, 2))
    row = np.concatenate([pose[:, 0], points], 1)
    zeros = rest & ~row.any(1)
    absent, posed = np.zeros((2, len(known)), dtype=bool)
    if not rest.any():
        return AtRest(absent, posed)
    at = np.flatnonzero(known)
    quat = quat_of(pose[at])
    if zeros.any():
        absent[at] = _jumped_to(_Steps(zeros[at], at, quat), at_ends=True)
    kind = rest & ~zeros
    if kind.any():
        _, of, times = np.unique(row[kind], axis=0, return_inverse=True, return_counts=True)
        kind[kind] = of.reshape(-1) == times.argmax()  # a clip may begin with a real one, in a place of its own
        steps = _Steps(kind[at], at, quat)
        jumped, goes_on = _jumped_to(steps, at_ends=False), np.zeros(len(at), dtype=bool)
        if (points[at] != points[at[0]]).any():  # without a path nothing tells who is on their way
            goes_on = _on_the_way(steps, points[at])
        absent[at] |= jumped & ~goes_on
        posed[at] = jumped & goes_on
    return AtRest(absent, posed)


def told_of(people: list[AtRest]) -> list[str]:
    """Lines on what frames of people were taken to be."""
    lines = []
    for told, marked in ((_ABSENT, [person.absent for person in people]), (_POSED, [person.posed for person in people])):
        shown = [
            f"{listed([f'{begin} to {end - 1}' if end - begin > 1 else f'{begin}' for begin, end in runs(frames)])} of person {person}"
            for person, frames in enumerate(marked)
            if frames.any()
        ]
        if shown:
            lines.append(f"{told}: {'; '.join(shown)}")
    return lines


class _Steps:
    """Steps of a person between known frames.

    Attributes:
        kind: (N,) bool, frames of a kind.
        quat: (N, 22, 4).
        own: (M,) the frames from which a step goes to the next one that is not of the kind: that follows it, or, if there is no such step
            in the clip, as where every other frame is of the kind, that comes after any others.
        onto: (M,) the frames to which they go.
    """

    def __init__(self, kind: np.ndarray, at: np.ndarray, quat: np.ndarray) -> None:
        self.kind, self.quat = kind, quat
        others = np.flatnonzero(~kind)
        follow = np.diff(at[others]) == 1
        chosen = follow if follow.any() else np.ones_like(follow)
        self.own, self.onto = others[:-1][chosen], others[1:][chosen]

    def around(self, begin: int, end: int) -> np.ndarray:
        """Indices of own steps, those nearest to a stretch of the kind on both sides."""
        last, first = np.searchsorted(self.own, (begin, end))
        return np.concatenate([np.arange(max(last - _BESIDE, 0), last), np.arange(first, min(first + _BESIDE, len(self.own)))])


def _jumped_to(steps: _Steps, *, at_ends: bool) -> np.ndarray:
    """(N,) bool, frames of the kind that somebody jumps to and away from, by more than by the steps of theirs that are nearest.

    Args:
        at_ends: whether at an end of the clip a jump on one side is enough.
    """
    found = np.zeros(len(steps.kind), dtype=bool)
    quat = steps.quat
    step, own = angles(quat[1:], quat[:-1]).max(1), angles(quat[steps.onto], quat[steps.own]).max(1)
    for begin, end in runs(steps.kind):
        sides = step[[side for side in (begin - 1, end - 1) if 0 <= side < len(step)]]
        around = own[steps.around(begin, end)]
        found[begin:end] = len(around) > 0 and (len(sides) == 2 or at_ends) and sides.min() > max(_LEAST, _TIMES * around.max())
    return found


def _on_the_way(steps: _Steps, points: np.ndarray) -> np.ndarray:
    """(N,) bool, frames of the kind whose root and place are no detour between the frames beside them, but for steps of the person."""
    found = np.zeros(len(steps.kind), dtype=bool)
    root = steps.quat[:, 0]
    for begin, end in runs(steps.kind):
        around = steps.around(begin, end)
        if begin == 0 or end == len(found) or not len(around):
            continue
        ways = [(begin - 1, begin), (begin, end), (begin - 1, end)]
        moved, turned = (
            [float(np.linalg.norm(points[b] - points[a])) for a, b in ways],
            [float(angles(root[a], root[b])) for a, b in ways],
        )
        step = np.linalg.norm(points[steps.onto[around]] - points[steps.own[around]], axis=-1).max()
        turn = angles(root[steps.onto[around]], root[steps.own[around]]).max()
        found[begin:end] = sum(moved[:2]) <= moved[2] + _TIMES * step and sum(turned[:2]) <= turned[2] + max(_LEAST, _TIMES * turn)
    return found
