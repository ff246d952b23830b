"""What carries a person: which soles stand, how they slide, and how high above the floor the person is without falling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d

from pose_priors.body.builtin import HIP_HEIGHT
from pose_priors.body.interpolation import runs
from pose_priors.body.skeleton import index_of
from pose_priors.refinement.motions.faults.falling import FALLS, fall, falls, mass_centre
from pose_priors.refinement.motions.motion import Motion
from pose_priors.refinement.motions.signals import closed, odd, rolling_mean, rolling_median, without_short

WRISTS = [index_of("left_wrist"), index_of("right_wrist")]
"""The joints by which hands hold on."""

_HIGH_M, _HIGH_SHARE = 0.5, 0.03
_HOLD_S, _HOLD, _MOVES = 0.5, 0.12, 0.2  # metres a second that a wrist moves at most, and the pelvis at least
_SOFT_M = 0.012  # a sole that is so much higher than the lowest one carries a third of its weight
_SLOWER_S = 0.02  # metres of height that a metre a second counts for
_OFF_FLOOR_M = 0.06  # higher, nobody stands on tiptoe
_SMOOTH_S = 0.05
RISES, RISES_GAP_S = 0.06, 0.04
"""Metres a second, by which feet that stand and roll hardly rise for long, and seconds for which what rises may pause."""

CARRIED_M = 0.4
"""Metres, from which a lift is told and left: files err by less, and what lifts people by more may be there."""

_STEADY = 0.3  # metres a second that a sole which carries rises or falls by
_SLIDE_S = 0.8  # over which a slide is told from the roll of a foot
_SLIDE = 0.18  # metres a second
_SLIDE_SHARE = 0.1  # of the speed of the path
_STANDS = 0.12  # of the frames around: below, nothing stands long enough to slide
_LEAST_FLIGHT_S, _LONG_FLIGHT_S = 0.06, 0.25
_LIFT_S = 0.2
_LIFT_SHARES = 0.3, 0.5  # of the height off the floor, by which all soles move together at the end where less, and where more of it is
_ALONG, _STEEP = 0.3, 0.5  # metres a second, and metres up for one along
_LEAP = 3.0  # times that height: who sinks by more came down from a leap
_UPRIGHT = 0.75  # of the height of the hips: lower, whoever is off the floor may sit on something
_STANDING = 0.3  # of the frames of a stretch: where less, the person jumps
_HEIGHT_S = 0.1


@dataclass(frozen=True)
class Support:
    """What carries a person.

    Attributes:
        height: (T,) metres of the lowest sole above the floor.
        slip: (T, 2) metres a second, how what carries moves along the floor, `elsewhere` that sole or wrist which moves least; between two
            frames on which something stands, in between.
        stands: (T,) bool, a sole carries and neither rises nor falls.
        left: (T,) the share of the left sole.
        flies: (T,) bool, off the floor and falling as things do.
        elsewhere: (T,) bool, carried by something else: hands that hold on, or a clip that leaves the floor for good.
        doubted: (T,) bool, frames that were made up and say nothing of what stands.
    """

    height: np.ndarray
    slip: np.ndarray
    stands: np.ndarray
    left: np.ndarray
    flies: np.ndarray
    elsewhere: np.ndarray
    doubted: np.ndarray


def find_support(motion: Motion, doubted: np.ndarray) -> Support:
    """What carries the person on each frame. The lowest sole does; heights are compared among soles, so that a path that is too high
    changes nothing but `height`.

    Args:
        doubted: (T,) bool, frames that were made up and say nothing of what stands.
    """
    soles = motion.soles
    height = soles[..., 2].min(1)
    velocity = velocities(soles, motion.fps)
    # of two soles near the floor, that which moves less: the other has just left it, or is about to come down
    weight = weights_of(soles[..., 2] + _SLOWER_S * np.linalg.norm(velocity, axis=-1))
    flies = _flies(motion, height)
    slip, rises = (weight[..., None] * velocity[..., :2]).sum(1), (weight * np.abs(velocity[..., 2])).sum(1)
    holds = least_moved(np.concatenate([velocity, velocities(motion.joints[:, WRISTS], motion.fps)], 1))
    elsewhere = _elsewhere(motion, height, flies, np.linalg.norm(holds, axis=-1))
    slip = np.where(elsewhere[:, None], holds[:, :2], slip)
    stands = ~flies & ~doubted & (np.where(elsewhere, np.abs(holds[:, 2]), rises) < _STEADY)
    frames = np.arange(len(motion))
    if stands.any():
        slip = np.stack([np.interp(frames, frames[stands], slip[stands, axis]) for axis in range(2)], 1)
    return Support(height, slip, stands, weight[:, :2].sum(1), flies, elsewhere, doubted)


def weights_of(heights: np.ndarray) -> np.ndarray:
    """(T, 4) the shares of the weight that soles of such heights carry, most of it the lowest."""
    weight = np.exp(-(heights - heights.min(1, keepdims=True)) / _SOFT_M)
    shares: np.ndarray = weight / weight.sum(1, keepdims=True)
    return shares


def velocities(values: np.ndarray, fps: float) -> np.ndarray:
    """(T, ...) per second, central differences, of values averaged over a twentieth of a second."""
    if len(values) < 2:
        return np.zeros_like(values)
    width = odd(_SMOOTH_S, fps, 1)
    found: np.ndarray = np.gradient(rolling_mean(values, width), axis=0) * fps
    return found


def sliding(motion: Motion, support: Support) -> np.ndarray:
    """(T,) how fast what carries moves along the floor, over what feet that roll and turn do; 0 in the air and without a path.

    It is the median of most of a second, less where what carries moves now here, now there: that is a body that was measured badly, not one
    that slides.
    """
    if not motion.has_path or len(motion) < 4:
        return np.zeros(len(motion))
    width = odd(_SLIDE_S, motion.fps)
    steady = rolling_median(support.slip, width)
    speed = np.linalg.norm(steady, axis=-1)
    astray = rolling_median(np.linalg.norm(support.slip - steady, axis=-1), width)
    path = rolling_mean(np.linalg.norm(velocities(motion.pelvis[:, :2], motion.fps), axis=-1), width)
    slides = speed / (_SLIDE + _SLIDE_SHARE * path) / (1 + (astray / (speed + _SLIDE / 4)) ** 2)
    return np.where(rolling_mean(support.stands, width) > _STANDS, slides, 0)


def floating(motion: Motion, support: Support) -> np.ndarray:
    """(T,) height above the floor of who stands or walks on nothing, and depth below it, over `_OFF_FLOOR_M`.

    Who climbs, or stands on something, came there by a sole that stood there before the other left the floor, or by a leap; that is no
    fault.
    """
    if not motion.has_path:
        return np.zeros(len(motion))
    steady = rolling_median(support.height, odd(_HEIGHT_S, motion.fps))
    hips = motion.joints[:, 1:3, 2].mean(1) - motion.soles[..., 2].min(1)
    upright = hips > _UPRIGHT * HIP_HEIGHT * motion.stature
    out: np.ndarray = np.where(support.flies | support.elsewhere | ~upright & (steady > 0), 0, np.abs(steady)) / _OFF_FLOOR_M
    least = least_moved(velocities(motion.soles, motion.fps))
    lift, leap, leaps = _lift(upright_speed(least), motion.fps), _lift(least[:, 2], motion.fps), _leaps(motion, least[:, 2])
    for begin, end in runs(np.abs(steady) > _OFF_FLOOR_M / 2):
        away, stood = np.abs(steady[begin:end]), support.stands[begin:end]
        # how high the person stands there, whatever they jump
        high = float(np.median(away[stood])) if stood.any() else float(away.max())
        there = begin + np.flatnonzero(away >= high / 2)
        ways = [at for at in (there[0], there[-1]) if 0 < at < len(motion) - 1]
        ends = [lift[at] for at in ways]
        climbed = ends and (max(ends) < _LIFT_SHARES[1] * high or min(ends) < _LIFT_SHARES[0] * high)
        leapt = ends and (leap[ways].max() > _LEAP * high or leaps[ways].all())
        if climbed or leapt or stood.mean() < _STANDING:
            out[begin:end] = 0
    return out


def least_moved(velocity: np.ndarray) -> np.ndarray:
    """(T, 3) the velocity of that which moves least, of velocities (T, N, 3)."""
    least = np.linalg.norm(velocity, axis=-1).argmin(1)
    found: np.ndarray = velocity[np.arange(len(velocity)), least]
    return found


def upright_speed(velocity: np.ndarray) -> np.ndarray:
    """(T,) metres a second upwards, of velocities (T, 3); 0 where these go along, and more so than up or down, as swings do."""
    along = np.linalg.norm(velocity[:, :2], axis=-1)
    found: np.ndarray = np.where((along < _ALONG) | (np.abs(velocity[:, 2]) > _STEEP * along), velocity[:, 2], 0)
    return found


def _lift(rising: np.ndarray, fps: float) -> np.ndarray:
    """(T,) metres by which even the sole that moves least rises or sinks within `_LIFT_S` about each frame, by its speed (T,)."""
    by = _LIFT_S * fps / 2
    risen = np.cumsum(rising) / fps
    frames = np.arange(len(rising))
    rise = np.interp(frames + by, frames, risen) - np.interp(frames - by, frames, risen)
    lifted: np.ndarray = maximum_filter1d(np.abs(rise), 2 * max(1, round(by)) + 1)
    return lifted


def _leaps(motion: Motion, rising: np.ndarray) -> np.ndarray:
    """(T,) bool, stretches on which even the sole that moves least rises or sinks, while the centre of mass falls all the time."""
    out = np.zeros(len(motion), dtype=bool)
    centre = mass_centre(motion.joints)[:, 2]
    for begin, end in runs(closed(np.abs(rising) > RISES, round(RISES_GAP_S * motion.fps))):
        out[begin:end] = falls(centre[begin:end], motion.fps)
    return out


def _elsewhere(motion: Motion, height: np.ndarray, flies: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Frames on which a wrist stays where it is while the body moves on; all, of a clip that is high above the floor for longer, where what
    moves least, (T,) metres a second, stays where it is."""
    if ((height > _HIGH_M) & ~flies & (least < _HOLD)).mean() > _HIGH_SHARE:
        return np.ones(len(motion), dtype=bool)
    width = odd(_HOLD_S, motion.fps)
    wrists = np.linalg.norm(velocities(motion.joints[:, WRISTS], motion.fps), axis=-1)
    body = np.linalg.norm(velocities(motion.pelvis, motion.fps), axis=-1)
    holds: np.ndarray = (rolling_median(wrists, width).min(1) < _HOLD) & (rolling_median(body, width) > _MOVES)
    return holds


def _flies(motion: Motion, height: np.ndarray) -> np.ndarray:
    """Stretches off the floor on which the body's centre falls about as fast as things do."""
    out = np.zeros(len(motion), dtype=bool)
    if not motion.has_path:
        return out
    least = max(3, round(_LEAST_FLIGHT_S * motion.fps))
    centre = mass_centre(motion.joints)[:, 2]
    for begin, end in runs(without_short(closed(height > _OFF_FLOOR_M / 2, max(1, least // 3)), least)):
        quarter = (end - begin) // 4
        # who is lifted and set down again moves as one who falls at both ends alone
        held = end - begin > _LONG_FLIGHT_S * motion.fps and fall(centre[begin + quarter : end - quarter], motion.fps) < FALLS[0]
        out[begin:end] = not held and FALLS[0] < fall(centre[begin:end], motion.fps) < FALLS[1]
    return out
