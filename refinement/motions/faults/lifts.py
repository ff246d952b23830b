"""People who are lifted and set down again: all that could hold them rises together, they do not fall, and stay up.

What carries somebody is at rest, be it a sole on a rung or a hand at a bar, however high above the floor. Where even what moves least of
soles and wrists rises, nothing carries the person, so that they would have to fall. Who rises so without falling and later sinks by as much
was lifted by the file in between. This is told without a floor, so that it is told of climbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pose_priors.body.interpolation import runs
from pose_priors.body.skeleton import index_of
from pose_priors.refinement.motions.faults.falling import falls, mass_centre
from pose_priors.refinement.motions.faults.support import RISES, RISES_GAP_S, WRISTS, Support, least_moved, upright_speed, velocities
from pose_priors.refinement.motions.motion import Motion
from pose_priors.refinement.motions.signals import closed

_LEAST_M = 0.035
_TRUNK = [index_of(name) for name in ("pelvis", "spine1", "spine2", "spine3", "neck", "head")]
_TRUNK_SHARE = 0.4  # of a lift that pelvis, spine and head make at least: who bends raises their hands, too
_UPRIGHT = 0.5  # of a lift, that does not go along
_HOP_S = 0.12  # a rise and a fall that are no farther apart are those of a hop
_ALIKE = 0.5  # what a lift back has of that up at least
_HELD = 0.25  # of a lift, between its two ways, at least
_LIFTED_M = 0.075
_QUICK_S = 0.56  # that one of the ways takes at most: elevators, platforms and partners take their time for both


@dataclass(frozen=True)
class _Way:
    """Frames begin to end - 1 on which all that could hold a person rises, or sinks, by so many metres."""

    begin: int
    end: int
    metres: float


def lifts(motion: Motion, support: Support) -> np.ndarray:
    """(T,) metres by which a person was lifted; 0 where they were not, and without a path."""
    out = np.zeros(len(motion))
    if not motion.has_path or len(motion) < 4:
        return out
    points = np.concatenate([motion.soles, motion.joints[:, WRISTS]], 1)
    velocity = np.where(support.doubted[:, None], 0, least_moved(velocities(points, motion.fps)))
    rising = velocity[:, 2]
    # frames that were made up say of nobody that they stayed up: a leap that is lost at its height is one all the same
    seen = np.concatenate([[0], np.cumsum(~support.doubted)])
    for up, back in _pairs(_ways(motion, rising, upright_speed(velocity), seen), motion.fps, seen):
        metres = (up.metres - back.metres) / 2
        out[up.begin : up.end] = metres * _done(rising, up)
        out[up.end : back.begin] = metres
        out[back.begin : back.end] = metres * (1 - _done(rising, back))
    return out


def lifted(motion: Motion, support: Support) -> np.ndarray:
    """(T,) `lifts` over what people would call floating."""
    found: np.ndarray = lifts(motion, support) / _LIFTED_M
    return found


def _done(rising: np.ndarray, way: _Way) -> np.ndarray:
    """How much of a way lies behind on each of its frames, 0 to 1."""
    speed = rising[way.begin : way.end]
    share: np.ndarray = (np.cumsum(speed) - speed / 2) / speed.sum()
    return share


def _ways(motion: Motion, rising: np.ndarray, upright: np.ndarray, seen: np.ndarray) -> list[_Way]:
    """Where somebody rises or sinks as a whole, neither hopping nor falling nor going along, in order.

    Args:
        rising, upright: (T,) metres a second, all of it and where it is upright.
        seen: (T + 1,) how many frames before each were not made up.
    """
    fps, trunk, centre = motion.fps, motion.joints[:, _TRUNK, 2], mass_centre(motion.joints)[:, 2]
    found = []
    for sign in (1, -1):
        for begin, end in runs(closed(sign * rising > RISES, round(RISES_GAP_S * fps))):
            metres = float(rising[begin:end].sum() / fps)
            along = sign * (trunk[min(end, len(motion) - 1)] - trunk[max(begin - 1, 0)])
            if abs(metres) > _LEAST_M and along.min() > _TRUNK_SHARE * abs(metres):
                found.append(_Way(begin, end, metres))
    found.sort(key=lambda way: way.begin)
    followed = [(up, down) for up, down in pairwise(found) if up.metres > 0 > down.metres]
    hops = {way for up, down in followed if seen[down.begin] - seen[up.end] < _HOP_S * fps for way in (up, down)}
    straight = [way for way in found if abs(upright[way.begin : way.end].sum()) > _UPRIGHT * abs(rising[way.begin : way.end].sum())]
    return [way for way in straight if way not in hops and not falls(centre[way.begin : way.end], fps)]


def _pairs(ways: list[_Way], fps: float, seen: np.ndarray) -> list[tuple[_Way, _Way]]:
    """Ways up, and the first ones back by about as much. Ways down begin no pair: who drops from one hold to the next sinks so, too.

    Args:
        seen: as of `_ways`.
    """
    found: list[tuple[_Way, _Way]] = []
    for number, way in enumerate(ways):
        if way.metres < 0 or (found and way.begin < found[-1][1].end):
            continue
        for other in ways[number + 1 :]:
            if min(way.metres / -other.metres, other.metres / -way.metres) > _ALIKE:
                quick = min(way.end - way.begin, other.end - other.begin) <= _QUICK_S * fps
                if quick and seen[other.begin] - seen[way.end] > _HELD * (other.end - way.begin):
                    found.append((way, other))
                break
    return found
