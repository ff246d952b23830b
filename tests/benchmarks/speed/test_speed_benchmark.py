"""The benchmark of speed compares like with like: what it times one against the other computes the same."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from pose_priors.benchmarks import speed
from pose_priors.benchmarks.joint_flow_loop import JointFlowLoop, training_step
from pose_priors.datamodules.synthetic import synthetic_poses
from pose_priors.datamodules.synthetic.scenes.builtin import write_builtin_scene
from pose_priors.priors.joint_flow import JointFlowConfig
from pose_priors.refinement.given.floor import with_floor
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.terms import KeypointReprojection


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    root, _ = write_builtin_scene(tmp_path_factory.mktemp("scene") / "scene", 0)
    stages = (root / stage for stage in ("1_camera_estimation", "2_tracking", "3_pose_estimation"))
    return with_floor(load_problem(*stages, None).to(torch.float64))


def test_a_loop_over_joints_is_the_joint_flow_and_learns_alike() -> None:
    poses = synthetic_poses(64, seed=0)
    torch.manual_seed(0)
    prior = JointFlowConfig(kind="joint_flow", hidden=16, dropout=0).build(range(1, 22)).double()
    poses = poses.double()
    prior.fit_statistics(poses)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    loop = JointFlowLoop(prior)
    for found, expected in zip(loop.transformed(poses), prior._forward(prior.select(poses)), strict=True):
        assert found.shape[:2] == (64, 21)
        white_log_det = prior.whitening(prior.select(poses))[1]
        torch.testing.assert_close(found if found.ndim == 3 else found + white_log_det, expected)
    assert sum(p.numel() for p in loop.parameters()) == sum(p.numel() for p in prior.parameters())
    assert len(list(loop.parameters())) == 21 * len(list(prior.parameters()))
    losses = {prior: lambda: prior.loss(poses)["loss"], loop: lambda: loop.loss(poses)}
    for model, loss in losses.items():
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
        before = loss().item()
        for _ in range(3):
            training_step(model, loss, optimizer)
        assert loss() < before
    assert losses[prior]().item() == pytest.approx(losses[loop]().item(), rel=1e-6)


def test_a_loop_over_people_and_frames_sums_to_the_whole(problem: Problem) -> None:
    noise = estimate_noise(problem)
    term = KeypointReprojection(sigma_px=noise.keypoint_px)
    whole = speed.objective_of(problem, noise).variables(problem)
    total = float(term(whole, problem)) * float(problem.visible.sum())
    found = 0.0
    for person, frame in problem.visible[:, ::12].nonzero().tolist():
        part = speed.piece(problem, slice(person, person + 1), slice(12 * frame, 12 * frame + 1))
        assert part.person_ids == problem.person_ids[person : person + 1]
        found += float(term(speed.objective_of(part, noise).variables(part), part))
    some = speed.piece(problem, slice(None), slice(0, None, 12))
    expected = float(term(speed.objective_of(some, noise).variables(some), some)) * float(some.visible.sum())
    assert found == pytest.approx(expected, rel=1e-9)
    assert 0 < found < total


def test_the_command_writes_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinematics = speed.kinematics_rows
    monkeypatch.setattr(speed, "kinematics_rows", lambda repeats: kinematics(repeats, 2))
    threads = torch.get_num_threads()
    try:
        rows = speed.main(["--output", str(tmp_path), "--repeats", "1", "--poses", "600", "--threads", "1"])
    finally:
        torch.set_num_threads(threads)
    assert json.loads((tmp_path / "speed.json").read_text()) == rows
    lines = (tmp_path / "speed.md").read_text().splitlines()
    assert sum(line.startswith("| ") and "|---" not in line for line in lines) == len(rows) + 1
    assert all(row["seconds"] > 0 and row.get("ratio", row.get("exponent")) is not None for row in rows)


def test_compiled_steps_are_timed_against_their_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "compiled", nullcontext)  # the compiler takes a minute
    monkeypatch.setattr(speed, "_BATCH", 16)
    threads = torch.get_num_threads()
    try:
        rows = speed.main(["--compiled", "--output", str(tmp_path), "--repeats", "1", "--threads", "1"])
    finally:
        torch.set_num_threads(threads)
    assert json.loads((tmp_path / "compiled_speed.json").read_text()) == rows
    assert [row["what"] for row in rows] == ["joint flow, compiled, training step, 16 poses"]
