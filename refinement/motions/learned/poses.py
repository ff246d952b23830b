"""How usual poses are to a prior of poses: the share of its own poses that have less energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.skeleton import NUM_JOINTS, PARTS
from pose_priors.priors import Prior
from pose_priors.refinement.motions.motion import Motion, rotvec_of

_NUM_DRAWN, _BATCH = 4096, 1024


@dataclass(frozen=True)
class PoseReference:
    """A prior of poses, and the energies of poses that it draws: they stand for its training data, which no checkpoint holds.

    Attributes:
        prior: of which the body's joints count; root and hands are held at its default pose, in its own poses, too.
        energies: (M,) nats, ascending.
    """

    prior: Prior
    energies: np.ndarray

    @staticmethod
    def of(prior: Prior) -> PoseReference:
        """The reference of a prior, of 4,096 draws with seed 0."""
        generator = torch.Generator(prior.default_pose.device).manual_seed(0)
        drawn = prior.sample(_NUM_DRAWN, generator)
        return PoseReference(prior, np.sort(_energies(prior, drawn)))

    def percentiles(self, motion: Motion) -> np.ndarray:
        """(T,) in [0, 100]: how many of a hundred poses that the prior draws have less energy than the pose of each frame."""
        poses = torch.zeros(len(motion), NUM_JOINTS, 3)
        rotvec = torch.from_numpy(rotvec_of(motion.quat))
        poses[:, : rotvec.shape[1]] = rotvec.float()
        return 100 * np.searchsorted(self.energies, _energies(self.prior, poses)) / len(self.energies)


@torch.no_grad()
def _energies(prior: Prior, poses: Tensor) -> np.ndarray:
    """(N,) nats of the body's joints of poses (N, 55, 3)."""
    others = [joint for joint in range(NUM_JOINTS) if joint not in PARTS["body"]]
    poses = poses.to(prior.default_pose).clone()
    poses[:, others] = prior.default_pose[others]
    return np.concatenate([prior.energy(some).double().cpu().numpy() for some in poses.split(_BATCH)])
