"""The guard around Lightning: what it cannot do with its options, or with a checkpoint, is told in one line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from pose_priors.configs.base import UserError

_DOUBLE = (64, "64", "64-true")
_PRECISIONS = (None, 32, "32", "32-true", *_DOUBLE, 16, "16", "16-mixed", "bf16", "bf16-mixed")

log = logging.getLogger(__name__)


def in_double(options: Mapping[str, Any]) -> bool:
    """Whether Lightning's Trainer is to compute in double precision. Raises `UserError` for a precision that priors cannot have."""
    precision = options.get("precision")
    if precision not in _PRECISIONS:
        raise UserError(
            f"trainer.precision={precision}: the rotations of a prior need float32 at least; allowed: 32-true, 64-true, and bf16-mixed or "
            "16-mixed, which keep the rotations in float32"
        )
    return precision in _DOUBLE


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
        reason = " ".join(str(error).split())[:300] or "no reason given"
        raise UserError(
            f"{where}: {reason if isinstance(error, MisconfigurationException) else f'{type(error).__name__}: {reason}'}"
        ) from error
