"""When checkpoints are written, and when a run that gets no better ends."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint

from pose_priors.priors.training.folder import BEST, CheckpointFolder

MONITOR = "val/loss"

log = logging.getLogger(__name__)


class BestCheckpoint(ModelCheckpoint):
    """Keeps the checkpoint of the least validation loss as `best.ckpt`, also when a run goes on in a folder that was moved."""

    def __init__(self, folder: CheckpointFolder) -> None:
        super().__init__(folder.path, Path(BEST).stem, monitor=MONITOR, enable_version_counter=False)
        self._resumed = folder.resumed

    @property
    def state_key(self) -> str:
        """That of Lightning's own class."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What was best, if it lies beside the checkpoint that the run goes on from."""
        assert self.dirpath is not None
        score = state_dict["best_model_score"]
        if score is None:
            return
        if self._resumed is None or not self._resumed.with_name(BEST).is_file():
            log.warning("there is no %s beside %s: the next validation counts as the best", BEST, self._resumed)
            return
        path = str(Path(self.dirpath) / BEST)
        self.best_model_score = self.kth_value = score
        self.best_model_path = self.kth_best_model_path = path
        self.best_k_models = {path: score}

    def _save_topk_checkpoint(self, trainer: pl.Trainer, monitor_candidates: dict[str, torch.Tensor]) -> None:
        if MONITOR in monitor_candidates:  # else the run ends before its first validation
            super()._save_topk_checkpoint(trainer, monitor_candidates)


class LastCheckpoint(Checkpoint):
    """Keeps the latest state as `last.ckpt`: after each epoch, and within one whenever so much time has gone by.

    Args:
        folder: where.
        every_minutes: 0 for after each step.
    """

    def __init__(self, folder: CheckpointFolder, every_minutes: float) -> None:
        self._path, self._seconds = folder.last, 60 * every_minutes
        self._saved = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._saved = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Saves if it is time, and no gradient is being gathered; the last step of an epoch is saved with it."""
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate() or loop._num_ready_batches_reached():
            return
        due = time.monotonic() - self._saved >= self._seconds
        if trainer.strategy.reduce_boolean_decision(due, all=False):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves."""
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        # a loss that is not finite ends the run one step after the weights are not
        if not getattr(trainer, "fast_dev_run", False) and all(
            bool(torch.isfinite(p).all()) for p in trainer.lightning_module.parameters()
        ):
            trainer.save_checkpoint(self._path)
        self._saved = time.monotonic()


class Patience(EarlyStopping):
    """Ends a run after so many epochs without a better validation loss; one that goes on has its present patience, not its earlier one."""

    def __init__(self, patience: int) -> None:
        super().__init__(MONITOR, patience=patience)

    @property
    def state_key(self) -> str:
        """That of Lightning's own class."""
        return super().state_key.replace(type(self).__qualname__, EarlyStopping.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """All but the patience."""
        super().load_state_dict(state_dict | {"patience": self.patience})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends at once a run that had ended so before."""
        if self.wait_count >= self.patience:
            log.warning(
                "%d epochs had gone by without a better validation loss: for more, give a larger training.patience", self.wait_count
            )
            trainer.should_stop = True

    def _run_early_stopping_check(self, trainer: pl.Trainer) -> None:
        if MONITOR in trainer.callback_metrics:  # else the run ends before its first validation
            super()._run_early_stopping_check(trainer)
