"""Priors: energies over SMPL-X poses, and over motions, that can be trained, compared, sampled and used as regularisers.

`load_prior(path)` is the door for programs outside. A new prior is one file, one line in a union below, and one YAML.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pose_priors.priors.base import DensityPrior, Likelihood, MotionPrior, Prior, TrainablePrior
from pose_priors.priors.checkpoint import load_prior
from pose_priors.priors.ensemble import EnsembleConfig
from pose_priors.priors.flow_matching import FlowMatchingConfig
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.global_flow import GlobalFlowConfig
from pose_priors.priors.hand_vae import HandVAEConfig
from pose_priors.priors.joint_flow import JointFlowConfig
from pose_priors.priors.mixture import MixtureConfig
from pose_priors.priors.motion.cvae import MotionCVAE, MotionCVAEConfig

_OfPoses = GaussianConfig | JointFlowConfig | GlobalFlowConfig | EnsembleConfig | FlowMatchingConfig | HandVAEConfig | MixtureConfig

PriorConfig = Annotated[_OfPoses, Field(discriminator="kind")]
"""The registry: the union of all pose priors' configs, told apart by `kind`."""

AnyPriorConfig = Annotated[_OfPoses | MotionCVAEConfig, Field(discriminator="kind")]
"""The configs of all priors, of poses and of motions, that a checkpoint may hold."""

__all__ = [
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
