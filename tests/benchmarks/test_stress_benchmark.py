"""The benchmark of broken assumptions: what it scores is the truth's distance, what it says of worse is so, and its files hold it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pose_priors.benchmarks.refinement_stress.__main__ import main
from pose_priors.benchmarks.refinement_stress.runs import Run, is_worse, measured, scores
from pose_priors.benchmarks.refinement_stress.tables import COLUMNS, rows, summary
from pose_priors.configs.base import UserError
from pose_priors.datamodules.synthetic.scenes.stress.families import FAMILIES, ORDINARY
from pose_priors.datamodules.synthetic.scenes.stress.writing import write_family
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.result.truth import read_truth
from pose_priors.refinement.solve.config import RefinementConfig


@pytest.fixture(scope="module")
def reference() -> Run:
    return measured("reference", 0)


def test_what_is_ordinary_gets_better_in_everything_and_nothing_is_said(reference: Run) -> None:
    assert not reference.worse
    assert reference.verdict == "good"
    assert not reference.reasons
    for metric in ("abs_mpjpe_mm", "mpjpe_mm", "w_mpjpe_mm", "w_mpjpe_rigid_mm", "fs_joints_mm"):
        start, end = reference.start[metric], reference.end[metric]
        assert start is not None
        assert end is not None
        assert end < 0.35 * start
    assert reference.cpu_seconds > 0
    floor = reference.end["floor_deg"], reference.end["floor_cm"]
    assert floor[0] is not None
    assert floor[1] is not None
    assert floor[0] < 1
    assert abs(floor[1]) < 3


def test_scores_of_the_truth_are_zero_and_of_a_moved_one_what_it_was_moved_by(tmp_path: Path) -> None:
    write_family(tmp_path / "scene", FAMILIES["fps_15"], 0)
    truth = read_truth(tmp_path / "scene_gt.npz")
    problem = load_problem(*(tmp_path / "scene" / stage for stage in ("1_camera_estimation", "2_tracking", "3_pose_estimation")), None)
    refiner = Stage5Refiner(RefinementConfig(max_total_iterations=0), trainer={"enable_progress_bar": False})
    found = refiner.refine(RefinementInput(problem))
    perfect = replace(
        found, joints=torch.from_numpy(truth.joints), ground_plane=torch.from_numpy(truth.ground_plane), scale_alpha=truth.alpha
    )
    exact = scores(problem, perfect, truth)
    for metric in ("abs_mpjpe_mm", "w_mpjpe_rigid_mm", "scale_error_percent", "floor_cm", "fs_joints_mm"):
        assert exact[metric] == pytest.approx(0 if metric != "fs_joints_mm" else exact[metric], abs=1e-4)
    assert exact["floor_deg"] == pytest.approx(0, abs=1e-3)
    up = truth.ground_plane[:3]
    moved = scores(problem, replace(perfect, joints=torch.from_numpy(truth.joints + 0.1 * up)), truth)
    assert moved["abs_mpjpe_mm"] == pytest.approx(100)
    assert moved["w_mpjpe_rigid_mm"] == pytest.approx(0, abs=1e-4)
    sunk = scores(problem, replace(perfect, ground_plane=torch.from_numpy(truth.ground_plane + 0.2 * np.eye(4)[3])), truth)
    assert sunk["floor_cm"] == pytest.approx(20)
    assert found.joint_sigma is not None
    truthful = replace(
        perfect, joint_sigma=torch.where(torch.arange(found.joints.shape[2]) < 11, 0.09, 0.06).expand(found.joints.shape[:3])
    )
    assert scores(problem, truthful, truth)["within_sigma"] == 1
    off = scores(problem, replace(truthful, joints=torch.from_numpy(truth.joints + 0.1 * up)), truth)
    assert (off["within_sigma"], off["within_two_sigma"], off["joint_sigma_mm"]) == (0, 1, pytest.approx(75))
    off = scores(problem, replace(truthful, joints=torch.from_numpy(truth.joints + 0.08 * up)), truth)
    assert (off["within_sigma"], off["hidden_within_sigma"]) == (0.5, None)
    # a world that is larger by a tenth is aligned by W-MPJPE and not by the rigid one
    centre = truth.joints.mean((0, 1, 2))
    large = scores(problem, replace(perfect, joints=torch.from_numpy(centre + 1.1 * (truth.joints - centre))), truth)
    assert large["w_mpjpe_mm"] == pytest.approx(0, abs=1e-4)
    rigid = large["w_mpjpe_rigid_mm"]
    assert rigid is not None
    assert rigid > 20


def test_what_is_told_names_no_folder_that_is_gone() -> None:
    run = measured("size_10", 4, config={"max_total_iterations": 0})
    assert any(line.startswith("SCENE/3_pose_estimation/person_") for line in run.reasons)


def test_worse_is_beyond_chance() -> None:
    assert not is_worse(100.0, 106.9)
    assert is_worse(100.0, 107.1)
    assert not is_worse(0.0, 2.0)
    assert is_worse(1.0, float("nan"))
    assert not is_worse(None, 5.0)


def test_the_table_says_who_got_worse_in_silence(reference: Run) -> None:
    worse = replace(reference, family="rolling_30", end={**reference.end, "abs_mpjpe_mm": 500.0})
    assert worse.worse == ("abs_mpjpe_mm",)
    alarmed = replace(reference, seed=1, verdict="check", reasons=("why",))
    lines = summary([reference, worse, alarmed])
    assert lines[0].startswith("1 of 3 runs ended worse")
    assert "1 of them without a word" in lines[0]
    assert lines[1].startswith("false alarms: 1 of 2")
    cells = rows([reference, worse, alarmed])
    assert list(cells) == ["reference", "rolling_30"]
    of = dict(zip(COLUMNS, cells["rolling_30"], strict=True))
    assert of["worse"] == "abs_mpjpe"
    assert of["abs-MPJPE"].endswith("-> 500")
    assert dict(zip(COLUMNS, cells["reference"], strict=True))["said"] == "good 1, check 1; why"


def test_the_command_lists_runs_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == []
    said = capsys.readouterr().out
    assert all(name in said for name in FAMILIES)
    assert set(ORDINARY) <= set(FAMILIES)
    with pytest.raises(UserError, match="no such family"):
        main(["--families", "nothing"])
    with pytest.raises(UserError, match="at least 1"):
        main(["--jobs", "0"])
    (done,) = main(["--families", "lying_alone", "--seeds", "1", "--output", str(tmp_path / "out"), "--scenes", str(tmp_path / "scenes")])
    assert (tmp_path / "scenes" / "lying_alone_1" / "3_pose_estimation").is_dir()
    assert (tmp_path / "scenes" / "lying_alone_1_gt.npz").is_file()
    with (tmp_path / "out" / "runs.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert row["family"] == "lying_alone"
    assert float(row["abs_mpjpe_mm_end"]) == pytest.approx(done.end["abs_mpjpe_mm"])
    assert np.isfinite(float(row["floor_deg_start"]))
    (kept,) = json.loads((tmp_path / "out" / "runs.json").read_text())
    assert kept["end"]["abs_mpjpe_mm"] == done.end["abs_mpjpe_mm"]
    assert "| lying_alone |" in (tmp_path / "out" / "table.md").read_text()
