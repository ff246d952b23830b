"""Frames that are not to be believed, from those around."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pose_priors.body.interpolation import runs
from pose_priors.refinement.motions.motion import Motion

Fill = Callable[[Motion, np.ndarray, np.ndarray], Motion]
"""What takes a motion and its marked joints and path, as `filled` does, and returns it with these filled in."""

_SPEED_S = 0.04  # over which speeds before and behind a gap are taken
_LASTS_S = 0.25  # after so long, a third of a joint's speed is left: limbs turn back, paths go on
_PATH_LASTS_S = 2.0


def filled(motion: Motion, joints: np.ndarray, path: np.ndarray) -> Motion:
    """The motion with marked frames between their neighbours: cubic Hermite curves through place and speed on both sides, of quaternions
    and of the path; held before the first and behind the last frame that is not marked. What has no such frame stays.

    Args:
        joints: (T, 22) bool; path: (T,) bool.
    """
    quat, pelvis = motion.quat, motion.pelvis
    marked = np.flatnonzero(joints.any(0) & ~joints.all(0))
    if marked.size:
        quat = quat.copy()
        for joint in marked:
            quat[:, joint] = _bridged(quat[:, joint], joints[:, joint], motion.fps, _LASTS_S)
    if path.any() and not path.all():
        pelvis = _bridged(pelvis, path, motion.fps, _PATH_LASTS_S)
    return motion.changed(quat, pelvis)


def speed_frames(fps: float) -> int:
    """Over how many frames, at most, the speed beside a gap is taken: nothing farther away than one more than these tells its curve."""
    return max(1, round(_SPEED_S * fps))


def _bridged(values: np.ndarray, marked: np.ndarray, fps: float, lasts_s: float) -> np.ndarray:
    """(T, C) with marked frames replaced."""
    out = values.copy()
    num = len(values)
    back = speed_frames(fps)
    for begin, end in runs(marked):
        if begin == 0 or end == num:
            out[begin:end] = values[end] if begin == 0 else values[begin - 1]
            continue
        first, last = begin - 1, end
        before, behind = first - _believed(marked[:first][::-1], back), last + _believed(marked[last + 1 :], back)
        span = last - first
        start, goal = out[first], values[last]
        if values.shape[1] == 4 and start @ goal < 0:
            goal = -goal
        sign = 1.0 if np.array_equal(goal, values[last]) else -1.0
        lasting = np.exp(-max(span / fps - 0.05, 0) / lasts_s)
        leaving = (start - out[before]) / (first - before) if first > before else np.zeros_like(start)
        arriving = sign * (values[behind] - values[last]) / (behind - last) if behind > last else np.zeros_like(start)
        share = (np.arange(begin, end) - first)[:, None] / span
        straight = goal - start
        # of the straight way's speed what the speeds at the ends do not keep
        leave, arrive = (lasting * speed * span + (1 - lasting) * straight for speed in (leaving, arriving))
        square, cube = share**2, share**3
        out[begin:end] = (
            (2 * cube - 3 * square + 1) * start
            + (cube - 2 * square + share) * leave
            + (3 * square - 2 * cube) * goal
            + (cube - square) * arrive
        )
    return out


def _believed(marked: np.ndarray, back: int) -> int:
    """Over how many frames, at most so many, the speed beside a gap is taken, to one that is believed and across no more that are not than
    are; 0 where there is none.

    Args:
        marked: (N,) bool, of the frames beyond the one at the gap, the nearest first.
    """
    aways = range(min(back, len(marked)), 0, -1)
    return next((away for away in aways if not marked[away - 1] and 2 * marked[:away].sum() <= away), 0)
