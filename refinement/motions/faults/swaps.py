"""Stretches of frames on which left and right limbs are taken for each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_priors.body.interpolation import runs
from pose_priors.body.skeleton import MIRROR, index_of
from pose_priors.refinement.motions.motion import Motion, angles
from pose_priors.refinement.motions.signals import odd, rolling_median

LIMBS = {
    "legs": tuple(index_of(f"left_{name}") for name in ("hip", "knee", "ankle", "foot")),
    "arms": tuple(index_of(f"left_{name}") for name in ("collar", "shoulder", "elbow", "wrist")),
}
"""The left joints of the limbs that are looked at."""

KINDS = ("as it is", "mirrored", "copied")
"""What a stretch may be: as it is; each side has what the other's mirror image is; each side has the other's numbers as they are."""

_SWITCH = 0.15  # radians that a change from one kind to another costs, beyond the step that it makes
_SECOND = 0.1  # radians a second that limbs are not as they are, so that of two stretches the longer one is right
_MOST = 1.5  # radians that one joint's step may count for
_USUAL_S, _USUAL = 0.5, 1.0  # and so many times the median step of so many seconds
_THRESHOLD = 0.35  # radians of steps that a stretch saves


@dataclass(frozen=True)
class Swaps:
    """What was found of one kind of limbs.

    Attributes:
        score: (T,) over the threshold, 0 where the frame is best as it is.
        kind: (T,) index into `KINDS` of what each frame is.
    """

    score: np.ndarray
    kind: np.ndarray


def swaps(motion: Motion) -> dict[str, Swaps]:
    """By limbs, what each frame is: the path of least steps through what each frame may be (Viterbi, IEEE Trans. Inf. Theory 13, 1967), and
    how much shorter it is than the path through all frames as they are, on each stretch on which the two differ."""
    return {name: _of_limbs(motion, joints) for name, joints in LIMBS.items()}


def swapped(quat: np.ndarray, limbs: str, kind: int) -> np.ndarray:
    """Rotations (T, 22, 4) with left and right of some limbs exchanged by one of `KINDS`; each is undone by itself."""
    out: np.ndarray = quat.copy()
    left = list(LIMBS[limbs])
    right = [MIRROR[joint] for joint in left]
    flip = np.array([1.0, -1.0, -1.0, 1.0]) if kind == 1 else np.ones(4)
    if kind:
        out[:, left], out[:, right] = quat[:, right] * flip, quat[:, left] * flip
    return out


def _of_limbs(motion: Motion, left: tuple[int, ...]) -> Swaps:
    quat = motion.quat
    num = len(quat)
    if num < 3:
        return Swaps(np.zeros(num), np.zeros(num, dtype=int))
    name = next(key for key, joints in LIMBS.items() if joints == left)
    both = [*left, *(MIRROR[joint] for joint in left)]
    seen = np.stack([swapped(quat, name, kind)[:, both] for kind in range(len(KINDS))])
    # (K, K, T - 1): the step from each kind to each
    step = np.stack([[np.minimum(angles(a[:-1], b[1:]), _MOST).sum(-1) for b in seen] for a in seen])
    # noise makes steps too, and a way that changes sides at will would avoid the half of them
    usual = rolling_median(step[0, 0], odd(_USUAL_S, motion.fps))
    step += (_SWITCH + _USUAL * usual) * (1 - np.eye(len(KINDS)))[..., None]
    own = _SECOND / motion.fps * (np.arange(len(KINDS)) > 0)
    cost, before = own.copy(), np.zeros((num, len(KINDS)), dtype=int)
    for frame in range(1, num):
        ways = cost[:, None] + step[..., frame - 1]
        before[frame] = ways.argmin(0)
        cost = own + ways.min(0)
    kind = np.zeros(num, dtype=int)
    kind[-1] = cost.argmin()
    for frame in range(num - 1, 0, -1):
        kind[frame - 1] = before[frame, kind[frame]]
    score = np.zeros(num)
    for begin, end in runs(kind > 0):
        steps = slice(max(begin - 1, 0), min(end, num - 1))
        frames = np.arange(steps.start, steps.stop)
        as_it_is, found = step[0, 0, frames].sum(), step[kind[frames], kind[frames + 1], frames].sum()
        saved = as_it_is - found - own[kind[begin:end]].sum()
        score[begin:end] = saved / (_THRESHOLD + _USUAL * usual[frames].mean())
    return Swaps(score, np.where(score > 1, kind, 0))
