"""A motion at the rate at which priors of motions see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.motion import posed_joints
from pose_priors.body.motion_state import FPS
from pose_priors.body.rotations import slerp
from pose_priors.refinement.motions.motion import Motion, rotvec_of


@dataclass(frozen=True)
class Sampled:
    """N frames at 30 a second.

    Attributes:
        at: (N,) where each lies among the frames of the motion.
        rotvec: (N, 22, 3) canonical rotation vectors, z up.
        joints: (N, 22, 3) metres, the floor at z = 0.
    """

    at: np.ndarray
    rotvec: Tensor
    joints: Tensor

    @property
    def between(self) -> tuple[np.ndarray, np.ndarray]:
        """The frames of the motion that each is made of."""
        return np.floor(self.at + 1e-6).astype(int), np.ceil(self.at - 1e-6).astype(int)


def sampled(motion: Motion) -> Sampled:
    """A motion at 30 frames a second: rotations by slerp, the path linearly (double precision)."""
    num = int((len(motion) - 1) * FPS / motion.fps + 1e-6) + 1
    at = np.minimum(np.arange(num) * motion.fps / FPS, len(motion) - 1)
    rotvec, pelvis = torch.from_numpy(rotvec_of(motion.quat)), torch.from_numpy(motion.pelvis)
    left = np.floor(at).astype(int)
    right = np.minimum(left + 1, len(motion) - 1)
    share = torch.from_numpy(at - left)[:, None]
    rotvec = slerp(rotvec[left], rotvec[right], share[..., None])
    pelvis = pelvis[left] + (pelvis[right] - pelvis[left]) * share
    return Sampled(at, rotvec, posed_joints(rotvec, pelvis, torch.from_numpy(motion.rest)))
