"""Walking and running as functions of the phase of the gait cycle.

The sagittal angles of hip, knee, ankle and ball of the foot are periodic splines through values read at named instants of the cycle:
walking from Winter, "The Biomechanics and Motor Control of Human Gait", 2nd ed., 1991 and Perry & Burnfield, "Gait Analysis", 2nd ed.,
2010; running from Novacheck, "The biomechanics of running", Gait & Posture 7, 1998. The legs are half a cycle apart, each arm swings with
the opposite leg, and the shoulders turn against the pelvis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

# (fraction of the cycle since the foot's contact, degrees): hip and knee flexion, dorsiflexion, extension of the toes
_WALK = {
    "hip": ((0.00, 24), (0.12, 18), (0.30, 2), (0.50, -13), (0.60, -4), (0.72, 19), (0.85, 28), (0.94, 25)),
    "knee": ((0.00, 4), (0.14, 18), (0.28, 9), (0.40, 5), (0.52, 18), (0.62, 45), (0.72, 61), (0.82, 44), (0.94, 4)),
    "ankle": ((0.00, 0), (0.07, -6), (0.20, 3), (0.45, 10), (0.54, 2), (0.62, -17), (0.72, -5), (0.85, 2)),
    "toes": ((0.00, 12), (0.10, 1), (0.30, 1), (0.45, 14), (0.56, 38), (0.66, 16), (0.80, 10)),
}
_RUN = {
    "hip": ((0.00, 34), (0.15, 22), (0.36, -8), (0.45, -6), (0.60, 25), (0.74, 52), (0.88, 44)),
    "knee": ((0.00, 16), (0.14, 43), (0.30, 24), (0.38, 20), (0.52, 70), (0.66, 102), (0.80, 68), (0.93, 18)),
    "ankle": ((0.00, 6), (0.18, 23), (0.30, 6), (0.39, -22), (0.52, -10), (0.75, 2), (0.90, 4)),
    "toes": ((0.00, 10), (0.15, 2), (0.28, 20), (0.38, 34), (0.50, 12), (0.75, 8)),
}

PLANTED = (0.08, 0.58)
"""Share of the cycle since the foot's contact in which its ball stands on the floor."""
_LOADED = (0.04, 0.62)


@dataclass(frozen=True)
class Gait:
    """The body at one phase of the gait cycle, in degrees; the last dimension of a side's angles is left, right."""

    hip_flexion: Tensor
    knee_flexion: Tensor
    dorsiflexion: Tensor
    toe_extension: Tensor
    shoulder_flexion: Tensor
    elbow_flexion: Tensor
    pelvis_tilt: Tensor
    """(n,) forward lean of the pelvis."""
    pelvis_list: Tensor
    """(n,) drop of the pelvis to the left."""
    pelvis_turn: Tensor
    """(n,) turn of the pelvis to the left."""
    spine_twist: Tensor
    """(n,) turn of the shoulders to the left, relative to the pelvis."""


def gait(phase: Tensor, running: Tensor) -> Gait:
    """Joint angles of walking and running.

    Args:
        phase: (n,) fraction of the cycle since the left foot's contact; periodic with period 1.
        running: (n,) in [0, 1], from walking to running; between the two a jog.
    """
    sides = torch.stack([phase, phase + 0.5], -1)
    blend = running[:, None]

    def curve(name: str) -> Tensor:
        walk, run = (torch.from_numpy(curves[name](np.mod(sides.numpy(), 1.0))).to(phase) for curves in (_WALK_CURVES, _RUN_CURVES))
        return walk + (run - walk) * blend

    # the arm is furthest back when the foot of its side touches the ground
    arm = -torch.cos(2 * math.pi * (sides - 0.03))
    turn = -torch.cos(2 * math.pi * phase)
    return Gait(
        hip_flexion=curve("hip"),
        knee_flexion=curve("knee"),
        dorsiflexion=curve("ankle"),
        toe_extension=curve("toes"),
        shoulder_flexion=(4 + 19 * arm) + (-10 + 13 * arm) * blend,
        elbow_flexion=(20 + 11 * arm) + (68 + 4 * arm) * blend,
        pelvis_tilt=4 + 8 * running + (1 + running) * torch.cos(4 * math.pi * (phase - 0.1)),
        pelvis_list=(3.5 + 2 * running) * -torch.sin(2 * math.pi * (phase + 0.02)),
        pelvis_turn=(4 + 3 * running) * turn,
        spine_twist=(-9 - 10 * running) * turn,
    )


def load_shares(sides: Tensor) -> Tensor:
    """(n, 2) how much of the weight each foot carries, from the fractions (n, 2) of the cycle since its contact."""
    place = (sides - _LOADED[0]) / (_LOADED[1] - _LOADED[0])
    load = torch.where((place > 0) & (place < 1), torch.sin(math.pi * place), 0).square()
    return load / load.sum(-1, keepdim=True)


def _periodic(knots: tuple[tuple[float, float], ...]) -> CubicSpline:
    at, value = zip(*knots, (knots[0][0] + 1, knots[0][1]), strict=True)
    return CubicSpline(at, value, bc_type="periodic")


_WALK_CURVES = {name: _periodic(knots) for name, knots in _WALK.items()}
_RUN_CURVES = {name: _periodic(knots) for name, knots in _RUN.items()}
