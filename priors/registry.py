"""The registry: every kind of prior, by its config. A new prior is one file, one line here, and one YAML."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from pose_priors.priors.ensemble import EnsembleConfig
from pose_priors.priors.flow_matching import FlowMatchingConfig
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.global_flow import GlobalFlowConfig
from pose_priors.priors.hand_vae import HandVAEConfig
from pose_priors.priors.joint_flow import JointFlowConfig
from pose_priors.priors.mixture import MixtureConfig
from pose_priors.priors.motion.cvae import MotionCVAEConfig
from pose_priors.priors.motion.flow.prior import MotionFlowConfig

# fmt: off
_OfPoses = (
    GaussianConfig
    | JointFlowConfig
    | GlobalFlowConfig
    | EnsembleConfig
    | FlowMatchingConfig
    | HandVAEConfig
    | MixtureConfig
)
# fmt: on

PriorConfig = Annotated[_OfPoses, Field(discriminator="kind")]
"""The configs of all pose priors, told apart by `kind`."""

AnyPriorConfig = Annotated[_OfPoses | MotionCVAEConfig | MotionFlowConfig, Field(discriminator="kind")]
"""The configs of all priors, of poses and of motions, that a checkpoint may hold."""

KINDS: tuple[str, ...] = tuple(
    kind
    for config in (*get_args(_OfPoses), MotionCVAEConfig, MotionFlowConfig)
    for kind in get_args(config.model_fields["kind"].annotation)
)
"""Of our own priors; those of other packages come in through `priors.foreign`."""
