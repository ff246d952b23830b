"""Fits by Lightning: what it cannot do is told in one line, and its checkpoints appear whole or not at all."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning_fabric.utilities.exceptions import MisconfigurationException

from pose_priors.configs.base import UserError, reason_of
from pose_priors.configs.interruption import goes_on_after_sigterm
from pose_priors.configs.writing import write_tensors

log = logging.getLogger(__name__)


@contextmanager
def told(where: str, begun: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Turns what Lightning raises into a `UserError` of one line.

    Args:
        where: begins the line.
        begun: whether a training step has been taken; from then on, what Lightning has not refused is a defect of the program.
    """
    try:
        yield
    except UserError:
        raise
    except torch.OutOfMemoryError as error:
        raise UserError("the GPU's memory is full: lower training.batch_size, or give another trainer.devices") from error
    except Exception as error:
        if begun() and not isinstance(error, MisconfigurationException):
            raise
        log.debug("%s", where, exc_info=True)
        reason = reason_of(error)
        raise UserError(
            f"{where}: {reason if isinstance(error, MisconfigurationException) else f'{type(error).__name__}: {reason}'}"
        ) from error


def make_trainer(options: Mapping[str, Any], **fixed: Any) -> pl.Trainer:
    """A Trainer.

    Args:
        options: the section `trainer` of a configuration, with defaults for what it does not say.
        fixed: what the program itself says, and no option may say.
    Raises:
        UserError: if Lightning refuses them, or an option says what is fixed.
    """
    with told(f"trainer {dict(options)}: refused by Lightning's Trainer, which its keys are passed to"):
        return pl.Trainer(**options, **fixed)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints that appear whole or not at all, whatever happens meanwhile.

    Lightning's own writes them to the folder of temporaries and copies them over the old one if that is another disk.

    Args:
        before: called before each.
    """

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self._before = before

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Writes one; raises `UserError` if the disk is full."""
        write_tensors(Path(path), checkpoint, self._before)


class UntilKilled(pl.Callback):
    """Lets a fit go on after SIGTERM where `goes_on_after_sigterm`; Lightning itself would end it."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if goes_on_after_sigterm():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
