"""Of many poses some are scored, and which is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from prior_cases import JOINTS, make_poses

import evaluate
from pose_priors.configs.base import UserError
from pose_priors.priors.evaluation import report, subset
from pose_priors.priors.evaluation.scores import energies_of
from pose_priors.priors.evaluation.scores import evaluate as all_scores
from pose_priors.priors.evaluation.subset import Poses, chosen, drawn
from pose_priors.priors.flow_matching import FlowMatchingConfig
from pose_priors.priors.gaussian import GaussianConfig


def test_all_of_few_and_some_of_many_the_same_each_time() -> None:
    assert drawn(5, 9).tolist() == [0, 1, 2, 3, 4]
    some = drawn(10_000, 300)
    assert len(np.unique(some)) == len(some) == 300
    assert (np.diff(some) > 0).all()
    assert (drawn(10_000, 300) == some).all()
    assert abs(some.mean() - 5000) < 500


def test_which_are_scored_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subset, "MOST_COMPARED", 40)
    monkeypatch.setattr(subset, "MOST_FOLLOWED", 30)
    poses = make_poses(100)
    few = chosen(poses[:30], 30)
    assert few.in_words() == "30 poses"
    assert all(torch.equal(some, poses[:30]) for some in few[:3])
    many = chosen(poses, 5000)
    assert many.in_words() == "100 of 5,000 poses (40 in pairs and against wrong ones, 30 along paths), drawn with seed 0"
    assert torch.equal(many.compared, poses[torch.from_numpy(drawn(100, 40))])
    assert torch.equal(many.followed, many.compared[torch.from_numpy(drawn(40, 30))])
    assert chosen(poses[:40], 40).in_words() == "40 poses (30 along paths), drawn with seed 0"


def test_a_density_along_paths_is_taken_of_some_and_others_of_all() -> None:
    poses = Poses(make_poses(60), make_poses(60)[::3], make_poses(60)[::6], 900)
    gaussian = GaussianConfig(kind="gaussian").build(JOINTS)
    gaussian.fit_statistics(poses.scored)
    assert poses.of_density(gaussian) is poses.scored
    flow = FlowMatchingConfig(kind="flow_matching", hidden=8, num_blocks=1, num_steps=2).build(JOINTS).eval()
    flow.fit_statistics(poses.scored)
    found = report.score(flow, poses)
    assert (found["num_poses"], found["num_poses_followed"], found["num_poses_compared"]) == (60, 10, 20)
    with torch.no_grad():
        assert found["nll"] == pytest.approx(float(-flow.log_prob(poses.followed).mean()), rel=1e-5)
        assert found["energy"] == pytest.approx(float(energies_of(flow, poses.scored).mean()), rel=1e-5)


def test_the_standard_error_of_the_mean_is_that_of_its_poses() -> None:
    poses = make_poses(400)
    gaussian = GaussianConfig(kind="gaussian").build(JOINTS)
    gaussian.fit_statistics(poses)
    found, nll = all_scores(gaussian, poses), -gaussian.log_prob(poses)
    assert found["nll_standard_error"] == pytest.approx(float(nll.detach().std()) / 20, rel=1e-4)
    assert all_scores(gaussian, poses[:1])["nll_standard_error"] is None


def test_the_script_draws_scores_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], finished: Path
) -> None:
    monkeypatch.setattr(subset, "MOST_COMPARED", 50)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    poses = np.random.default_rng(0).normal(size=(300, 165)) / 5
    np.save(tmp_path / "poses.npy", poses.astype(np.float32))
    arguments = ["--checkpoint", str(finished / "best.ckpt"), "--data", str(tmp_path / "poses.npy"), "--output", str(tmp_path / "out")]
    found = evaluate.main([*arguments, "--poses", "200"])[str(finished / "best.ckpt")]
    assert (found["num_poses"], found["num_poses_compared"]) == (200, 50)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())[str(finished / "best.ckpt")] == found
    said = capsys.readouterr().out
    assert "200 of 300 poses (50 in pairs" in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 200
    with pytest.raises(UserError, match="--poses=0"):
        evaluate.main([*arguments, "--poses", "0"])
