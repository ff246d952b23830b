"""A motion without its faults, one kind after the other, each looked for in what the ones before have left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from pose_priors.body.interpolation import runs
from pose_priors.body.skeleton import MIRROR
from pose_priors.refinement.motions.faults.frozen import frozen
from pose_priors.refinement.motions.faults.jitter import jitter
from pose_priors.refinement.motions.faults.lifts import lifted
from pose_priors.refinement.motions.faults.pops import pops
from pose_priors.refinement.motions.faults.shortness import shortened
from pose_priors.refinement.motions.faults.support import Support, find_support, floating, sliding
from pose_priors.refinement.motions.faults.swaps import KINDS, LIMBS, Swaps, swapped, swaps
from pose_priors.refinement.motions.motion import NUM_JOINTS, Motion
from pose_priors.refinement.motions.repair.beside import jumps_beside, made_up, without
from pose_priors.refinement.motions.repair.edges import jumping_edges
from pose_priors.refinement.motions.repair.fill import Fill, filled
from pose_priors.refinement.motions.repair.mended import Left, Mended
from pose_priors.refinement.motions.repair.path import grounded, lengthened, lowered, unslid
from pose_priors.refinement.motions.repair.smooth import denoised
from pose_priors.refinement.motions.signals import closed, odd, widened, without_short

FAULTS = ("missing", "frozen", "swapped", "pop", "jitter", "floating", "shortened", "sliding")
"""The kinds of faults, in the order in which they are looked for and taken out."""


@dataclass(frozen=True)
class Restored:
    """What was found, and what became of it.

    Attributes:
        motion: without the faults.
        joints: fault -> (T, 22) scores, 1 where it is taken out.
        path: fault -> (T,) scores of the path.
        marked: fault -> (T,) bool, the frames that have it.
        moved: fault -> (T,) metres by which taking it out moved the joint that it moved most.
        left: fault -> why -> (T,) bool, frames that have it and stay as they are, or hold something that is no motion.
        off_floor: the motion before its path was set right by what carries the person.
    """

    motion: Motion
    joints: dict[str, np.ndarray]
    path: dict[str, np.ndarray]
    marked: dict[str, np.ndarray]
    moved: dict[str, np.ndarray]
    left: dict[str, dict[str, np.ndarray]]
    off_floor: Motion

    def mended(self, fault: str) -> np.ndarray:
        """(T,) bool, frames that taking out one fault moved, but what was made up without anything to tell it."""
        moved = self.moved[fault] > STILL_M
        for why in (BRIDGED, _AT_THE_ENDS):
            moved &= ~self.left[fault].get(why, np.zeros_like(moved))
        return moved

    def of_frames(self, fault: str) -> np.ndarray:
        """(T,) the most of one fault in each frame."""
        most: np.ndarray = np.maximum(self.joints[fault].max(1), self.path[fault])
        return most


def restore(motion: Motion, fill: Fill = filled) -> Restored:
    """Finds the faults of a motion and takes them out. Frames and joints without one keep their numbers, but that a path which was too
    short or glided goes on from where its mended part ends.

    Args:
        fill: fills what is lost, frozen or jumps; curves by default.
    """
    work = _Work(motion)
    lost = np.where(motion.known, 0.0, 1e3)
    edges = jumping_edges(motion)
    work.mend("missing", partial(_made_up, fill, edges), np.repeat(lost[:, None], NUM_JOINTS, 1), lost)
    jumps = jumps_beside(work.motion)
    copies = np.where(_as_recorded(motion.known), frozen(without(work.motion, jumps)), 0)
    work.mend("frozen", partial(_between, fill, jumps), np.repeat(copies[:, None], NUM_JOINTS, 1), copies)
    sides = swaps(work.motion)
    work.mend("swapped", lambda before, *_: Mended(_unswapped(before, sides)), *_by_joint(sides, len(motion)))
    work.mend("pop", partial(_filled, fill), *(np.maximum(*both) for both in zip(pops(work.motion), edges, strict=True)))
    work.mend("jitter", partial(_filled, denoised), *jitter(work.motion), _lasting)
    off_floor = work.motion
    doubted = widened(work.marked["missing"] | work.marked["frozen"], 2)
    for fault, of_path, repair in _PATHS:
        support = find_support(work.motion, doubted)
        scores = np.where(doubted, 0, of_path(work.motion, support))  # what was made up shows how it was made
        work.mend(fault, partial(_of_path, repair, support), np.zeros((len(motion), NUM_JOINTS)), scores, _lasting_path)
    return Restored(work.motion, work.joints, work.path, work.marked, work.moved, work.left, off_floor)


# Who stands above the floor is set on it first, since the floor tells heights best; lifts of climbers are what is left.
_PATHS = (
    ("floating", floating, grounded),
    ("floating", lifted, lowered),
    ("shortened", shortened, lengthened),
    ("sliding", sliding, unslid),
)
_Marks = tuple[np.ndarray, np.ndarray]
_Repair = Callable[[Motion, np.ndarray, np.ndarray], Mended]
_LEAST_S = {"jitter": 0.2, "floating": 0.15, "shortened": 0.15, "sliding": 0.4}
STILL_M = 1e-9
"""Metres, up to which nothing has moved."""
_LEAST_JITTERING = 3  # joints, or the path
# Of stretches that a repair does not change and says nothing of.
_UNCHANGED = {
    "jitter": "too few frames to tell noise from motion",
    "floating": "it is a jump from where the person stands",
}
_AT_THE_ENDS = "nothing tells what came before the first known frame or behind the last, which is held"
BRIDGED_S = 4.0
"""Seconds from which what fills a gap is no motion: on real clips it is hardly nearer to it than the frame beside the gap."""
BRIDGED = f"{BRIDGED_S:g} s or longer, of which the frames beside tell nothing: an interpolation stands there, no motion"
_NO_OTHERS = "no other frames tell what it should be"
_AT_THE_BEGINNING = "it repeats the first frame, and nothing tells how the person came there"


class _Work:
    """A motion while its faults are taken out, and what was found so far."""

    def __init__(self, motion: Motion) -> None:
        num = len(motion)
        self.motion = motion
        self.joints = {name: np.zeros((num, NUM_JOINTS)) for name in FAULTS}
        self.path = {name: np.zeros(num) for name in FAULTS}
        self.marked = {name: np.zeros(num, dtype=bool) for name in FAULTS}
        self.moved = {name: np.zeros(num) for name in FAULTS}
        self.left: dict[str, dict[str, np.ndarray]] = {name: {} for name in FAULTS}

    def mend(
        self,
        fault: str,
        repair: _Repair,
        joints: np.ndarray,
        path: np.ndarray,
        choose: Callable[[str, np.ndarray, np.ndarray, float], _Marks] | None = None,
    ) -> None:
        """Takes out one fault where its scores are above 1, or where `choose` says of these marks."""
        marks = joints > 1, path > 1
        if choose is not None:
            marks = choose(fault, *marks, self.motion.fps)
        self.joints[fault], self.path[fault] = np.maximum(self.joints[fault], joints), np.maximum(self.path[fault], path)
        marked = marks[0].any(1) | marks[1]
        self.marked[fault] = self.marked[fault] | marked
        if not marked.any():
            return
        before, mended = self.motion, repair(self.motion, *marks)
        self.motion = mended.motion
        moved = np.zeros(len(before))
        if self.motion is not before:
            moved = np.linalg.norm(self.motion.joints - before.joints, axis=-1).max(1)
            self.moved[fault] += moved
        self._tell(fault, marked, moved, mended.left)

    def _tell(self, fault: str, marked: np.ndarray, moved: np.ndarray, left: Mapping[str, np.ndarray]) -> None:
        """Why marked frames stay as they are; what an earlier repair of the fault left may have moved now."""
        told = Left(len(marked))
        for why, frames in [*((why, frames & (moved <= STILL_M)) for why, frames in self.left[fault].items()), *left.items()]:
            for begin, end in runs(frames):
                told.add(begin, end, why)
        for begin, end in runs(marked):
            if moved[begin:end].max() <= STILL_M and not any(frames[begin:end].any() for frames in told.values()):
                told.add(begin, end, _UNCHANGED.get(fault, _NO_OTHERS))
        self.left[fault] = dict(told)


def _as_recorded(known: np.ndarray) -> np.ndarray:
    """(T,) bool, frames that are known and follow one that is: what was lost at an end is held, and no recorded frame repeats it."""
    follows = np.concatenate([[True], known[:-1]])
    recorded: np.ndarray = known & follows
    return recorded


def _filled(fill: Fill, motion: Motion, joints: np.ndarray, path: np.ndarray) -> Mended:
    return Mended(fill(motion, joints, path))


def _made_up(fill: Fill, edges: _Marks, motion: Motion, joints: np.ndarray, path: np.ndarray) -> Mended:
    jumps = jumps_beside(motion)
    left = Left(len(path))
    for begin, end in runs(path):
        if begin == 0 or end == len(path):
            left.add(begin, end, _AT_THE_ENDS)
    _tell_bridged(left, motion, path)
    return Mended(made_up(fill, motion, (jumps[:, None] | (edges[0] > 1), jumps | (edges[1] > 1)), joints, path), left)


def _between(fill: Fill, jumps: np.ndarray, motion: Motion, joints: np.ndarray, path: np.ndarray) -> Mended:
    """Repeated frames filled, but those that repeat the first one: nothing says how the person came there."""
    left = Left(len(path))
    if len(path) > 1 and path[1]:
        until = int(np.argmin(np.r_[path[1:], False])) + 1
        left.add(1, until, _AT_THE_BEGINNING)
        begins = np.arange(len(path)) < until
        joints, path = joints & ~begins[:, None], path & ~begins
    _tell_bridged(left, motion, path)
    return Mended(made_up(fill, motion, (jumps[:, None], jumps), joints, path) if path.any() else motion, left)


def _tell_bridged(left: Left, motion: Motion, path: np.ndarray) -> None:
    """Says of long stretches amid others that they are bridged."""
    for begin, end in runs(path):
        if begin > 0 and end < len(path) and end - begin >= BRIDGED_S * motion.fps:
            left.add(begin, end, BRIDGED)


def _of_path(
    repair: Callable[[Motion, Support, np.ndarray], Mended], support: Support, motion: Motion, _: np.ndarray, path: np.ndarray
) -> Mended:
    return repair(motion, support, path)


def _lasting_path(fault: str, joints: np.ndarray, path: np.ndarray, fps: float) -> _Marks:
    """Marks of the path that last."""
    least = round(_LEAST_S[fault] * fps)
    return joints, without_short(closed(path, least), least)


def _lasting(fault: str, joints: np.ndarray, path: np.ndarray, fps: float) -> _Marks:
    """Marks of noise that are no chance: of some time, and of several joints or the path; noise of a body is smoothed on all of it."""
    several = (joints.sum(1) >= _LEAST_JITTERING) | path
    least = odd(_LEAST_S[fault], fps)
    whole = widened(without_short(closed(several, least), least), 1)
    return np.repeat(whole[:, None], NUM_JOINTS, 1), whole


def _by_joint(sides: dict[str, Swaps], num: int) -> tuple[np.ndarray, np.ndarray]:
    scores = np.zeros((num, NUM_JOINTS))
    for limbs, found in sides.items():
        left = list(LIMBS[limbs])
        scores[:, [*left, *(MIRROR[joint] for joint in left)]] = found.score[:, None]
    return scores, np.zeros(num)


def _unswapped(motion: Motion, sides: dict[str, Swaps]) -> Motion:
    quat = motion.quat
    for limbs, found in sides.items():
        for kind in range(1, len(KINDS)):
            quat = np.where((found.kind == kind)[:, None, None], swapped(quat, limbs, kind), quat)
    return motion if quat is motion.quat else motion.changed(quat)
