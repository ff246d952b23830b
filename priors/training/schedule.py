"""The learning rate over a run, and over one that goes on with other settings."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, ReduceLROnPlateau, SequentialLR, StepLR

Kind = Literal["step", "cosine", "plateau"]

# A step schedule divides the learning rate by ten at each third of the steps, a plateau schedule by two after a third of the patience.
_STEPS, _STEP_FACTOR = 3, 0.1
_PLATEAU_FACTOR = 0.5


def plateau(optimizer: Optimizer, patience: int) -> ReduceLROnPlateau:
    """A schedule that halves the learning rate after a third of so many epochs without a better validation loss."""
    return ReduceLROnPlateau(optimizer, factor=_PLATEAU_FACTOR, patience=max(1, patience // 3))


def of_steps(optimizer: Optimizer, kind: Literal["step", "cosine"], num_steps: int, num_warmup: int) -> LRScheduler:
    """A schedule that is known beforehand.

    Args:
        kind: three steps, or a cosine from the optimizer's learning rate to zero.
        num_steps: of the whole run.
        num_warmup: steps over which the learning rate rises from zero.
    """
    if kind == "step":
        scheduler: LRScheduler = StepLR(optimizer, max(1, num_steps // _STEPS), _STEP_FACTOR)
    else:
        scheduler = CosineAnnealingLR(optimizer, max(1, num_steps - num_warmup))
    if num_warmup:
        rise = LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / num_warmup))
        scheduler = SequentialLR(optimizer, [rise, scheduler], [num_warmup])
    return scheduler


def replayed(
    learning_rate: float, kind: Literal["step", "cosine"], num_steps: int, num_warmup: int, position: int
) -> tuple[float, dict[str, Any]]:
    """The learning rate of such a schedule after `position` steps, and its state: what a run has that had it from the start."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=learning_rate)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step\\(\\)` before")
        scheduler = of_steps(optimizer, kind, num_steps, num_warmup)
        for _ in range(position):
            scheduler.step()
    return float(optimizer.param_groups[0]["lr"]), scheduler.state_dict()


def of_groups(state: dict[str, Any], num_groups: int) -> dict[str, Any]:
    """The state of a schedule of one group of parameters, for so many that share its rate; that of several as it is."""
    lists = {key: state[key] * num_groups for key in ("base_lrs", "_last_lr", "min_lrs") if len(state.get(key) or ()) == 1}
    inner = {"_schedulers": [of_groups(part, num_groups) for part in state["_schedulers"]]} if "_schedulers" in state else {}
    return state | lists | inner
