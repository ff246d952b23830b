"""Priors: energies over SMPL-X poses, and over motions, that can be trained, compared, sampled and used as regularisers.

`load_prior(path)` is the door for programs outside. A new prior is one file, one line in `priors.registry`, and one YAML.
"""

from __future__ import annotations

from pose_priors.priors.base import DensityPrior, Likelihood, MotionPrior, Prior, TrainablePrior
from pose_priors.priors.checkpoint import load_prior
from pose_priors.priors.motion.cvae import MotionCVAE, MotionCVAEConfig
from pose_priors.priors.registry import KINDS, AnyPriorConfig, PriorConfig

__all__ = [
    "KINDS",
    "AnyPriorConfig",
    "DensityPrior",
    "Likelihood",
    "MotionCVAE",
    "MotionCVAEConfig",
    "MotionPrior",
    "Prior",
    "PriorConfig",
    "TrainablePrior",
    "load_prior",
]
