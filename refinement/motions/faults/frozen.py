"""Frames that repeat the one before while the person is moving."""

from __future__ import annotations

import numpy as np

from pose_priors.body.interpolation import runs
from pose_priors.refinement.motions.motion import Motion, angles
from pose_priors.refinement.motions.signals import odd, rolling_mean

# A step of the body: the largest of its joints' angles and of its path, a metre for a radian.
_STILL = 2e-5  # rounding of float32 angles and metres
_SHARE = 0.02  # of the usual step of the clip's moving frames: below, a frame is a copy
_SLOW = 0.1  # of the usual step: who comes to rest does so by steps below
_WINDOW_S = 1.5
_LEAST_SPEED = 0.05  # radians or metres a second: whoever moves less may be standing still
_AWAY_S = 0.12  # in which a body jumps away from what is repeated, and back
_SLOWS, _GOES_ON = 0.6, 1.3  # of the step farther away, that beside a rest where a body slows down or speeds up, and on the other side


def frozen(motion: Motion) -> np.ndarray:
    """(T,) how far the motion around each frame goes in a step, over what would be seen of somebody who stands still; 0 for frames that
    differ from the one before, and where a body comes to rest or turns back. The first frame of a frozen run is not one of it.
    """
    num = len(motion)
    out = np.zeros(num)
    if num < 3:
        return out
    step = body_steps(motion)
    usual = _usual(step)
    if not usual:
        return out
    repeats = repeated(motion)
    # how fast the person moves around, told by frames that are no copies
    width = odd(_WINDOW_S, motion.fps)
    there = rolling_mean(~repeats, width)
    around = np.where(there > 1e-9, rolling_mean(np.where(repeats, 0, step), width) / np.maximum(there, 1e-9), usual)
    around = np.maximum(around, 0.25 * usual)
    speed = around * motion.fps / _LEAST_SPEED
    for begin, end in runs(repeats):
        if _rests(step, begin, end, _SLOW * usual):
            continue
        # a single repetition among frames that hardly move is chance; a second of them is none
        length = min(1.0, (end - begin) * 0.5)
        before = step[begin - 1] if begin else step[min(end, num - 2)]
        after = step[end] if end < num - 1 else before
        edge = max(before, after) / max(_SLOW * usual, _STILL)
        out[begin + 1 : end + 1] = length * min(float(speed[begin:end].mean()), edge)
    return out


def repeated(motion: Motion) -> np.ndarray:
    """(T - 1,) bool, frames but the first that repeat the one before, whether or not they should; also those on which something jumps away
    from what is repeated, and back to it."""
    step = body_steps(motion)
    repeats = step <= max(_STILL, _SHARE * _usual(step))
    for begin, _ in list(runs(~repeats)):
        for behind in range(begin + 2, min(begin + 1 + round(_AWAY_S * motion.fps), len(step)) + 1):
            if begin > 0 and _apart(motion, begin, behind) <= _STILL:
                repeats[begin:behind] = True
    return repeats


def _apart(motion: Motion, one: int, other: int) -> float:
    """How far the body is on one frame from where it is on another, as in `body_steps`."""
    turned = angles(motion.quat[one], motion.quat[other]).max()
    return float(max(turned, np.linalg.norm(motion.pelvis[one] - motion.pelvis[other])))


def _usual(step: np.ndarray) -> float:
    """The usual step of a clip's moving frames; 0 where none moves."""
    moving = step > _STILL
    return float(np.median(step[moving])) if moving.any() else 0.0


def _rests(step: np.ndarray, begin: int, end: int, slow: float) -> bool:
    """Whether a body slows down before the steps begin to end - 1, or speeds up behind them, and does not jump on the other side: what
    repeats frames stops it at full speed, and it jumps to where it has come meanwhile.

    Args:
        slow: a step by which a body hardly moves.
    """
    sides = []
    for beside, beyond in ((begin - 1, begin - 2), (end, end + 1)):
        if min(beside, beyond) >= 0 and max(beside, beyond) < len(step):
            sides.append(0 if step[beside] < slow else step[beside] / max(step[beyond], 1e-12))
    return bool(sides) and min(sides) < _SLOWS and max(sides) < _GOES_ON


def body_steps(motion: Motion) -> np.ndarray:
    """(T - 1,) how far the body goes in each step: the largest angle of its joints in radians, or its path in metres."""
    turned = angles(motion.quat[1:], motion.quat[:-1]).max(1)
    steps: np.ndarray = np.maximum(turned, np.linalg.norm(np.diff(motion.pelvis, axis=0), axis=-1))
    return steps
