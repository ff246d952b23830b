from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import Clip

from pose_priors.body.model import forward_kinematics
from pose_priors.configs import exchange
from pose_priors.configs.base import UserError
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.result.write import write_result

RESULTS = {
    "status": "success",
    "metrics": {"total_loss_history": {"root": 0.5, "final": float("nan")}},
    "per_person_likelihoods": {1: np.float64(2)},
}
METRICS = {"root": {"data": torch.tensor([3.0, 2.0]), "converged": True}}


@pytest.fixture(scope="module")
def problem(clips: dict[str, Clip]) -> Problem:
    whole = load_problem(*clips["released"].stages)
    alive = whole.alive.clone()
    alive[1, :2] = False
    return replace(whole, alive=alive, person_ids=(1, 12))


def refined(problem: Problem) -> RefinementOutput:
    start = problem.start
    pose = torch.cat([start.global_orient[:, :, None], start.body_pose], 2)
    joints, _ = forward_kinematics(pose, problem.bodies.rest_joints[:, None], problem.bodies.parents)
    return RefinementOutput(
        global_orient=start.global_orient,
        body_pose=start.body_pose,
        pelvis=start.pelvis,
        betas=problem.bodies.betas,
        joints=joints + start.pelvis[:, :, None],
        contacts=torch.zeros(*start.pelvis.shape[:2], 4),
        ground_plane=start.ground_plane,
        scale_alpha=start.alpha0 * 1.01,
        scale_delta=0.01,
        results=RESULTS,
        metrics=METRICS,
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_files_hold_what_the_contract_says(tmp_path: Path, problem: Problem, clips: dict[str, Clip]) -> None:
    output = tmp_path / "new" / "5_refinement"
    result = refined(problem)
    write_result(output, problem, result)
    assert files(output).keys() == {
        *(
            "person_001/smpl_params_refined.npz",
            "person_012/smpl_params_refined.npz",
            "refinement_results.json",
            "optimization_metrics.json",
        )
    }
    person = np.load(output / "person_012" / "smpl_params_refined.npz", allow_pickle=False)
    shapes = {
        "frame_ids": (10,), "global_orient": (10, 3), "body_pose": (10, 69), "betas": (10,), "transl": (10, 3), "joints": (10, 24, 3),
        "visible": (10,), "contacts": (10, 4), "camera_w2c": (10, 4, 4), "intrinsics": (10, 3, 3), "ground_plane": (4,), "scale_alpha": (),
        "scale_delta": (),
    }  # fmt: skip
    assert {key: person[key].shape for key in person.files} == shapes
    np.testing.assert_array_equal(person["frame_ids"], range(2, 12))
    assert person["visible"].dtype == bool
    np.testing.assert_array_equal(person["visible"], clips["released"].seen[1, 2:])
    clip = clips["released"]
    np.testing.assert_allclose(person["camera_w2c"][:, :3, 3], clip.w2c[2:, :3, 3] / clip.alpha * result.scale_alpha, atol=1e-6)
    # smplx puts the pelvis at transl + J0
    np.testing.assert_allclose(person["transl"] + problem.bodies.root_offset[1].numpy(), person["joints"][:, 0], atol=1e-6)
    read = json.loads((output / "refinement_results.json").read_text())
    assert read["metrics"]["total_loss_history"] == {"root": 0.5, "final": None}
    assert read["per_person_likelihoods"] == {"1": 2.0}
    assert json.loads((output / "optimization_metrics.json").read_text())["root"] == {"data": [3.0, 2.0], "converged": True}


def test_transl_follows_the_shape(tmp_path: Path, problem: Problem) -> None:
    directions = torch.randn(2, 3, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shaped = replace(problem, bodies=replace(problem.bodies, root_shape_directions=directions))
    result = replace(refined(problem), betas=problem.bodies.betas + 0.1)
    write_result(tmp_path, shaped, result)
    person = np.load(tmp_path / "person_001" / "smpl_params_refined.npz")
    root = (problem.bodies.root_offset[0] + 0.1 * directions[0].sum(-1)).numpy()
    np.testing.assert_allclose(person["transl"], person["joints"][:, 0] - root, atol=1e-6)


@pytest.mark.parametrize(("num_joints", "length"), [(22, 63), (55, 63)])
def test_other_bodies(tmp_path: Path, problem: Problem, num_joints: int, length: int) -> None:
    poses = torch.arange(2 * 12 * (num_joints - 1) * 3.0).view(2, 12, num_joints - 1, 3)
    write_result(tmp_path, problem, replace(refined(problem), body_pose=poses))
    person = np.load(tmp_path / "person_001" / "smpl_params_refined.npz")
    assert person["body_pose"].shape == (12, length)
    if num_joints == 55:
        np.testing.assert_array_equal(person["right_hand_pose"], poses[0, :, 39:].flatten(1))
        np.testing.assert_array_equal(person["left_hand_pose"], poses[0, :, 24:39].flatten(1))
        np.testing.assert_array_equal(person["jaw_pose"], poses[0, :, 21])


def test_the_same_result_gives_the_same_bytes(tmp_path: Path, problem: Problem) -> None:
    for name in ("a", "b"):
        write_result(tmp_path / name, problem, refined(problem))
        os.utime(tmp_path / name)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_new_result_replaces_the_old_one_and_nothing_else(tmp_path: Path, problem: Problem) -> None:
    (tmp_path / "person_099").mkdir()
    (tmp_path / "person_099" / "smpl_params_refined.npz").write_bytes(b"old")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "events").write_bytes(b"kept")
    write_result(tmp_path, problem, refined(problem))
    assert "logs/events" in files(tmp_path)
    assert not (tmp_path / "person_099").exists()
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize(("step", "fail_at"), [("_swap", 1), *(("replace", at) for at in (1, 2, 3, 6, 9))])
def test_a_failure_leaves_the_old_result_whole(
    tmp_path: Path, problem: Problem, monkeypatch: pytest.MonkeyPatch, step: str, fail_at: int
) -> None:
    tmp_path = tmp_path / "out"
    write_result(tmp_path, problem, refined(problem))
    before = files(tmp_path)
    calls = 0
    where = exchange if step == "_swap" else os
    replace_file = getattr(where, step)

    def failing(source: Path, destination: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == fail_at:
            raise OSError(28, "No space left on device")
        replace_file(source, destination)

    monkeypatch.setattr(where, step, failing)
    if step == "replace":
        monkeypatch.setattr(exchange, "_exchange_folders", lambda *given: False)
    with pytest.raises(UserError, match=r"cannot be written .No space left"):
        write_result(tmp_path, problem, replace(refined(problem), scale_alpha=2.0, results={"status": "other"}, metrics={}))
    assert files(tmp_path) == before
    assert not list(tmp_path.parent.rglob(".writing-*"))


def test_what_is_not_finite_is_not_written(tmp_path: Path, problem: Problem) -> None:
    result = refined(problem)
    joints = result.joints.clone()
    joints[1, 4, 3] = torch.nan
    with pytest.raises(UserError, match="person 12: joints are not finite"):
        write_result(tmp_path / "out", problem, replace(result, joints=joints))
    assert not (tmp_path / "out").exists()
    joints = result.joints.clone()
    joints[1, 0] = torch.nan  # before the person's first frame
    write_result(tmp_path / "out", problem, replace(result, joints=joints))


def test_an_output_that_cannot_be_made_is_told(tmp_path: Path, problem: Problem) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"output\.path"):
        write_result(tmp_path / "file" / "5_refinement", problem, refined(problem))
