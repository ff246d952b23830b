"""Small priors for clean and score: of clips, fitted to somebody who walks; of poses, fitted to the same."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from walking_files import walker

from pose_priors.body.builtin import rest_joints
from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import CONTACT_JOINTS
from pose_priors.datamodules.clips import SMPL_STATURE
from pose_priors.priors import MotionFlow, MotionFlowConfig
from pose_priors.priors.checkpoint import describe
from pose_priors.priors.gaussian import Gaussian, GaussianConfig

WINDOW = 40
_CONFIG = MotionFlowConfig(kind="motion_flow", num_frames=WINDOW, hidden=16, num_blocks=1, num_heads=2, num_steps=2, dropout=0.0)


@lru_cache
def small_motion_prior(steps: int = 30) -> MotionFlow:
    """A prior of clips, trained for a few steps on walks of several speeds."""
    torch.manual_seed(0)
    rest = rest_joints(SMPL_STATURE)[:22].float()
    walks = [walker(4.0, 30.0, speed) for speed in (0.6, 0.7, 0.8, 0.9, 1.0)]
    starts = range(0, 120 - WINDOW, 4)
    pose = np.stack([pose[first : first + WINDOW, :22] for pose, _ in walks for first in starts])
    pelvis = np.stack([pelvis[first : first + WINDOW] for _, pelvis in walks for first in starts])
    contacts = torch.zeros(*pose.shape[:2], len(CONTACT_JOINTS), dtype=torch.bool)
    windows = MotionWindows(torch.from_numpy(pose).float(), torch.from_numpy(pelvis).float(), rest.expand(len(pose), -1, -1), contacts)
    prior = MotionFlow(_CONFIG)
    prior.fit_statistics(windows)
    optimizer = torch.optim.Adam(prior.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = prior.loss(windows)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return prior.eval().requires_grad_(False)


@lru_cache
def small_pose_prior() -> Gaussian:
    """A Gaussian about the poses of a walk."""
    poses = torch.from_numpy(walker(4.0, 30.0)[0]).float()
    torch.manual_seed(0)
    noisy = poses.repeat(4, 1, 1) + 0.05 * torch.randn(4 * len(poses), 55, 3)
    prior = GaussianConfig(kind="gaussian").build(range(1, 22))
    prior.fit_statistics(noisy)
    return prior.eval().requires_grad_(False)


def saved(prior: MotionFlow | Gaussian, path: Path) -> Path:
    """A checkpoint of a prior."""
    experiment = {"model": prior.config.model_dump(mode="json"), "data": {}}
    weights = {f"prior.{name}": value for name, value in prior.state_dict().items()}
    torch.save({"prior": describe(prior, experiment, "0" * 16), "state_dict": weights}, path)
    return path
