from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import roma
import torch
from problems import make_problem
from scipy.spatial.transform import Rotation

from pose_priors.refinement.given.floor import floor_candidates, ground_plane, skin_depths, soles, with_floor
from pose_priors.refinement.given.planes import level_plane, median_plane, ransac_plane

TURN = Rotation.from_euler("xz", [170, 8], degrees=True).as_matrix()
UP = TURN @ [0, 1, 0]
PLANE = np.array([*UP, 1.3])


def scene(noise: float = 0.01, outliers: int = 0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = np.stack([rng.uniform(-3, 3, 800), rng.normal(0, noise, 800), rng.uniform(-3, 3, 800)], 1)
    return np.concatenate([points, rng.uniform([-3, 0, -3], [3, 0.6, 3], (outliers, 3))]) @ TURN.T - 1.3 * UP


def off(plane: np.ndarray) -> tuple[float, float]:
    return float(np.degrees(np.arccos(min(1.0, plane[:3] @ UP)))), float(abs(plane[3] - PLANE[3]))


@pytest.mark.parametrize("outliers", [0, 400])
def test_ransac_finds_the_plane_among_outliers(outliers: int) -> None:
    tilted = Rotation.from_rotvec([0.15, 0, 0]).as_matrix() @ UP
    angle, distance = off(ransac_plane(scene(outliers=outliers), tilted, 0.05, 0))
    assert angle < 0.5
    assert distance < 0.012
    np.testing.assert_array_equal(ransac_plane(scene(), tilted, 0.05, 4), ransac_plane(scene(), tilted, 0.05, 4))


def test_ransac_does_not_take_a_wall_for_the_floor() -> None:
    wall = np.random.default_rng(0).uniform([-3, -1, 2], [3, 2, 2.001], (500, 3)) @ TURN.T
    assert ransac_plane(wall, UP, 0.05, 0) is None
    assert ransac_plane(wall[:2], UP, 0.05, 0) is None


def test_median_plane_has_least_absolute_deviations() -> None:
    points = scene(noise=0.02, outliers=150)
    start = np.array([*(Rotation.from_rotvec([0, 0, 0.04]).as_matrix() @ UP), 1.28])
    plane = median_plane(points, start, 0.25)
    assert off(plane)[0] < 0.6
    near = points[np.abs(points @ plane[:3] + plane[3]) < 0.2]
    cost = np.abs(near @ plane[:3] + plane[3]).sum()
    for shift in (-3e-3, 3e-3):
        assert np.abs(near @ plane[:3] + plane[3] + shift).sum() > cost
        for axis in np.eye(3):
            turned = Rotation.from_rotvec(shift * axis).apply(plane[:3])
            assert np.abs(near @ turned - near.mean(0) @ (turned - plane[:3]) + plane[3]).sum() > cost - 1e-6 * cost
    np.testing.assert_array_equal(median_plane(points[:2], start, 0.25), start)


def test_methods_agree_with_their_definitions() -> None:
    feet = scene(noise=0.0)[:50]
    points = scene()
    assert off(ground_plane("ransac", feet, points, UP, 0.05, 0))[0] < 0.2
    assert off(ground_plane("median", feet, points, UP, 0.05, 0))[0] < 0.2
    none = points[:0]
    np.testing.assert_array_equal(ground_plane("ransac", feet, none, UP, 0.05, 0), level_plane(feet, UP))
    fixed = ground_plane("fixed", feet, points, UP, 0.05, 0)
    np.testing.assert_array_equal(fixed[:3], [0, -1, 0])
    assert np.median(feet @ fixed[:3]) == pytest.approx(-fixed[3])


def test_candidates_and_soles() -> None:
    lean = Rotation.from_euler("xz", np.random.default_rng(2).normal(0, 8, (40, 2)), degrees=True).as_matrix()
    joints, seen = np.zeros((1, 40, 22, 3)), np.ones((1, 40), bool)
    joints[0, :, 15, 1], joints[0, :, [7, 8], 1] = 1.5, 0.06
    joints = joints @ lean.transpose(0, 2, 1) @ TURN.T
    seen[0, :10] = False
    heights = np.full((1, 22), np.nan)
    heights[0, [7, 8, 10, 11]] = [0.06, 0.06, 0.0, 0.0]
    feet = soles(joints, heights, UP, seen)
    assert feet.shape == (30, 3)
    np.testing.assert_allclose(feet @ UP, 0, atol=0.02)
    points = np.array([0.1, -0.1, 0.5, -0.5])[:, None] * UP
    np.testing.assert_array_equal(floor_candidates(points, feet, UP, 0.25), points[:2])


def test_a_problem_without_a_floor_stands_on_its_people() -> None:
    problem, truth = make_problem(noise=0.0)
    bare = replace(problem, start=replace(problem.start, ground_plane=torch.full((4,), float("nan"), dtype=torch.float64)))
    found = with_floor(bare).start.ground_plane
    assert float(found[:3] @ truth.plane[:3]) > np.cos(np.radians(8))
    assert float(torch.linalg.vector_norm(found[:3])) == pytest.approx(1)
    soles = problem.start.joints(problem.bodies)[..., [7, 8, 10, 11], :] - problem.bodies.height[:, None, [7, 8, 10, 11], None] * found[:3]
    assert float((soles @ found[:3] + found[3]).amin(-1).median()) == pytest.approx(0, abs=0.02)


def test_a_floor_that_is_given_is_kept_and_its_points_are_thinned() -> None:
    problem, _ = make_problem(frames=3)
    for count, kept in ((0, 0), (4096, 4096), (4097, 2049), (20_000, 4000)):
        points = torch.arange(3.0 * count).view(count, 3)
        found = with_floor(replace(problem, observations=replace(problem.observations, floor_points=points)))
        assert len(found.observations.floor_points) == kept
        assert torch.equal(found.start.ground_plane, problem.start.ground_plane)


def test_a_body_ends_at_its_soles_and_where_it_has_none_at_its_skin() -> None:
    nan = float("nan")
    found = skin_depths(np.array([[nan, nan, 0.06]]), np.array([[0.1, nan, 0.04]]))
    np.testing.assert_array_equal(found, [[0.1, 0.0, 0.06]])


def test_a_problem_whose_people_and_cameras_contradict_each_other_has_no_floor_to_hold_on_to() -> None:
    problem, _ = make_problem(people=1, noise=0.0)
    start, about = problem.start, roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, 1.9], dtype=torch.float64))
    laid = roma.rotmat_to_rotvec(about @ roma.rotvec_to_rotmat(start.global_orient))
    bare = replace(start, global_orient=laid, ground_plane=torch.full((4,), float("nan"), dtype=torch.float64))
    found = with_floor(replace(problem, start=bare))
    assert not found.floor_known
    assert "up is" in found.warnings[-1]
    assert with_floor(problem).floor_known
