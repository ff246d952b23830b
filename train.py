"""Trains a prior of poses or of motions from its YAML: `python train.py --config joint_flow --override training.learning_rate=1e-4`."""

from __future__ import annotations

import gc
import logging
import os
import shlex
import signal
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads collapse when anything else runs; read by torch at import
if __name__ == "__main__":
    gc.disable()  # until `run`: what is imported stays, and looking through it for garbage took a sixth of the time

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning.callbacks import Callback, ProgressBar

from pose_priors.configs.base import UserError, reason_of
from pose_priors.configs.cli import Parser, run
from pose_priors.configs.fitting import UntilKilled, WholeCheckpoints, make_trainer, told
from pose_priors.configs.interruption import is_first_process, process_group, slurm_step
from pose_priors.configs.keys import about_keys
from pose_priors.configs.load import find_config
from pose_priors.configs.loggers import ConfigLog, finished
from pose_priors.configs.schema import ExperimentConfig, MotionExperimentConfig, load_experiment
from pose_priors.configs.slurm import LAUNCHERS, layout, new_run
from pose_priors.datamodules.motion_data import MotionDataConfig
from pose_priors.datamodules.working_folder import located
from pose_priors.priors.checkpoint import read_checkpoint, take_flow_from
from pose_priors.priors.evaluation.card import write_card
from pose_priors.priors.module import PriorModule
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.training.budget import budget, check_done, in_words
from pose_priors.priors.training.callbacks import AveragedWeights, LearningRate, RunName
from pose_priors.priors.training.compiling import compiles
from pose_priors.priors.training.estimate import time_of
from pose_priors.priors.training.folder import BEST, LAST, CheckpointFolder
from pose_priors.priors.training.logging import check_log_dir, run_logger
from pose_priors.priors.training.precision import in_double, matmul_precision
from pose_priors.priors.training.progress import progress
from pose_priors.priors.training.resuming import check_same, resumable
from pose_priors.priors.training.saving import BestCheckpoint, LastCheckpoint, Patience
from pose_priors.priors.training.smoothing import SmoothedBootstrap

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
    pages = ("docs/training.md", "docs/priors.md", "docs/data.md", "docs/motion.md")
    parser = Parser(description=__doc__, about=partial(about_keys, ExperimentConfig, MotionExperimentConfig, pages=pages))
    parser.add_argument("--config", required=True, help="the name of a YAML that comes with pose-priors, or a path")
    parser.add_argument("--override", nargs="*", default=[], action="extend", metavar="KEY=VALUE", help="training.learning_rate=1e-4 ...")
    parser.add_argument("--resume", metavar="CKPT", help="go on from this checkpoint, usually checkpoints/NAME/last.ckpt")
    parser.add_argument("--launcher", choices=LAUNCHERS, help="train in a job of a Slurm cluster, or in processes beside this one")
    options = parser.parse_args(arguments)
    config = _with_data(load_experiment(options.config, options.override))
    name = find_config(options.config).stem
    in_double(config.trainer)
    if options.resume:
        resumable(options.resume, config.model_dump(mode="json"))  # before the data take their time
    command = ["python", "train.py", "--config", options.config, *(["--override", *options.override] if options.override else [])]
    if options.launcher is None:
        return fit(config, name, options.resume, slurm_step(), shlex.join(command), options.override)
    from pose_priors.configs.launch import launch, results_of  # brings submitit, which only jobs need

    started = new_run(name)
    nodes, tasks = layout(config.trainer, config.slurm)
    call = (config, name, options.resume, started, shlex.join([*command, "--launcher", options.launcher]), options.override)
    jobs = launch(options.launcher, config.slurm, started, fit, [call], num_nodes=nodes, tasks_per_node=tasks)
    return results_of(jobs)[0] if options.launcher == "local" else _directory(config, name) / BEST


