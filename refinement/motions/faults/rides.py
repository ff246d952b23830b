"""People whom something carries along: escalators, treadmills, platforms, seats. Their soles glide, and nothing is wrong with the file."""

from __future__ import annotations

import numpy as np

from pose_priors.refinement.motions.faults.falling import mass_centre
from pose_priors.refinement.motions.faults.support import Support, least_moved, velocities
from pose_priors.refinement.motions.motion import Motion

_ABOUT_S = 0.5  # of the ends of a glide that were found, where it may begin
_AT_ONCE_S = 0.3  # in which no body is carried away as a whole
_AT_ONCE = 0.5  # of a glide's speed
_STEEP = 0.3  # metres up for one along: heels that roll rise by half of it, escalators by twice as much


def rides(motion: Motion, support: Support, begin: int, end: int, way: np.ndarray) -> str:
    """Why a glide of frames begin to end - 1 may be that of something which carries a person; nothing where it may not.

    A file that glides moves all of a body at once from one speed to another; what carries somebody speeds up with them, or they step on
    and off. Where a glide has neither end within the clip nothing can be told, and it may be a ride. What rises or sinks all along carries
    too.

    Args:
        way: (2,) metres a second.
    """
    rising = least_moved(velocities(motion.soles, motion.fps))[begin:end, 2][support.stands[begin:end]]
    speed = float(np.linalg.norm(way))
    if rising.size and abs(float(np.median(rising))) > _STEEP * speed:
        return "it goes up or down as well, as escalators do, which carry people"
    along = velocities(mass_centre(motion.joints)[:, :2], motion.fps) @ way / speed
    if max(at_once(along, begin, motion.fps), at_once(-along, end, motion.fps)) >= _AT_ONCE * speed:
        return ""
    return "it begins and ends slowly or not at all, as treadmills and trains do, which carry people"


def at_once(speed: np.ndarray, frame: int, fps: float) -> float:
    """The most by which a speed (T,) rises within `_AT_ONCE_S`, about a frame; 0 where the clip ends there."""
    by, about = max(1, round(_AT_ONCE_S * fps / 2)), round(_ABOUT_S * fps)
    at = np.arange(max(frame - about, by), min(frame + about, len(speed) - by))
    return float((speed[at + by] - speed[at - by]).max()) if at.size else 0.0
