"""How far a run is, where no terminal shows a bar: one line an epoch."""

from __future__ import annotations

import logging
import sys
import time

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar

log = logging.getLogger("train")

_SHOWN = (("val/nll", "best/nll", "validation NLL"), ("val/loss", "best/loss", "validation loss"))


def progress() -> Callback:
    """What shows how far a run is: a bar in a terminal, lines elsewhere."""
    return RichProgressBar() if sys.stderr.isatty() else EpochLines()


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


class EpochLines(Callback):
    """One line an epoch, or a round: the validation scores, the best so far, the time that it took and the time left at most."""

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
        loader = trainer.train_dataloader
        word = "epoch" if loader is None or len(loader) == loader.batches_a_pass else "round"
        log.info("%s %d of %d%s, %s%s", word, done, epochs, scores, duration(seconds), left)
