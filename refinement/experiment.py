"""The whole configuration of `refine.py`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from configs.base import Config
from refinement.config import RefinementConfig


class InputConfig(Config):
    """What is refined."""

    path: str | None = None
    """The folder of a sequence, with those of stages 1 to 4 in it, or a folder of such folders; null for the built-in sequence."""
    fps: float | None = Field(None, gt=0)
    """Frames a second; null for what stage 1 says."""
    keypoint_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the keypoints of each person and frame that is dropped, to see how much rests on them."""
    seed: int = Field(0, ge=0)
    """Of the dropout, of the search for the floor, and of the built-in sequence."""


class OutputConfig(Config):
    """Where the result goes; nothing else is written to."""

    path: str | None = None
    """Null for `5_refinement` in the folder of the sequence. With many sequences, the folder that gets one folder for each."""


class PriorPaths(Config):
    """Trained priors that say what poses are like."""

    body: str | None = None
    """A checkpoint of a pose prior; null for the distance from the zero pose."""
    hands: str | None = None
    """A checkpoint of a hand prior; null to leave hands as they are."""


class BodyModelConfig(Config):
    """Whether bodies have betas."""

    path: str | None = None
    """A file or folder in smplx's format; null for the skeletons that stage 3 shows."""


class MotionPriorConfig(Config):
    """What motions are like."""

    path: None = None
    """No motion prior can be loaded yet; smoothness takes its place."""


class RefinementLoggingConfig(Config):
    """How a refinement is watched."""

    logger: Literal["tensorboard", "csv"] | None = None
    """Where the terms are logged beside `optimization_metrics.json`."""
    log_dir: str = "lightning_logs"


class RefinementExperiment(Config):
    """A refinement: of what, to where, with which priors, how, and how it is watched."""

    input: InputConfig = InputConfig()
    output: OutputConfig = OutputConfig()
    prior: PriorPaths = PriorPaths()
    body_model: BodyModelConfig = BodyModelConfig()
    motion_prior: MotionPriorConfig = MotionPriorConfig()
    refinement: RefinementConfig = RefinementConfig()
    logging: RefinementLoggingConfig = RefinementLoggingConfig()
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Passed on to Lightning's Trainer: `accelerator`, `devices`, `enable_progress_bar`, ..."""
