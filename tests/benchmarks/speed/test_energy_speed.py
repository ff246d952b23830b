"""The benchmark of energies: what is timed is their gradient, and products are counted as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pose_priors.benchmarks import energy_speed
from pose_priors.datamodules.synthetic import synthetic_poses
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.global_flow import GlobalFlowConfig


def test_what_is_timed_is_the_gradient_of_the_energy() -> None:
    poses = synthetic_poses(64, seed=0)
    prior = GaussianConfig(kind="gaussian").build(range(1, 22))
    prior.fit_statistics(poses)
    slope = energy_speed.descent_of(prior.eval(), poses[:4])()
    step = torch.zeros_like(poses[:4])
    step[:, 16, 1] = 1e-3
    apart = (prior.energy(poses[:4] + step) - prior.energy(poses[:4] - step)).detach() / 2e-3
    torch.testing.assert_close(slope[:, 16, 1], apart, rtol=2e-2, atol=2e-1)


def test_a_table_of_products(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_speed, "KINDS", {"global flow": (GlobalFlowConfig(kind="global_flow"), [*range(1, 20)])})
    few, many = (energy_speed.main(["--output", str(tmp_path), "--poses", str(num), "--repeats", "1"])[0] for num in (8, 16))
    assert many["gflop"] == pytest.approx(2 * few["gflop"], rel=0.05)
    assert 0 < many["products"] < 1
    assert json.loads((tmp_path / "energy_speed.json").read_text()) == [many]
    assert "| global flow | 16 |" in (tmp_path / "energy_speed.md").read_text()