def fit(
    config: ExperimentConfig,
    name: str,
    resume: str | None = None,
    started: str | None = None,
    command: str = "the same call",
    overrides: Sequence[str] = (),
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Trains; if the run of the name `started` has been here before, goes on where it was.

    Args:
        config, name: the experiment, and what it is called.
        resume: a checkpoint to go on from, or None.
        started: what Slurm calls the run, or None.
        command: what the user called, for what is said of going on.
        overrides: `key=value` that tell the run from others of its name, for the name of its logs.
        callbacks: of the caller's own, which Lightning calls after ours.
    """
    config = _with_data(config)
    check_log_dir(config.logging)
    directory = _directory(config, name)
    resume = _interrupted(directory, started) or resume
    folder = CheckpointFolder(directory, started or f"{name}-{process_group()}", None if resume is None else Path(resume))
    first = is_first_process()
    if not first:
        folder.follow()
    with folder.owned() if first else nullcontext():
        try:
            return _fit(config, name, folder, started, command, overrides, callbacks)
        except KeyboardInterrupt as error:
            latest = folder.last if folder.has_saved else folder.resumed
            raise KeyboardInterrupt(_how_to_go_on(command, latest) if latest else "nothing was saved yet: start it again") from error
        except UserError as error:
            if not folder.has_saved:
                raise
            raise UserError(f"{error}; {_how_to_go_on(command, folder.last)}") from error


def _with_data(config: ExperimentConfig) -> ExperimentConfig:
    """The experiment with the data that it has if it names none, which are told in one line."""
    data, line = located(config.data, Path(), "motions" if isinstance(config.data, MotionDataConfig) else "poses")
    if line is not None and is_first_process():
        log.warning("%s", line)
    return config.model_copy(update={"data": data})


def _fit(
    config: ExperimentConfig,
    name: str,
    folder: CheckpointFolder,
    started: str | None,
    command: str,
    overrides: Sequence[str],
    own: Sequence[Callback],
) -> Path:
    slurm, is_trial = _in_slurm(), bool(config.trainer.get("fast_dev_run"))
    pl.seed_everything(config.seed, verbose=False)
    data = config.build_data()
    data.setup()
    given = config.training
    config = config.model_copy(update={"training": given.for_rows(data.num_rows[0])})
    experiment, training = config.model_dump(mode="json"), config.training
    assert training.batch_size != "auto"
    data.batch_size, data.most_validated = training.batch_size, training.validation_rows
    if len(data.train_dataloader()) == 1:
        log.warning("training.batch_size=%d is about all that there is to learn from: one step an epoch", training.batch_size)
    prior = config.build_prior(data)
    before = None
    if folder.resumed is not None:
        before = resumable(folder.resumed, experiment)
        check_same(folder.resumed, before, prior, experiment, data.fingerprint)
    sample = data.training_sample()
    prior.fit_statistics(sample)
    if isinstance(prior, MotionFlow) and prior.config.flow is not None:
        take_flow_from(prior, prior.config.flow)
    smoothing = SmoothedBootstrap(prior, share, training.batch_size, sample, config.seed) if (share := training.smoothed_share) else None
    if in_double(config.trainer):
        prior.double()  # before the averaged weights are copied from it
    module = PriorModule(prior, training, experiment, data.fingerprint, config.seed, smoothing)
    log.info("%s: %d parameters", name, sum(p.numel() for p in prior.parameters()))

    best = BestCheckpoint(folder)
    callbacks: list[Callback] = [
        RunName(started, command),
        ConfigLog(experiment),
        UntilKilled(),
        config.build_report(data),
        Patience(training.patience),
        LearningRate(),
        best,
        LastCheckpoint(folder, training.save_every_minutes),
    ]
    shown = config.trainer.get("enable_progress_bar", True)
    callbacks.extend([progress()] if shown else [])
    # where lines are shown, or Lightning adds a bar of its own
    bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
    callbacks.extend(own)
    if training.ema_decay:
        callbacks.insert(4, AveragedWeights(training.ema_decay))
    with finished(run_logger(config.logging, name, overrides)) as logger:
        trainer = make_trainer(
            {**_TRAINER, **config.trainer, "enable_progress_bar": bar},
            max_epochs=1,  # until it is known how many there are
            gradient_clip_val=training.grad_clip_val,
            callbacks=callbacks,
            logger=logger,
            plugins=[*slurm, WholeCheckpoints(folder.prepare)],
        )
        data.trainer = trainer  # how many processes share the rows
        length = budget(training, data.train_dataloader().batches_a_pass, trainer.accumulate_grad_batches, _limit(config.trainer), before)
        if before is not None:
            check_done(folder.resumed, before, length)
        if not is_trial:
            trainer.fit_loop.max_epochs, data.batches_an_epoch = length.rounds, length.batches_a_round
        where = "trainer" if folder.resumed is None else f"--resume {folder.resumed} cannot be gone on from"
        try:
            device = trainer.strategy.root_device
            on_gpu = device.type == "cuda"
            module.compiles = compiles(training.compile, length.rounds * length.batches_a_round * training.batch_size, device)
            with told(where, lambda: module.begun), warnings.catch_warnings(), matmul_precision(training.matmul_precision, on_gpu):
                warnings.filterwarnings("ignore", message="Checkpoint directory .* is not empty")  # it holds the lock, or is gone on in
                if is_first_process():
                    words, left = in_words(given, length, *data.num_rows), length if before is None else length.after(before)
                    if shown and not is_trial:
                        words += f"; {time_of(prior, data, left, training.validation_rows, device)}"
                    log.info("%s", words)
                trainer.fit(module, data, ckpt_path=folder.resumed)
        except SystemExit as error:  # how Lightning ends at an interrupt, after which it lets no other come
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from error
    return _outcome(trainer, module, folder, best, is_trial)


def _limit(options: Mapping[str, Any]) -> int | float | None:
    """What the Trainer is told to leave of the batches of an epoch: a number or a share of them, None for all."""
    limit = options.get("limit_train_batches")
    return None if isinstance(limit, float) and limit == 1.0 else limit


def _outcome(trainer: pl.Trainer, module: PriorModule, folder: CheckpointFolder, best: BestCheckpoint, unsaved: bool) -> Path:
    """Says what the run has left, and returns the path of it."""
    path = Path(best.best_model_path or folder.last)
    if not trainer.is_global_zero:
        return path
    if unsaved:
        log.warning("fast_dev_run: nothing is saved")
    elif best.best_model_score is None:
        log.warning("no validation has run: there is no %s of this run, and %s is how it ended", BEST, path)
    else:
        nll = module.best_scores.get("nll")
        score = f"validation loss {float(best.best_model_score):.3f}" if nll is None else f"least validation NLL {nll:.3f} nats"
        log.info("best checkpoint: %s (%s), described in %s beside it", path, score, write_card(path).name)
    return path


def _how_to_go_on(command: str, checkpoint: Path) -> str:
    """The end of a line about a run that has ended early."""
    return f"to go on: {command} --resume {shlex.quote(str(checkpoint))}"


def _directory(config: ExperimentConfig, name: str) -> Path:
    return Path(config.logging.checkpoint_dir or f"checkpoints/{name}")


def _interrupted(directory: Path, started: str | None) -> str | None:
    """The last checkpoint of the run of that name, if it has left one."""
    last = directory / LAST
    try:
        if started is None or not last.is_file() or read_checkpoint(last).get("run") != started:
            return None
    except UserError:  # whatever it is, this code has not written it
        return None
    log.info("goes on from %s", last)
    return str(last)


def _in_slurm() -> list[SLURMEnvironment]:
    """The Trainer's plugins in a job of Slurm: whoever queues it again, it goes on from `last.ckpt`, not from a file of Lightning's."""
    if not SLURMEnvironment.detect():
        return []
    if slurm_step() is None and int(os.environ["SLURM_NTASKS"]) > 1:
        raise UserError(f"a job of {os.environ['SLURM_NTASKS']} tasks, of which only one was started: put srun before python")
    try:
        return [SLURMEnvironment(auto_requeue=False)]
    except RuntimeError as error:  # without --ntasks-per-node it cannot tell who is where
        raise UserError(f"the job of Slurm: {reason_of(error)}") from error


if __name__ == "__main__":
    run(main)
