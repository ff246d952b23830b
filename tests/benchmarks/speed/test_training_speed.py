"""The benchmark of training: its step is one, and its table has a row a prior and batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pose_priors.benchmarks import speed, training_speed
from pose_priors.configs.base import UserError
from pose_priors.datamodules.synthetic import synthetic_poses
from pose_priors.priors.gaussian import GaussianConfig


def test_a_step_lowers_the_loss() -> None:
    poses = synthetic_poses(64, seed=0)
    prior = GaussianConfig(kind="gaussian").build(range(1, 22))
    prior.fit_statistics(poses)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.3)
    before = prior.loss(poses)["loss"].item()
    step = training_speed.step_of(prior, poses)
    for _ in range(50):
        step()
    assert prior.loss(poses)["loss"].item() < before


def test_the_table_has_a_row_a_prior_and_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_speed, "BATCHES", (8,))
    rows = speed.main(["--device", "cpu", "--output", str(tmp_path), "--repeats", "1", "--threads", "1"])
    assert [row["kind"] for row in rows] == ["gaussian", "joint flow", "global flow", "flow matching", "hand VAE"]
    assert all(row["poses_per_second"] > 0 for row in rows)
    assert json.loads((tmp_path / "training_speed.json").read_text()) == rows
    assert len((tmp_path / "training_speed.md").read_text().splitlines()) == 4 + len(rows)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this torch sees no GPU"):
        speed.main(["--device", "cuda", "--output", str(tmp_path)])
