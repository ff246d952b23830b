"""Where a training run is watched, and where it leaves its checkpoints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from pose_priors.configs.base import Config
from pose_priors.configs.writing import written_aside
from pose_priors.figures import Figure


class LoggingConfig(Config):
    """Where a run is logged and leaves its checkpoints."""

    logger: Literal["tensorboard", "wandb", "csv"] = "tensorboard"
    log_dir: str = "lightning_logs"
    """Logs go to `<log_dir>/<run name>`."""
    checkpoint_dir: str | None = None
    """The folder that gets `best.ckpt` and `last.ckpt`; None for `checkpoints/<run name>`."""
    project: str = "pose-priors"
    """Weights & Biases' project."""
    offline: bool = False
    """Weights & Biases without network or account."""
    figures_every_n_epochs: int = Field(5, ge=1)


def make_logger(config: LoggingConfig, name: str) -> Logger:
    """Lightning's logger for a run of that name."""
    if config.logger == "tensorboard":
        return TensorBoardLogger(config.log_dir, name=name)
    if config.logger == "csv":
        return CSVLogger(config.log_dir, name=name)
    os.environ.setdefault("WANDB_SILENT", "true")
    Path(config.log_dir).mkdir(parents=True, exist_ok=True)
    return WandbLogger(name=name, save_dir=config.log_dir, project=config.project, offline=config.offline)


def log_figure(logger: Logger, name: str, figure: Figure, step: int) -> None:
    """Shows a figure where the logger shows figures; a CSV logger gets a PNG beside its table."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_figure(name, figure, step)
    elif isinstance(logger, WandbLogger):
        logger.log_image(name, [figure], step=step)
    elif logger.log_dir is not None:
        path = Path(logger.log_dir) / "figures" / f"{name.replace('/', '_')}_{step:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as aside:
            figure.savefig(aside)
