"""How far joints may be off: the matrix is what it says, more evidence makes it less, and the truth is as often within as it should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pose_priors.body.builtin import rest_joints
from pose_priors.body.layout import layout
from pose_priors.body.model import forward_kinematics
from pose_priors.body.pinhole import to_camera
from pose_priors.datamodules.synthetic.scenes.stress.families import FAMILIES
from pose_priors.datamodules.synthetic.scenes.stress.writing import write_family
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.result.evidence import joint_jacobian
from pose_priors.refinement.result.keeping import without
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.result.people import read_person
from pose_priors.refinement.result.truth import Truth, read_truth
from pose_priors.refinement.result.uncertainty import _Banded, _blocks_of_inverse, _inverse, distance_doubts
from pose_priors.refinement.result.write import write_result
from pose_priors.refinement.solve.config import RefinementConfig

BODY = 22


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_blocks_of_the_inverse_are_those_of_the_dense_one(frames: int) -> None:
    rng, size = np.random.default_rng(frames), 4
    root = np.zeros((frames * size * 2, frames * size))  # rows that reach over three frames at most
    for row in range(len(root)):
        t = rng.integers(frames)
        reach = slice(t * size, min(t + 3, frames) * size)
        root[row, reach] = rng.normal(size=reach.stop - reach.start)
    dense = root.T @ root + np.eye(frames * size)
    blocks = dense.reshape(frames, size, frames, size).transpose(0, 2, 1, 3)
    banded = _Banded.of(frames, size)
    for t in range(frames):
        banded.same[t] = blocks[t, t]
        if t + 1 < frames:
            banded.next[t] = blocks[t, t + 1]
        if t + 2 < frames:
            banded.after[t] = blocks[t, t + 2]
    inverse = np.linalg.inv(dense).reshape(frames, size, frames, size)
    np.testing.assert_allclose(_blocks_of_inverse(banded), [inverse[t, :, t] for t in range(frames)], atol=1e-10)


@pytest.mark.parametrize("last", [3.0, -3.0])
def test_the_inverse_is_right_where_rounding_has_left_no_positive_matrix_too(last: float) -> None:
    matrix = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, last]])
    np.testing.assert_allclose(_inverse(matrix), np.linalg.inv(matrix), atol=1e-14)


def test_joints_move_as_the_jacobian_says() -> None:
    parents = layout(BODY).parents
    rng = np.random.default_rng(0)
    pose = torch.from_numpy(0.5 * rng.normal(size=(1, BODY, 3)))
    rest = rest_joints()[:BODY]
    joints, turns = forward_kinematics(pose, rest, parents)
    jacobian = joint_jacobian(joints.numpy(), parents)[0]
    movers = sorted(set(parents[1:]) - {-1})
    assert jacobian.shape == (3 * BODY, 3 + 3 * len(movers))
    np.testing.assert_array_equal(jacobian[:, :3], np.tile(np.eye(3), (BODY, 1)))
    for at, joint in enumerate(movers):
        step = 1e-6 * rng.normal(size=3)
        own = turns[0, joint].numpy().T @ step  # a turn about the world's axes, as the joint itself has it
        moved = pose.clone()
        moved[0, joint] = torch.from_numpy((Rotation.from_rotvec(pose[0, joint].numpy()) * Rotation.from_rotvec(own)).as_rotvec())
        change = (forward_kinematics(moved, rest, parents)[0] - joints).numpy().reshape(-1)
        np.testing.assert_allclose(jacobian[:, 3 + 3 * at : 6 + 3 * at] @ step, change, atol=1e-11)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Problem, Truth]:
    folder = tmp_path_factory.mktemp("scene") / "scene"
    write_family(folder, FAMILIES["occluded_40"], 3)
    cameras, tracks, bodies = (folder / stage for stage in ("1_camera_estimation", "2_tracking", "3_pose_estimation"))
    return load_problem(cameras, tracks, bodies, None), read_truth(folder.with_name("scene_gt.npz"))


def refined(problem: Problem, **fields: int) -> RefinementOutput:
    refiner = Stage5Refiner(RefinementConfig.model_validate(fields), trainer={"enable_progress_bar": False})
    return refiner.refine(RefinementInput(problem))


def test_the_truth_is_within_as_often_as_it_should_be(clip: tuple[Problem, Truth], tmp_path: Path) -> None:
    problem, truth = clip
    found = refined(problem)
    assert found.joint_sigma is not None
    sigma = found.joint_sigma.numpy()[:, :, :BODY]
    error = np.linalg.norm(found.joints.double().numpy()[:, :, :BODY] - truth.joints, axis=-1)
    seen, alive = problem.visible.numpy(), problem.alive.numpy()
    assert 0.5 < (error < sigma)[seen].mean() < 0.98
    assert (error < 2 * sigma)[seen].mean() > 0.9
    hidden = alive & ~seen
    # the middle of what nobody saw is less sure than its ends, and that than what was seen
    gap = np.flatnonzero(hidden[1])
    middle = gap[len(gap) // 2]
    assert sigma[1, middle].mean() > 2 * sigma[1][seen[1]].mean()
    assert sigma[1, gap[0]].mean() < sigma[1, middle].mean()
    assert (error < 2 * sigma)[hidden].mean() > 0.5
    assert (sigma[~alive] == 0).all()
    write_result(tmp_path / "out", problem, found)
    np.testing.assert_allclose(read_person(tmp_path / "out", 2).joint_sigma_mm, 1e3 * found.joint_sigma[1][problem.alive[1]], rtol=1e-5)
    write_result(tmp_path / "silent", problem, replace(found, joint_sigma=None))
    assert np.isnan(read_person(tmp_path / "silent", 2).joint_sigma_mm).all()


def test_who_is_alone_is_less_surely_placed(clip: tuple[Problem, Truth]) -> None:
    problem, _ = clip
    both = refined(problem, max_total_iterations=0)
    alone = refined(without(problem, {1: "hidden"}), max_total_iterations=0)
    assert both.joint_sigma is not None
    assert alone.joint_sigma is not None
    more = (alone.joint_sigma[0].square() - both.joint_sigma[0].square()).clamp_min(0).sqrt()
    distance = to_camera(both.joints.double(), problem.cameras.w2c, both.scale_alpha)[0].norm(dim=-1)
    share = (more / distance)[problem.visible[0]].median()
    assert float(share) == pytest.approx((0.0064**2 - 0.0045**2) ** 0.5, rel=0.2)


def test_less_evidence_leaves_joints_less_sure(clip: tuple[Problem, Truth]) -> None:
    problem, seen = clip[0], clip[0].observations
    usual = refined(problem, max_total_iterations=0).joint_sigma
    no_depth = replace(seen, joint_depth_confidence=torch.zeros_like(seen.joint_depth_confidence))
    blind = refined(replace(problem, observations=no_depth), max_total_iterations=0).joint_sigma
    pale = replace(seen, keypoint_confidence=0.1 * seen.keypoint_confidence)
    dim = refined(replace(problem, observations=pale), max_total_iterations=0).joint_sigma
    assert usual is not None
    assert blind is not None
    assert dim is not None
    for less in (blind, dim):
        more = (less - usual)[problem.visible]
        assert more.min() > -1e-3
        assert more.mean() > 5e-4


def test_what_quality_doubts_is_added_and_what_is_usual_is_not() -> None:
    person = {"size_change": 0.01, "depth_bias": 0.0, "standing_levels": float("nan")}
    others = {"7": {"size_change": -0.05, "depth_bias": 0.105, "standing_levels": 0.09}, "8": person | {"standing_levels": 0.3}}
    quality = {"scale_drift": float("nan"), "people": {"1": person} | others}
    np.testing.assert_allclose(distance_doubts(quality, [1, 7]), [0, np.hypot(0.03, 0.04)])
    assert distance_doubts(quality | {"scale_drift": -0.25}, [1])[0] == pytest.approx(0.1)
    # on a slope, as surely placed as who is alone
    assert np.hypot(distance_doubts(quality, [8])[0], 0.0045) == pytest.approx(0.0064)
