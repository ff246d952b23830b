"""How thick people are around their joints, and how high their ankles and feet stand, as fractions of stature.

Approximate means after Gordon et al., "2012 Anthropometric Survey of U.S. Army Personnel: Methods and Summary Statistics",
NATICK/TR-15/007, 2014 (4082 men, 1986 women): each measure over the stature of the same sex, then the mean of the two. The trunk and the
head are half their depth; limbs are round enough that a circumference over 2 pi is their half-depth from any side. Girdle joints, for
which no measure exists, take the mean of their neighbours. People differ from all this by some 20 % (fat, clothes, the side that is seen),
and it is trusted no further. The heights of ankle and foot are those of the built-in skeleton (Drillis & Contini, 1966).
"""

from __future__ import annotations

import math

import numpy as np

from pose_priors.body.builtin import ANKLE_HEIGHT, STATURE, rest_joints
from pose_priors.body.skeleton import index_of

_STATURE_MM = (1756.0, 1629.0)
_DEPTHS_MM = {"buttock": (248.0, 229.0), "waist": (242.0, 219.0), "chest": (254.0, 247.0), "head": (199.0, 187.0)}
_GIRTHS_MM = {
    "thigh": (625.0, 617.0),
    "lower_thigh": (411.0, 402.0),
    "heel_ankle": (344.0, 313.0),
    "ball_of_foot": (249.0, 226.0),
    "neck": (398.0, 330.0),
    "biceps": (358.0, 306.0),
    "forearm": (310.0, 264.0),
    "wrist": (176.0, 154.0),
    "hand": (212.0, 187.0),
}


def _fraction(pair: tuple[float, float]) -> float:
    return sum(value / stature for value, stature in zip(pair, _STATURE_MM, strict=True)) / 2


def _half_depths() -> dict[str, float]:
    depth = {name: _fraction(pair) / 2 for name, pair in _DEPTHS_MM.items()}
    girth = {name: _fraction(pair) / (2 * math.pi) for name, pair in _GIRTHS_MM.items()}
    out = {
        "pelvis": depth["buttock"],
        "spine1": depth["waist"],
        "spine2": (depth["waist"] + depth["chest"]) / 2,
        "spine3": depth["chest"],
        "neck": girth["neck"],
        "head": depth["head"],
    }
    sides = {
        "hip": girth["thigh"],
        "knee": girth["lower_thigh"],
        "ankle": girth["heel_ankle"],
        "foot": girth["ball_of_foot"],
        "collar": (girth["neck"] + depth["chest"]) / 2,
        "shoulder": girth["biceps"],
        "elbow": girth["forearm"],
        "wrist": girth["wrist"],
    }
    return out | {f"{side}_{name}": value for name, value in sides.items() for side in ("left", "right")}


_BUILT_IN = rest_joints().numpy() / STATURE
_HEAD, _ANKLES, _FEET = index_of("head"), (index_of("left_ankle"), index_of("right_ankle")), (index_of("left_foot"), index_of("right_foot"))
_HAND = _fraction(_GIRTHS_MM["hand"]) / (2 * math.pi)


def stature(rest: np.ndarray) -> float:
    """Body height in metres of a skeleton at rest, (J, 3) with SMPL's first 22 joints: from the balls of the feet to the head joint."""
    built_in = _BUILT_IN[_HEAD, 1] - _BUILT_IN[list(_FEET), 1].mean()
    return float((rest[_HEAD, 1] - rest[list(_FEET), 1].mean()) / built_in)


def thickness(rest: np.ndarray) -> np.ndarray:
    """(J,) metres from each joint forward to the skin; nan for face and fingers. `rest` as in `stature`."""
    out = np.full(len(rest), np.nan)
    for name, fraction in _half_depths().items():
        out[index_of(name)] = fraction
    if len(rest) == 24:
        out[22:] = _HAND
    return out * stature(rest)


def heights(rest: np.ndarray, sole: float | None) -> np.ndarray:
    """(J,) metres that ankles and feet stand above the sole of a flat foot; nan for the other joints.

    Args:
        rest: as in `stature`.
        sole: height of the sole on the axis of `rest`, where a body-model file says; else the ball of the foot is taken to stand as high
            above it as the built-in skeleton's.
    """
    feet = list(_FEET)
    if sole is None:
        ball = ANKLE_HEIGHT + (_BUILT_IN[feet, 1] - _BUILT_IN[list(_ANKLES), 1]).mean()
        sole = float(rest[feet, 1].mean() - ball * stature(rest))
    out = np.full(len(rest), np.nan)
    carriers = [*_ANKLES, *_FEET]
    out[carriers] = rest[carriers, 1] - sole
    return out
