"""Gravity: what nothing holds is accelerated downwards by it, wherever its limbs go."""

from __future__ import annotations

import numpy as np

from pose_priors.body.skeleton import index_of
from pose_priors.refinement.motions.motion import NUM_JOINTS

GRAVITY = 9.81
"""Metres a second squared."""

FALLS = (0.35, 2.0)
"""Of gravity: what the centre of a body in flight is seen to fall by, least and most."""

# Mass of a segment over the body's, and how far its centre is from the first towards the second joint (Winter, Biomechanics and Motor
# Control of Human Movement, 4th ed., 2009, table 4.1; trunk and head as wholes, a hand with its forearm).
_LIMBS = (
    ("hip", "knee", 0.100, 0.433),
    ("knee", "ankle", 0.0465, 0.433),
    ("ankle", "foot", 0.0145, 0.500),
    ("shoulder", "elbow", 0.028, 0.436),
    ("elbow", "wrist", 0.022, 0.682),
)
_TRUNK, _HEAD = 0.497, 0.081
_EDGE_S = 0.05
_LEAST_HALVED = 6  # frames


def mass_centre(joints: np.ndarray) -> np.ndarray:
    """(T, 3) the centre of mass of a body whose joints (T, 22, 3) are known, by the usual masses of its segments."""
    found: np.ndarray = np.einsum("j,tjc->tc", _SHARES, joints)
    return found


def fall(height: np.ndarray, fps: float) -> float:
    """Of gravity, by what heights (T,) are accelerated downwards: of the parabola nearest to them; NaN of fewer than three, of which no
    parabola is the nearest."""
    if len(height) < 3:
        return np.nan
    seconds = np.arange(len(height)) / fps
    return float(-2 * np.polyfit(seconds - seconds.mean(), height, 2)[0] / GRAVITY)


def falls(height: np.ndarray, fps: float) -> bool:
    """Whether heights (T,) of a centre of mass fall as things do, all the time: what is lifted speeds up first and slows down then, so that
    a half of its way may look like a fall. Ends at which speeds, averaged, are those of standing too are left out where enough is left; a
    few frames tell nothing."""
    cut = round(_EDGE_S * fps)
    if len(height) >= 2 * cut + _LEAST_HALVED:
        height = height[cut : len(height) - cut]
    half = len(height) // 2
    return len(height) >= _LEAST_HALVED and all(FALLS[0] < fall(part, fps) < FALLS[1] for part in (height[: half + 1], height[half:]))


def _shares() -> np.ndarray:
    """(22,) of the mass of a body, as if it were in its joints."""
    share = np.zeros(NUM_JOINTS)
    for side in ("left", "right"):
        for first, second, mass, along in _LIMBS:
            share[index_of(f"{side}_{first}")] += mass * (1 - along)
            share[index_of(f"{side}_{second}")] += mass * along
        # the trunk's centre is amid hips and shoulders
        for corner in ("hip", "shoulder"):
            share[index_of(f"{side}_{corner}")] += _TRUNK / 4
    share[index_of("head")] += _HEAD
    return share


_SHARES = _shares()
