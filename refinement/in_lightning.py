"""A refinement that Lightning runs, for its devices, loggers and callbacks: a sub-stage is an epoch, an iteration of L-BFGS a step."""

from __future__ import annotations

import signal
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.loggers import Logger
from torch import Tensor

from pose_priors.configs.base import UserError
from pose_priors.configs.fitting import UntilKilled, WholeCheckpoints, make_trainer
from pose_priors.refinement.alone import GOES_ON, log_stage, told_to_go_on
from pose_priors.refinement.solve.curvature.white import WhiteLBFGS
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.resume import kept_run

_PRECISION = "32-true"


class LightningRefinement(RefinementModule, pl.LightningModule):
    """A `RefinementModule` that Lightning runs."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.automatic_optimization = False
        self.strict_loading = False

    @property
    def number(self) -> int:
        """That of the epoch."""
        return self.current_epoch

    def train_dataloader(self) -> range:
        return range(self.stage.iterations)

    def configure_optimizers(self) -> WhiteLBFGS:
        return self.lbfgs

    def on_fit_start(self) -> None:
        self.problem = self.problem.to(self.problem.start.pelvis.dtype, self.device)

    def on_train_epoch_start(self) -> None:
        self.begin_stage()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        return -1 if self.over else None

    def training_step(self, batch: int, batch_idx: int) -> None:
        values = self.step()
        if values and self.trainer.logger is not None:
            self.log_dict(values, batch_size=1)

    def _descend(self) -> Tensor:
        found: Tensor = cast(LightningOptimizer, self.optimizers()).step(self.objective)
        return found

    def on_train_epoch_end(self) -> None:
        self.end_stage()
        self.trainer.should_stop = self.spent

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint.update(self.kept())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.take_up(checkpoint)


def fit(
    module: RefinementModule,
    folder: Path | None,
    options: Mapping[str, Any],
    logger: Logger | None,
    others: Sequence[Callback],
) -> None:
    """Runs all sub-stages.

    Args:
        module: a `LightningRefinement`, with its fingerprint where there is a folder.
        folder: of unfinished runs: this one is kept in it after each sub-stage, and goes on from there; None to keep nothing.
        options, logger: of Lightning's Trainer.
        others: callbacks of the caller's own.
    Raises:
        UserError: if Lightning refuses the options, or they ask for several devices or for a precision of all numbers.
        KeyboardInterrupt: at Ctrl-C, with what to do next where the run is kept.
    """
    assert isinstance(module, LightningRefinement)
    callbacks: list[Callback] = [UntilKilled()]
    bar = options.get("enable_progress_bar", True)
    if bar:
        bar = sys.stderr.isatty()  # or Lightning adds one of its own
        callbacks.append(SubStageBar() if bar else SubStageLines())
    callbacks.extend(others)
    unfinished = None
    if folder is not None:
        # beside those that Lightning has not run, which lack what it keeps of its own
        unfinished = folder / f"{module.fingerprint}-lightning" / "last.ckpt"
        callbacks.append(ModelCheckpoint(unfinished.parent, "last", save_on_train_epoch_end=True, enable_version_counter=False))
    fixed: dict[str, Any] = {
        "max_epochs": len(module.stages),
        "callbacks": callbacks,
        # one process, also in a job of Slurm that has several
        "plugins": [LightningEnvironment(), WholeCheckpoints()],
        "logger": logger or False,
        "log_every_n_steps": 1,
        "enable_checkpointing": unfinished is not None,
        "enable_model_summary": False,
        "enable_progress_bar": bar,
        "reload_dataloaders_every_n_epochs": 1,
    }
    usual = {"accelerator": "cpu", "devices": 1}
    trainer = make_trainer({name: value for name, value in (usual | dict(options)).items() if name not in fixed}, **fixed)
    if trainer.world_size > 1:
        raise UserError(
            f"trainer.devices: {trainer.world_size} processes would refine the same clip; one device on one node is allowed; for more, "
            "refine clips side by side, each in a process of its own"
        )
    if trainer.precision.endswith("-true") and trainer.precision != _PRECISION:
        raise UserError(
            f"trainer.precision: {trainer.precision} turns variables and priors into it, and not what was seen; {_PRECISION}, 16-mixed and "
            "bf16-mixed are allowed; what is solved exactly is in double precision anyway"
        )
    resume = str(unfinished) if unfinished is not None and kept_run(unfinished, module.fingerprint) is not None else None
    if unfinished is not None and resume is not None:
        told_to_go_on(unfinished)
    with warnings.catch_warnings():
        # priors are frozen and in eval mode on purpose, and the folder of an unfinished run is not empty
        warnings.filterwarnings("ignore", message="Found .* module.* in eval mode")
        warnings.filterwarnings("ignore", message="Checkpoint directory .* is not empty")
        try:
            trainer.fit(module, ckpt_path=resume)
        except SystemExit as error:  # how Lightning ends at an interrupt, after which it lets no other come
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if unfinished is None:
                raise KeyboardInterrupt from error
            raise KeyboardInterrupt(GOES_ON) from error


class SubStageBar(TQDMProgressBar):
    """A progress bar that names the sub-stage."""

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        super().on_train_epoch_start(trainer, *_)
        module = trainer.lightning_module
        if isinstance(module, RefinementModule):
            self.train_progress_bar.set_description(module.stage.name)

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        return {}


class SubStageLines(Callback):
    """Without a terminal, one line a sub-stage."""

    def __init__(self) -> None:
        self._start = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if isinstance(pl_module, RefinementModule):
            log_stage(pl_module, time.perf_counter() - self._start)
