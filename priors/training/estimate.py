"""How long a run will take, from a few steps on the side before it begins."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch

from pose_priors.configs.base import reason_of
from pose_priors.priors.base import TrainablePrior
from pose_priors.priors.training.budget import Budget
from pose_priors.priors.training.progress import duration

# Steps that are timed, after one to warm up, and the seconds after which two are enough.
_MOST_STEPS, _ENOUGH_SECONDS = 10, 1.0
_NORM = 1.0


class Pace(NamedTuple):
    """Seconds of a training step, and of the validation of a row."""

    of_step: float
    of_validated_row: float


class Rows(Protocol):
    """What has rows to learn from and to validate on: a data module."""

    def train_dataloader(self) -> Iterable[Any]:
        """Batches to learn from."""

    def val_dataloader(self) -> Iterable[Any]:
        """Batches to validate on."""

    @property
    def num_rows(self) -> tuple[int, int]:
        """How many rows there are of both."""


def time_of(prior: TrainablePrior, data: Rows, left: Budget, most_validated: int, device: torch.device) -> str:
    """How long the rounds that are left will take at most, in words; or why that cannot be told."""
    try:
        pace = measured(prior, data.train_dataloader(), next(iter(data.val_dataloader())), device)
    except (RuntimeError, TypeError) as error:  # one of another package that cannot be copied
        return f"how long cannot be told ({reason_of(error)})"
    of_round = left.batches_a_round * pace.of_step + min(data.num_rows[1], most_validated) * pace.of_validated_row
    return f"{duration(of_round)} a round, at most about {duration(left.rounds * of_round)}"


def measured(prior: TrainablePrior, batches: Iterable[Any], held_out: Any, device: torch.device) -> Pace:
    """The pace of a copy of the prior on a device; neither the prior nor the generators of this process notice.

    Args:
        prior: as it will be trained.
        batches: of training, of which some are taken.
        held_out: a batch of validation rows.
        device: where it will be trained.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        model = copy.deepcopy(prior).to(device).train()
        step = stepping(model, rate=0.0)
        seconds: list[float] = []
        for batch in batches:
            seconds.append(_timed(partial(step, batch.to(device)), device))
            if len(seconds) > _MOST_STEPS or (len(seconds) > 2 and sum(seconds) > _ENOUGH_SECONDS):
                break
        model.eval()
        rows = held_out.to(device)
        with torch.no_grad():
            validated = _timed(lambda: model.held_out(rows), device)
    return Pace(statistics.median(seconds[1:] or seconds), validated / len(rows))


def stepping(prior: TrainablePrior, rate: float) -> Callable[[Any], None]:
    """A whole training step on a batch: loss, gradient, its clipping, AdamW with such a learning rate."""
    parameters = [parameter for parameter in prior.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, fused=True)

    def step(batch: Any) -> None:
        optimizer.zero_grad()
        prior.loss(batch)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(parameters, _NORM, foreach=True)
        optimizer.step()

    return step


def _timed(function: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
