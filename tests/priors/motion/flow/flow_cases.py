"""A small prior of clips, trained for a few steps on synthetic motions, and states to ask it about."""

from __future__ import annotations

from functools import lru_cache

import torch
from motion_windows import synthetic_windows
from torch import Tensor

from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import make_states
from pose_priors.priors.motion.flow.prior import MotionFlow, MotionFlowConfig
from pose_priors.priors.motion.flow.view import motion_of_windows

FRAMES = 24
CONFIG = MotionFlowConfig(kind="motion_flow", num_frames=FRAMES, hidden=16, num_blocks=1, num_heads=2, num_steps=4, dropout=0.0)


@lru_cache
def _weights(steps: int) -> dict[str, Tensor]:
    torch.manual_seed(0)
    prior = MotionFlow(CONFIG)
    windows = synthetic_windows(48, FRAMES)
    prior.fit_statistics(windows)
    optimizer = torch.optim.Adam(prior.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = prior.loss(windows)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return prior.state_dict()


def small_prior(steps: int = 30) -> MotionFlow:
    """In double precision, frozen; after no steps it is the Gaussian process alone."""
    prior = MotionFlow(CONFIG)
    prior.load_state_dict(_weights(steps))
    return prior.double().eval().requires_grad_(False)


def some_states(size: int = 3, num_frames: int = FRAMES, seed: int = 1) -> Tensor:
    """(size, num_frames, 339) float64 of synthetic motions."""
    return states_of(synthetic_windows(size, num_frames, seed))


def states_of(windows: MotionWindows) -> Tensor:
    """(B, T, 339) float64 of all frames of windows."""
    return make_states(windows.pose.double(), motion_of_windows(windows.to(torch.float64)).joints)
