"""Known frames beside missing ones that jump: only one side of them is there to tell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pose_priors.body.interpolation import runs
from pose_priors.refinement.motions.faults.pops import usual_jumps
from pose_priors.refinement.motions.motion import NUM_JOINTS, Motion
from pose_priors.refinement.motions.repair.fill import filled, speed_frames

_BENDS = 4  # frames beyond, whose second differences say how fast the person turns there
_TIMES = 2.0  # the largest of these
_RESTS = 1e-4  # radians or metres, up to which a joint does not turn: a leg that is straight leaves that by a jump, as square roots leave 0
_LONGEST_S = 0.04  # of a jump that missing frames end: of longer ones the file's own fast motions were taken for some
_ISLAND = 3  # known frames between missing ones, fewer than any that tell how a person moves
# What real motions get off a curve by at most, in radians and metres, and with each second from the nearest known frame.
_OFF = np.append(np.full(NUM_JOINTS, 0.3), 0.04)
_OFF_PER_S = np.append(np.full(NUM_JOINTS, 5.0), 1.4)


def jumping_edges(motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """How far joints and path jump on known frames that missing ones hide the way back from, over what real motions do: (T, 22) and (T,).

    A jump is one beside those frames beyond which the person goes on steadily, and which is off the curve through what is known on both
    sides without it, too: who kicks before a gap comes down behind it.
    """
    scores = np.zeros((len(motion), NUM_JOINTS + 1))
    if motion.known.any() and not motion.known.all():
        values = _values(motion)
        bends = _Bends(values, motion.known)
        limits = usual_jumps(motion.fps)
        for begin, end in runs(motion.known):
            if end - begin > _ISLAND:
                _of_run(motion, values, bends, limits, begin, end, scores)
            elif begin > 0 and end < len(motion):
                _of_island(motion, values, bends, limits, begin, end, scores)
    return scores[:, :-1], scores[:, -1]


class _Bends:
    """By how much steps differ from the step before.

    Attributes:
        of: (T, 23) from the step to each frame to the step from it; 0 where one of the three frames is missing.
    """

    def __init__(self, values: np.ndarray, known: np.ndarray) -> None:
        self.of = np.zeros(values.shape[:2])
        self.of[1:-1] = np.linalg.norm(np.diff(values, n=2, axis=0), axis=-1)
        whole = np.zeros(len(known), dtype=bool)
        whole[1:-1] = known[2:] & known[1:-1] & known[:-2]
        self.of[~whole] = 0
        self._told = np.flatnonzero(whole)

    def before(self, frame: int) -> np.ndarray:
        """(23,) the largest of the nearest before a frame; of what rests on all of them, of the nearest on which it does not."""
        last = np.searchsorted(self._told, frame)
        return self._largest(self._told[:last][::-1])

    def behind(self, frame: int) -> np.ndarray:
        """(23,) the same behind a frame."""
        first = np.searchsorted(self._told, frame, side="right")
        return self._largest(self._told[first:])

    def _largest(self, frames: np.ndarray) -> np.ndarray:
        """Of frames from the nearest on."""
        if not len(frames):
            return np.full(NUM_JOINTS + 1, np.inf)
        found: np.ndarray = self.of[frames[:_BENDS]].max(0)
        for rests in np.flatnonzero(found < _RESTS):
            turns = frames[self.of[frames, rests] >= _RESTS][:_BENDS]
            found[rests] = self.of[turns, rests].max(initial=found[rests])
        return found


def _of_run(motion: Motion, values: np.ndarray, bends: _Bends, limits: np.ndarray, begin: int, end: int, scores: np.ndarray) -> None:
    """Scores of the frames at the ends of a stretch of known ones that is long enough to tell how the person moves."""
    longest = min(max(1, round(_LONGEST_S * motion.fps)), end - begin - _ISLAND)
    for away in range(1, longest + 1):
        for part, beside, inwards in _sides(motion.known, begin, end, away):
            limit = limits + _TIMES * (bends.behind(beside) if inwards > 0 else bends.before(beside))
            # steady on both sides of the jump, unlike who sets off
            size = bends.of[[beside, beside - inwards] if away > 1 else [beside]].min(0)
            if (size > limit).any():
                steps = np.abs(np.arange(part.start, part.stop) - beside)[:, None, None]
                onwards = values[beside] + steps * (values[beside] - values[beside + inwards])
                apart = np.linalg.norm(values[part] - onwards, axis=-1)
                size = np.minimum(size, np.minimum(apart, np.linalg.norm(_off(motion, values, part), axis=-1)).min(0))
                scores[part] = np.maximum(scores[part], size / limit)


def _sides(known: np.ndarray, begin: int, end: int, away: int) -> Iterator[tuple[slice, int, int]]:
    """So many frames at either end of a stretch that are beside missing ones, the frame next to them, and which way the others are. Of
    several frames it is asked whether they are on the way to what is behind the missing ones, which there has to be."""
    if known[:begin].any() or (begin > 0 and away == 1):
        yield slice(begin, begin + away), begin + away, 1
    if known[end:].any() or (end < len(known) and away == 1):
        yield slice(end - away, end), end - away - 1, -1


def _of_island(motion: Motion, values: np.ndarray, bends: _Bends, limits: np.ndarray, begin: int, end: int, scores: np.ndarray) -> None:
    """Scores of a few known frames amid missing ones, by how far a body that turns as it does on both sides gets off the curve there, and
    by how much it gets off from one of them to the next: of these that counts which is farthest off. Nobody gets off by any amount; where
    several frames agree on how far it is, though, they are no jump."""
    known = np.flatnonzero(motion.known)
    at = np.searchsorted(known, begin)
    if at == 0 or at + end - begin == len(known):
        return
    first, last = known[at - 1], known[at + end - begin]
    frames = np.arange(begin, end)[:, None]
    usual = np.maximum(bends.before(begin), bends.behind(end - 1))
    off = _off(motion, values, slice(begin, end))
    size = np.linalg.norm(off, axis=-1)
    bent = usual * (frames - first) * (last - frames) / 2
    if end - begin == 1:
        bent = _at_most(bent, min(begin - first, last - begin) / motion.fps)
    scores[begin:end] = size / (limits + bent)
    if end - begin > 1:
        others = (off.sum(0) - off) / (end - begin - 1)
        apart = np.linalg.norm(off - others, axis=-1)
        farthest = (apart + size).argmax(0) == np.arange(end - begin)[:, None]
        between = _at_most(usual * (last - first) / 2, (end - begin) / motion.fps)
        scores[begin:end] = np.maximum(scores[begin:end], farthest * apart / (limits + between))


def _at_most(bent: np.ndarray, seconds: float) -> np.ndarray:
    """(..., 23) what turning takes a body off a curve by, within what real ones get off in some seconds; infinite if nothing tells it."""
    return np.where(np.isfinite(bent), np.minimum(bent, _OFF + _OFF_PER_S * seconds), np.inf)


def _off(motion: Motion, values: np.ndarray, part: slice) -> np.ndarray:
    """(N, 23, 4) from the curve through the known frames around to some of them."""
    missing = ~motion.known
    missing[part] = True
    about = speed_frames(motion.fps) + 1
    begin, end = next((begin, end) for begin, end in runs(missing) if begin <= part.start < end)
    around = slice(max(begin - about, 0), end + about)
    near = Motion(motion.quat[around], motion.pelvis[around], motion.rest, motion.stature, motion.fps, motion.known[around])
    lost = missing[around]
    curve = _values(filled(near, np.repeat(lost[:, None], NUM_JOINTS, 1), lost))[part.start - around.start : part.stop - around.start]
    here = values[part]
    # quaternions are two for each rotation
    sign = np.where((curve * here).sum(-1, keepdims=True) < 0, -1, 1)
    sign[:, -1] = 1
    off: np.ndarray = here - sign * curve
    return off


def _values(motion: Motion) -> np.ndarray:
    """(T, 23, 4) of each joint and the path, so that small changes are radians and metres."""
    path = np.pad(motion.pelvis[:, None], ((0, 0), (0, 0), (0, 1)))
    return np.concatenate([2 * motion.quat, path], 1)
