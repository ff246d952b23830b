"""Trains a prior of poses or of motions from its YAML: `python train.py --config joint_flow --override training.learning_rate=1e-4`."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads collapse when anything else runs; read by torch at import

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from pytorch_lightning.plugins.environments import SLURMEnvironment

from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, run
from pose_priors.configs.interruption import UntilKilled, slurm_step
from pose_priors.configs.lightning import make_trainer
from pose_priors.configs.load import find_config
from pose_priors.configs.schema import ExperimentConfig, load_experiment
from pose_priors.configs.slurm import LAUNCHERS, layout, new_run
from pose_priors.priors.base import TrainablePrior
from pose_priors.priors.callbacks import AveragedWeights, RunName
from pose_priors.priors.checkpoint import describe, read_checkpoint
from pose_priors.priors.logging import make_logger
from pose_priors.priors.module import PriorModule

log = logging.getLogger("train")

# Apple's GPU has no float64, in which the priors keep their constants
_TRAINER = {
    "accelerator": "cpu" if torch.backends.mps.is_available() else "auto",
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 10,
    "enable_model_summary": False,
}


def main(arguments: Sequence[str] | None = None) -> Path:
    """Trains, and returns the path of the best checkpoint; with `--launcher slurm`, the path that it will have."""
    parser = Parser(description=__doc__)
    parser.add_argument("--config", required=True, help="the name of a file in configs/, or a path")
    parser.add_argument("--override", nargs="*", default=[], action="extend", metavar="KEY=VALUE", help="training.learning_rate=1e-4 ...")
    parser.add_argument("--resume", metavar="CKPT", help="go on from this checkpoint, usually checkpoints/NAME/last.ckpt")
    parser.add_argument("--launcher", choices=LAUNCHERS, help="train in a job of a Slurm cluster, or in processes beside this one")
    options = parser.parse_args(arguments)
    config = load_experiment(options.config, options.override)
    name = find_config(options.config).stem
    if options.resume:
        read_checkpoint(options.resume)  # before the data take their time
    if options.launcher is None:
        return fit(config, name, options.resume, slurm_step())
    from pose_priors.configs.launch import launch, results_of  # brings submitit, which only jobs need

    started = new_run(name)
    nodes, tasks = layout(config.trainer, config.slurm)
    call = (config, name, options.resume, started)
    jobs = launch(options.launcher, config.slurm, started, fit, [call], num_nodes=nodes, tasks_per_node=tasks)
    return results_of(jobs)[0] if options.launcher == "local" else _directory(config, name) / "best.ckpt"


def fit(config: ExperimentConfig, name: str, resume: str | None, started: str | None) -> Path:
    """Trains; if the run of the name `started` has been here before, goes on where it was."""
    directory = _directory(config, name)
    resume = _interrupted(directory, started) or resume
    slurm = _in_slurm()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"logging.checkpoint_dir: {directory} cannot be written to ({error.strerror}); give another folder") from error
    pl.seed_everything(config.seed, verbose=False)
    data = config.build_data()
    data.setup()
    if len(data.train_dataloader()) == 1:
        log.warning("training.batch_size=%d is about all that there is to learn from: one step an epoch", config.training.batch_size)
    prior = config.build_prior(data)
    if resume is not None:
        _check_resumable(resume, config, prior, data.fingerprint)
    prior.fit_statistics(data.training_sample())
    if config.trainer.get("precision") == "64-true":
        prior.double()  # before the averaged weights are copied from it
    module = PriorModule(prior, config.training, config.model_dump(mode="json"), data.fingerprint, config.seed)
    log.info("%s: %d parameters", name, sum(p.numel() for p in prior.parameters()))

    best = ModelCheckpoint(directory, "best", monitor="val/loss", save_last=True, enable_version_counter=False)
    callbacks: list[Callback] = [
        RunName(started),
        UntilKilled(),
        config.build_report(data),
        EarlyStopping("val/loss", patience=config.training.patience),
        LearningRateMonitor(),
        best,
    ]
    if config.trainer.get("enable_progress_bar", True):
        callbacks.append(RichProgressBar())
    if config.training.ema_decay:
        callbacks.insert(3, AveragedWeights(config.training.ema_decay))
    trainer = make_trainer(
        {**_TRAINER, **slurm, **config.trainer},
        max_epochs=config.training.max_epochs,
        gradient_clip_val=config.training.grad_clip_val,
        callbacks=callbacks,
        logger=make_logger(config.logging, name),
    )
    trainer.fit(module, data, ckpt_path=resume)
    if trainer.is_global_zero and best.best_model_score is not None:
        log.info("best checkpoint: %s (val/loss %.3f)", best.best_model_path, best.best_model_score)
    return Path(best.best_model_path)


def _directory(config: ExperimentConfig, name: str) -> Path:
    return Path(config.logging.checkpoint_dir or f"checkpoints/{name}")


def _interrupted(directory: Path, started: str | None) -> str | None:
    """The last checkpoint of the run of that name, if it has left one."""
    last = directory / "last.ckpt"
    try:
        if started is None or not last.is_file() or read_checkpoint(last).get("run") != started:
            return None
    except UserError:  # whatever it is, this code has not written it
        return None
    log.info("goes on from %s", last)
    return str(last)


def _in_slurm() -> dict[str, object]:
    """The Trainer's options in a job of Slurm: whoever queues it again, it goes on from `last.ckpt`, not from a file of Lightning's."""
    if not SLURMEnvironment.detect():
        return {}
    if slurm_step() is None and int(os.environ["SLURM_NTASKS"]) > 1:
        raise UserError(f"a job of {os.environ['SLURM_NTASKS']} tasks, of which only one was started: put srun before python")
    try:
        return {"plugins": [SLURMEnvironment(auto_requeue=False)]}
    except RuntimeError as error:  # without --ntasks-per-node it cannot tell who is where
        raise UserError(f"the job of Slurm: {' '.join(str(error).split())}") from error


def _check_resumable(resume: str, config: ExperimentConfig, prior: TrainablePrior, fingerprint: str) -> None:
    """Raises `UserError` if the checkpoint is of another model or other data."""
    entry = read_checkpoint(resume)["prior"]
    of_this_run = describe(prior, config.model_dump(mode="json"), fingerprint)
    now, then = ({"model": e["experiment"]["model"], "joints": e["joints"], "data": e["data_fingerprint"]} for e in (of_this_run, entry))
    for part in now:
        if now[part] != then[part]:
            a, b = then[part], now[part]
            if isinstance(a, dict):
                a, b = ({key: side.get(key) for key in b if a.get(key) != b[key]} for side in (a, b))
            raise UserError(f"--resume {resume}: its {part} differs, {a}, from this run's, {b}: resume with the same config")


if __name__ == "__main__":
    run(main)
