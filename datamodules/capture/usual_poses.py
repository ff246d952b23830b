"""How people usually hold themselves, as far as the built-in bodies say: a Gaussian of the joints' rotations."""

from __future__ import annotations

from functools import lru_cache

import torch

from pose_priors.body.fitting.points import PoseGaussian
from pose_priors.datamodules.synthetic.poses import synthetic_poses

_NUM, _SEED = 6000, 5


@lru_cache(maxsize=2)
def usual_poses(num_joints: int) -> PoseGaussian:
    """The Gaussian of the first joints of SMPL-X, the root's left out: of the built-in bodies and of their mirror images, so left and
    right are alike."""
    return PoseGaussian.of(synthetic_poses(_NUM, seed=_SEED)[:, :num_joints].to(torch.float64))
