"""Who is worse off after than before keeps the input, is told of, and does not move the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pose_priors.refinement.refiner
from pose_priors.body.pinhole import to_camera
from pose_priors.datamodules.synthetic.scenes.stress.families import FAMILIES
from pose_priors.datamodules.synthetic.scenes.stress.writing import write_family
from pose_priors.refinement.given.floor import with_floor
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.result.keeping import contradicted, without
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.result.write import write_result
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.module import RefinementModule


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    folder = tmp_path_factory.mktemp("scene") / "scene"
    write_family(folder, replace(FAMILIES["reference"], fps=15.0), 3)
    return load_problem(*(folder / stage for stage in ("1_camera_estimation", "2_tracking", "3_pose_estimation")), None)


def refined(problem: Problem, **fields: int) -> RefinementOutput:
    refiner = Stage5Refiner(RefinementConfig.model_validate(fields), trainer={"enable_progress_bar": False})
    return refiner.refine(RefinementInput(problem))


def test_nobody_keeps_an_input_that_got_better(problem: Problem) -> None:
    found = refined(problem)
    assert "kept" not in found.results["quality"]
    assert "kept" not in refined(problem, max_total_iterations=0).results["quality"]


@pytest.mark.parametrize(
    ("witness", "spoil"),
    [
        ("keypoints", lambda joints: joints + torch.tensor([0.3, 0, 0])),
        ("fastest step", lambda joints: joints + 0.3 * (torch.arange(joints.shape[0]) == 9)[:, None, None]),
        ("shaking", lambda joints: joints + 0.2 * (torch.arange(joints.shape[0]) % 2)[:, None, None]),
        ("depth under the floor", lambda joints: joints + torch.tensor([0.0, 0.2, 0.0])),
    ],
)
def test_each_witness_is_heard(problem: Problem, witness: str, spoil: object) -> None:
    module = RefinementModule(with_floor(problem.to(torch.float32)), RefinementConfig(max_total_iterations=0))
    scene = module.scene()
    assert not contradicted(module, scene)
    joints = scene.joints.clone()
    joints[1] = spoil(joints[1])
    camera = to_camera(joints, problem.cameras.w2c.float(), scene.alpha)
    found = contradicted(module, replace(scene, joints=joints, camera_joints=camera))
    assert list(found) == [1]
    assert f"{witness} " in found[1]


def test_who_is_kept_is_as_given_and_the_others_as_if_alone(problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pose_priors.refinement.refiner, "contradicted", lambda module, scene: {1: "moves by 230 m/s"})
    found = refined(problem)
    monkeypatch.setattr(pose_priors.refinement.refiner, "contradicted", lambda module, scene: {})
    alone = refined(without(problem, {1: ""}))
    torch.testing.assert_close(found.joints[0], alone.joints[0], atol=0, rtol=0)
    assert found.scale_alpha == alone.scale_alpha
    # in each camera the kept person is where it was given, with the pose that it was given
    scaled = [problem.cameras.w2c.numpy().copy() for _ in range(2)]
    for w2c, alpha in zip(scaled, (problem.start.alpha0, found.scale_alpha), strict=True):
        w2c[:, :3, 3] *= alpha
    given = to_camera(problem.start.joints(problem.bodies)[1].numpy(), scaled[0])
    np.testing.assert_allclose(to_camera(found.joints[1].double().numpy(), scaled[1]), given, atol=1e-4)
    np.testing.assert_allclose(found.body_pose[1], problem.start.body_pose[1], atol=1e-6)
    np.testing.assert_allclose(found.pelvis[1], found.joints[1, :, 0], atol=1e-5)
    quality = found.results["quality"]
    assert quality["kept"] == [2]
    assert quality["verdict"] == "check"
    assert quality["reasons"][0] == "person 2 keeps its input: moves by 230 m/s"
    assert found.joint_sigma is not None
    assert found.joint_sigma[1].mean() > found.joint_sigma[0].mean()
    write_result(tmp_path / "out", problem, found)


def test_where_all_keep_theirs_nothing_is_refined_again(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pose_priors.refinement.refiner, "contradicted", lambda module, scene: {0: "a", 1: "b"})
    found = refined(problem)
    assert found.results["quality"]["kept"] == [1, 2]
    np.testing.assert_allclose(found.body_pose, problem.start.body_pose, atol=1e-6)
