"""Trains a pose prior from its YAML: `python train.py --config joint_flow --override training.learning_rate=1e-4`."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads collapse when anything else runs; read by torch at import

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor

from configs.base import UserError
from configs.cli import Parser, run
from configs.load import find_config, load_config
from configs.schema import ExperimentConfig
from datamodules.base import PoseDataModule
from datamodules.view import PoseView
from priors.base import Prior
from priors.callbacks import AveragedWeights, SampleReport
from priors.checkpoint import read_checkpoint
from priors.logging import make_logger
from priors.module import PriorModule

log = logging.getLogger("train")

# Apple's GPU has no float64, in which the priors keep their constants
_TRAINER = {
    "accelerator": "cpu" if torch.backends.mps.is_available() else "auto",
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 10,
    "enable_model_summary": False,
}
_NUM_WATCHED = 512  # validation poses that samples are compared with


def main(arguments: Sequence[str] | None = None) -> Path:
    """Trains, and returns the path of the best checkpoint."""
    parser = Parser(description=__doc__)
    parser.add_argument("--config", required=True, help="the name of a file in configs/, or a path")
    parser.add_argument("--override", nargs="*", default=[], action="extend", metavar="KEY=VALUE", help="training.learning_rate=1e-4 ...")
    parser.add_argument("--resume", metavar="CKPT", help="go on from this checkpoint, usually checkpoints/NAME/last.ckpt")
    options = parser.parse_args(arguments)
    config = load_config(ExperimentConfig, options.config, options.override)
    if options.resume:
        read_checkpoint(options.resume)  # before the data take their time
    return fit(config, find_config(options.config).stem, options.resume)


def fit(config: ExperimentConfig, name: str, resume: str | None) -> Path:
    directory = Path(config.logging.checkpoint_dir or f"checkpoints/{name}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"logging.checkpoint_dir: {directory} cannot be written to ({error.strerror}); give another folder") from error
    pl.seed_everything(config.seed, verbose=False)
    data = PoseDataModule(config.data, config.training.batch_size, config.seed)
    data.setup()
    if config.training.batch_size >= len(data.train_poses):
        log.warning(
            "training.batch_size=%d takes all %d poses at once: one step an epoch", config.training.batch_size, len(data.train_poses)
        )
    prior = config.model.build(data.joint_indices)
    if resume is not None:
        _check_resumable(resume, config, prior, data.fingerprint)
    prior.start(data.training_sample())
    if config.trainer.get("precision") == "64-true":
        prior.double()  # before the averaged weights are copied from it
    module = PriorModule(prior, config.training, config.model_dump(mode="json"), data.fingerprint, config.seed)
    log.info("%s: %d parameters over %d joints", name, sum(p.numel() for p in prior.parameters()), prior.num_joints)

    best = ModelCheckpoint(directory, "best", monitor="val/loss", save_last=True, enable_version_counter=False)
    callbacks: list[Callback] = [
        SampleReport(_spread(data.val_poses), config.logging.figures_every_n_epochs),
        EarlyStopping("val/loss", patience=config.training.patience),
        LearningRateMonitor(),
        best,
    ]
    if config.trainer.get("enable_progress_bar", True):
        callbacks.append(RichProgressBar())
    if config.training.ema_decay:
        callbacks.insert(1, AveragedWeights(config.training.ema_decay))
    try:
        trainer = pl.Trainer(
            max_epochs=config.training.max_epochs,
            gradient_clip_val=config.training.grad_clip_val,
            callbacks=callbacks,
            logger=make_logger(config.logging, name),
            **{**_TRAINER, **config.trainer},
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}; its keys are passed to Lightning's Trainer") from error
    trainer.fit(module, data, ckpt_path=resume)
    if trainer.is_global_zero and best.best_model_score is not None:
        log.info("best checkpoint: %s (val/loss %.3f)", best.best_model_path, best.best_model_score)
    return Path(best.best_model_path)


def _check_resumable(resume: str, config: ExperimentConfig, prior: Prior, fingerprint: str) -> None:
    """Raises `UserError` if the checkpoint is of another model or other data."""
    entry = read_checkpoint(resume)["prior"]
    now = {"model": config.model.model_dump(mode="json"), "joints": list(prior.joints), "data": fingerprint}
    then = {"model": entry["experiment"]["model"], "joints": entry["joints"], "data": entry["data_fingerprint"]}
    for part in now:
        if now[part] != then[part]:
            a, b = then[part], now[part]
            if isinstance(a, dict):
                a, b = ({key: side.get(key) for key in b if a.get(key) != b[key]} for side in (a, b))
            raise UserError(f"--resume {resume}: its {part} differs, {a}, from this run's, {b}: resume with the same config")


def _spread(poses: PoseView) -> Tensor:
    """Some poses from all over a set, (m, 55, 3)."""
    return torch.as_tensor(poses[np.unique(np.linspace(0, len(poses) - 1, _NUM_WATCHED).astype(int))])


if __name__ == "__main__":
    run(main)
