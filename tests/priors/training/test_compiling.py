"""When layers are compiled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from prior_cases import make_poses

from pose_priors.priors import module
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.training.compiling import compiles
from pose_priors.priors.training.config import TrainingConfig


def test_it_is_compiled_where_it_pays() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert compiles("auto", 20_000_000, cpu)
    assert not compiles("auto", 400_000, cpu)
    assert not compiles("auto", 20_000_000, gpu)
    assert compiles(True, 1, gpu)
    assert not compiles(False, 10**9, cpu)


def test_steps_on_whole_batches_are_compiled_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    entered = []

    @contextmanager
    def watched() -> Iterator[None]:
        entered.append(True)
        yield

    poses = make_poses(6)
    prior = GaussianConfig(kind="gaussian").build([1, 16])
    prior.fit_statistics(poses)
    trained = module.PriorModule(prior, TrainingConfig(learning_rate=1e-3, batch_size=4, max_epochs=1), {}, "", 0)
    monkeypatch.setattr(module, "compiled", watched)
    monkeypatch.setattr(trained, "log_dict", lambda *_, **__: None)
    counts = []
    for asked, rows in ((False, 4), (True, 2), (True, 4)):
        trained.compiles = asked
        trained.training_step(poses[:rows], 0)
        counts.append(len(entered))
    trained.validation_step(poses[:4], 0)
    assert [*counts, len(entered)] == [0, 0, 1, 1]
