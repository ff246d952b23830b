"""The whole of an experiment: composition only, every section's fields stand beside the class that they configure."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from configs.base import Config
from datamodules.base import DataConfig
from priors import PriorConfig
from priors.logging import LoggingConfig
from priors.module import TrainingConfig


class ExperimentConfig(Config):
    """A prior, its data, and how it is trained and watched."""

    model: PriorConfig
    data: DataConfig = DataConfig()
    training: TrainingConfig
    logging: LoggingConfig = LoggingConfig()
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Passed on to Lightning's Trainer: `devices`, `accelerator`, `num_nodes`, `strategy`, `precision`, ..."""
    seed: int = Field(0, ge=0)
