"""Pose priors: energies over SMPL-X poses that can be trained, compared, sampled and used as regularisers.

`load_prior(path)` is the door for programs outside. A new prior is one file, one line in `PriorConfig`, and one YAML.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from priors.base import DensityPrior, Prior
from priors.checkpoint import load_prior
from priors.gaussian import GaussianConfig
from priors.global_flow import GlobalFlowConfig
from priors.hand_vae import HandVAEConfig
from priors.joint_flow import JointFlowConfig

PriorConfig = Annotated[GaussianConfig | JointFlowConfig | GlobalFlowConfig | HandVAEConfig, Field(discriminator="kind")]
"""The registry: the union of all priors' configs, told apart by `kind`."""

__all__ = ["DensityPrior", "Prior", "PriorConfig", "load_prior"]
