"""What a run says of how far it is."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from pose_priors.datamodules.loader import PoseLoader
from pose_priors.priors.training import progress
from pose_priors.priors.training.progress import EpochLines, duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (40, "40 s"),
        (99, "99 s"),
        (120, "2 min"),
        (5400, "90 min"),
        (7200, "2 h"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
        (172_800, "2 d"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def _trainer(**given: Any) -> Any:
    values = {"is_global_zero": True, "train_dataloader": None}
    return cast(Any, SimpleNamespace(**(values | {"max_epochs": 10, "current_epoch": 2, "callback_metrics": {}} | given)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"val/nll": -4.0, "best/nll": -5.0, "val/loss": 1.0, "best/loss": 1.0}, "validation NLL -4.000 (best -5.000), "),
        ({"val/loss": 1.0, "best/loss": 0.5}, "validation loss 1.000 (best 0.500), "),
        ({}, ""),
    ],
)
def test_an_epoch_is_a_line(metrics: dict[str, float], said: str, clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    lines, trainer = EpochLines(), _trainer(callback_metrics={name: torch.tensor(value) for name, value in metrics.items()})
    lines.on_train_epoch_start(trainer, cast(Any, None))
    clock[0] += 30
    with caplog.at_level(logging.INFO):
        lines.on_train_epoch_end(trainer, cast(Any, None))
    assert caplog.messages == [f"epoch 3 of 10, {said}30 s, at most 4 min left"]
    caplog.clear()
    lines.on_train_epoch_end(_trainer(is_global_zero=False), cast(Any, None))
    assert not caplog.messages


@pytest.mark.parametrize(("batches", "word"), [(None, "epoch"), (10, "epoch"), (7, "round")])
def test_a_part_of_a_pass_is_a_round(batches: int | None, word: str, caplog: pytest.LogCaptureFixture) -> None:
    loader = PoseLoader(np.zeros((100, 55, 3), np.float32), 10, batches_an_epoch=batches)
    with caplog.at_level(logging.INFO):
        EpochLines().on_train_epoch_end(_trainer(train_dataloader=loader), cast(Any, None))
    assert caplog.messages[0].startswith(f"{word} 3 of 10")


def test_a_terminal_gets_a_bar_and_a_file_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.sys, "stderr", SimpleNamespace(isatty=lambda: False))
    assert type(progress.progress()).__name__ == "EpochLines"
    monkeypatch.setattr(progress.sys, "stderr", SimpleNamespace(isatty=lambda: True))
    assert type(progress.progress()).__name__ == "RichProgressBar"
