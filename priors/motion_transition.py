"""What networks make of a transition between two states of a moving body."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from body.motion_state import CHANGE, CHANGE_DIM, FPS, STATE
from priors.motion_density import Moments

# Changes of a part of the state that follow from a velocity in it.
_CARRIED = {"trans": "trans_vel", "root_orient": "root_orient_vel", "joints": "joints_vel"}


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


def carried(own: Tensor) -> Tensor:
    """The change of state (N, 207) of what goes on at the same velocity."""
    change = own.new_zeros(len(own), CHANGE_DIM)
    for name, velocity in _CARRIED.items():
        change[:, CHANGE[name]] = own[:, STATE[velocity]] / FPS
    return change
