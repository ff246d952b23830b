"""The kinds of priors of motions, by their configs, and how long the windows are that they learn from."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pose_priors.priors.motion.cvae import MotionCVAE, MotionCVAEConfig
from pose_priors.priors.motion.flow.prior import MotionFlow, MotionFlowConfig
from pose_priors.priors.motion.negatives import num_source_frames

AnyMotionPrior = MotionCVAE | MotionFlow
MotionPriorConfig = Annotated[MotionCVAEConfig | MotionFlowConfig, Field(discriminator="kind")]
"""Told apart by `kind`."""


def window_frames(config: MotionCVAEConfig | MotionFlowConfig) -> int:
    """Frames of the windows that training needs: those of the prior, or those that its negatives are made of."""
    return config.num_frames if isinstance(config, MotionFlowConfig) else num_source_frames(config.window + 2)
