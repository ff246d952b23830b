"""What networks make of a transition between two states of a moving body."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import CHANGE, CHANGE_DIM, FPS, NUM_JOINTS, STATE, STATE_DIM
from pose_priors.body.skeleton import PARENTS
from pose_priors.priors.motion.density import Moments
from pose_priors.priors.networks.precision import canonical, widened

# Changes of a part of the state that follow from a velocity in it.
_INTEGRATED = {"trans": "trans_vel", "root_orient": "root_orient_vel"}
_ABOVE = list(PARENTS[1:NUM_JOINTS])
_STILL_M = 1e-3  # steps of a bone's end about its joint below which its direction says little
_STEP_LIMIT = 0.9  # of a bone's length
_CHANGE_LIMIT = 0.3  # radians by which a bone's step may become longer or shorter


class Transition(NamedTuple):
    """What the networks make of N transitions.

    Attributes:
        before: (N, 339) in its own frame.
        residual: (N, 207) change of state less what goes on at the same velocity.
        inputs: (N, 339) `before` as the networks see it.
        posterior, prior: mean and log-variance of the latent, (N, Z) each.
    """

    before: Tensor
    residual: Tensor
    inputs: Tensor
    posterior: Moments
    prior: Moments


def check_windows(windows: object) -> None:
    """Raises `TypeError` where something else is scored, as poses are by other priors."""
    if not isinstance(windows, MotionWindows):
        raise TypeError(
            f"a prior of motions scores MotionWindows, and states (*batch, T, {STATE_DIM}) by other calls; got {type(windows).__name__}. "
            "Poses (*batch, 55, 3) are for a prior of poses"
        )


def in_precision(windows: MotionWindows, dtype: torch.dtype) -> MotionWindows:
    """Windows of bodies in any pose, canonical, in another type; raises as `check_windows`."""
    check_windows(windows)
    pelvis, rest = widened(windows.pelvis, dtype), widened(windows.rest, dtype)
    return MotionWindows(canonical(windows.pose, dtype), pelvis, rest, windows.contacts)


def constant_velocity(own: Tensor) -> Tensor:
    """The change of state (N, 207) of what goes on at the same velocity: the root straight on, bones about their joints."""
    change = own.new_zeros(len(own), CHANGE_DIM)
    for name, velocity in _INTEGRATED.items():
        change[:, CHANGE[name]] = own[:, STATE[velocity]] / FPS
    joints, steps = (own[:, STATE[name]].unflatten(-1, (NUM_JOINTS, 3)) for name in ("joints", "joints_vel"))
    steps = steps / FPS
    around = turned(joints[:, 1:] - joints[:, _ABOVE], steps[:, 1:] - steps[:, _ABOVE])
    moved = [steps[:, 0]]
    for bone, parent in enumerate(_ABOVE):
        moved.append(moved[parent] + around[:, bone])
    change[:, CHANGE["joints"]] = torch.stack(moved, 1).flatten(1)
    return change


def turned(bones: Tensor, steps: Tensor) -> Tensor:
    """How bones (..., 3) change in the next frame that move by (..., 3) a frame and keep their lengths.

    They go on in the plane that they move in. A velocity is a central difference, s = (b+ - b-) / 2, and |b-| = |b| = |b+|: hence
    <b+, s> = |s|^2, which in that plane is a turn of asin(|s| / |b|) less the angle of s from the perpendicular of b. So a bone that speeds
    up or slows down is known by a step that is not quite perpendicular to it.
    """
    length = torch.linalg.vector_norm(bones, dim=-1, keepdim=True).clamp_min(_STILL_M)
    along = (steps * bones).sum(-1, keepdim=True) / length
    across = steps - along / length * bones
    square = across.square().sum(-1, keepdim=True)
    size = (square + 1e-12).sqrt()
    lag = _CHANGE_LIMIT * torch.tanh(along * size / (square + _STILL_M**2) / _CHANGE_LIMIT)
    angle = torch.asin((size / length).clamp_max(_STEP_LIMIT)) - lag
    change: Tensor = bones * (angle.cos() - 1) + across * (length * angle.sin() / size)
    return change
