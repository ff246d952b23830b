"""How far a run is, where no terminal shows a bar: one line an epoch, and early on how long it will take."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar

log = logging.getLogger("train")

# Seconds after which the first estimate is worth telling, and the least number of steps it is made from.
_FIRST_ESTIMATE, _MIN_STEPS = 10.0, 20
_SHOWN = (("val/nll", "best/nll", "validation NLL"), ("val/loss", "best/loss", "validation loss"))


def progress() -> list[Callback]:
    """What shows how far a run is: a bar in a terminal, lines elsewhere, an estimate of the time in both."""
    return [Estimate(), RichProgressBar() if sys.stderr.isatty() else EpochLines()]


def duration(seconds: float) -> str:
    """A time span in words of at most two units: `40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, hours = divmod(round(minutes / 60), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


class Estimate(Callback):
    """Says once, some seconds after the start, how long an epoch and the whole run will take at most."""

    def __init__(self) -> None:
        self._told = False
        self._steps = 0
        self._start = 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        if self._steps == 1:  # the first step makes what later ones find
            self._start = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._steps += 1
        timed, seconds = self._steps - 1, time.monotonic() - self._start
        if self._told or timed < _MIN_STEPS or seconds < _FIRST_ESTIMATE:
            return
        self._told = True
        if trainer.is_global_zero:
            a_step, steps = seconds / timed, int(trainer.num_training_batches)
            left = int(trainer.estimated_stepping_batches) * trainer.accumulate_grad_batches - self._steps
            if a_step * left > _FIRST_ESTIMATE:
                log.info(
                    "%d steps an epoch, about %s; about %s to the end, if patience does not run out before",
                    steps,
                    duration(a_step * steps),
                    duration(a_step * left),
                )


class EpochLines(Callback):
    """One line an epoch: the validation scores, the best so far, the time that it took and the time left at most."""

    def __init__(self) -> None:
        self._start = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        seconds, metrics = time.monotonic() - self._start, trainer.callback_metrics
        known = [(words, metrics[now], metrics[best]) for now, best, words in _SHOWN if {now, best} <= {*metrics}]
        scores = "".join(f", {words} {float(now):.3f} (best {float(best):.3f})" for words, now, best in known[:1])
        epochs, done = trainer.max_epochs or 0, trainer.current_epoch + 1
        left = f", at most {duration(seconds * (epochs - done))} left" if epochs > done else ""
        log.info("epoch %d of %d%s, %s%s", done, epochs, scores, duration(seconds), left)
