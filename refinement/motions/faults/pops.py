"""Frames that a joint or the path jumps to, and back from."""

from __future__ import annotations

import numpy as np

from pose_priors.body.skeleton import index_of
from pose_priors.refinement.motions.motion import NUM_JOINTS, Motion
from pose_priors.refinement.motions.signals import odd, rolling_median

_LONGEST_S = 0.12
# What real motions jump by at 120 frames a second, in radians and metres, and what fast ones add by the square of a frame's seconds.
_FLOOR = (0.05, 0.02)
_BEND = (60.0, 12.0)
_TIMES = 6.0  # over the median of the frames around
_AROUND_S = 0.6
_WHOLE = 3  # joints
LEAST_FRAMES = 6
"""Of a clip in which jumps are told: fewer do not say what steps are usual."""
_NEXT, _TIMES_NEXT = 4, 3.0  # steps beside a first or last one, and how many times their largest is a jump
# Toes, whose rotations move no joint, are measured worst.
_BY_JOINT = np.ones(NUM_JOINTS)
_BY_JOINT[[index_of("left_foot"), index_of("right_foot")]] = 3


def pops(motion: Motion, stopped: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """How far joints and path jump away and back within an eighth of a second, over what real motions do: (T, 22) and (T,).

    Args:
        stopped: (T - 1,) bool, steps that are not looked at, the shorter of those next to them stands for them; none if not given.
    """
    stopped = np.zeros(max(len(motion) - 1, 0), dtype=bool) if stopped is None else stopped
    turned = _away_and_back(2 * motion.quat, motion.fps, stopped)
    moved = _away_and_back(motion.pelvis[:, None], motion.fps, stopped)[:, 0]
    width = odd(_AROUND_S, motion.fps)
    limits = usual_jumps(motion.fps)
    turned = turned / (limits[:-1] + _TIMES * rolling_median(turned, width))
    # a first or last frame of its own is so as a whole
    for frame in (0, -1) if len(turned) else ():
        if (turned[frame] > 1).sum() >= _WHOLE:
            turned[frame] = np.maximum(turned[frame], 1.01)
    return (
        turned,
        moved / (limits[-1] + _TIMES * rolling_median(moved, width)),
    )


def usual_jumps(fps: float) -> np.ndarray:
    """(23,) what each joint and the path jump by in real motions, radians and metres."""
    turned, moved = (floor + bend / fps**2 for floor, bend in zip(_FLOOR, _BEND, strict=True))
    return np.append(turned * _BY_JOINT, moved)


def _away_and_back(values: np.ndarray, fps: float, stopped: np.ndarray) -> np.ndarray:
    """(T, J) of (T, J, C): the largest jump by which a stretch of frames begins, and by the opposite of which it ends.

    Both count against all steps around, and against the step before and the one behind each: who bounces off something comes and goes by
    steps that are long and opposite, but no longer than those before and behind, and who kicks goes on.
    """
    num = len(values)
    out = np.zeros(values.shape[:2])
    if num < LEAST_FRAMES:
        return out
    step = np.diff(values, axis=0)
    if stopped.any() and not stopped.all():
        told = np.flatnonzero(~stopped)
        behind = np.searchsorted(told, np.arange(len(step)))
        before, behind = (step[told[at.clip(0, len(told) - 1)]] for at in (behind - stopped, behind))
        shorter = np.linalg.norm(before, axis=-1) < np.linalg.norm(behind, axis=-1)
        step = np.where(shorter[..., None], before, behind)
    # against the steps around, so that steady motion is no jump
    around = np.median(np.stack([_shifted(step, by) for by in (-2, -1, 1, 2)]), 0)
    jump = step - around
    size = np.linalg.norm(jump, axis=-1)
    alone = size.copy()
    for part, other in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        along = (jump[part] * (step[part] - step[other])).sum(-1) / np.maximum(size[part], 1e-12)
        alone[part] = np.minimum(alone[part], np.maximum(along, 0))
    for length in range(1, min(max(1, round(_LONGEST_S * fps)), num - 2) + 1):
        first, last = jump[: len(jump) - length], jump[length:]
        against = -(first * last).sum(-1) / np.maximum(size[: len(jump) - length] * size[length:], 1e-12)
        found = np.minimum(alone[: len(jump) - length], alone[length:]) * np.clip(against, 0, 1)
        for inside in range(1, length + 1):
            np.maximum(out[inside : inside + len(found)], found, out=out[inside : inside + len(found)])
    # the first and the last frame have one neighbour: a jump that the next steps know nothing of
    for frame, inwards in ((0, step), (num - 1, step[::-1])):
        alone = np.linalg.norm(inwards[0] - inwards[1], axis=-1)
        usual = np.linalg.norm(inwards[1 : 1 + _NEXT], axis=-1).max(0)
        out[frame] = np.maximum(out[frame], np.where(alone > _TIMES_NEXT * usual, alone, 0))
    return out


def _shifted(values: np.ndarray, by: int) -> np.ndarray:
    """Values (N, ...) of other frames, the ends held."""
    return values[np.clip(np.arange(len(values)) + by, 0, len(values) - 1)]
