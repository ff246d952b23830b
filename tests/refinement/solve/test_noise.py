"""Noise levels are those that were put in."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace

import pytest
import torch
from problems import make_problem, with_hands

from pose_priors.body.pinhole import to_camera
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.noise import estimate_noise, white_noise, with_slow_keypoints
from pose_priors.refinement.solve.scene import project
from pose_priors.refinement.solve.stages import data_terms, with_keypoint_noise
from pose_priors.refinement.solve.terms import KeypointReprojection, Smoothness, StayNearPose, StayNearRoot


def test_levels_of_a_noisy_problem() -> None:
    noise = estimate_noise(make_problem(frames=60)[0])
    assert noise.keypoint_px == pytest.approx(3.0, rel=0.1)
    assert noise.rotation_rad == pytest.approx(0.01, rel=0.15)
    assert noise.depth_ratio == pytest.approx(0.005, rel=0.1)
    assert 0.003 < noise.bias < 0.05


def test_clean_input_has_none() -> None:
    noise = estimate_noise(make_problem(noise=0.0)[0])
    assert noise.keypoint_px <= 0.1
    assert noise.bias <= 0.001


def test_motion_and_outliers_are_not_noise() -> None:
    draw = torch.Generator().manual_seed(0)
    time = torch.arange(200, dtype=torch.float64)[:, None]
    series = 50 * torch.sin(time / 8 + torch.arange(40)) + 2 * torch.randn(200, 40, generator=draw, dtype=torch.float64)
    series[::50] += 300
    assert white_noise(series, torch.ones_like(series, dtype=torch.bool)) == pytest.approx(2.0, rel=0.15)


def test_fast_motion_is_not_noise() -> None:
    """Steps of 50 px a quarter of a radian apart, of which differences of the fourth order leave more than this noise."""
    draw = torch.Generator().manual_seed(0)
    time = torch.arange(200, dtype=torch.float64)[:, None]
    series = 50 * torch.sin(time / 4 + torch.arange(40)) + 0.01 * torch.randn(200, 40, generator=draw, dtype=torch.float64)
    assert white_noise(series, torch.ones_like(series, dtype=torch.bool)) == pytest.approx(0.01, rel=0.1)


def test_five_frames_are_enough() -> None:
    series = 2 * torch.randn(5, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert white_noise(series, torch.ones_like(series, dtype=torch.bool)) == pytest.approx(2.0, rel=0.15)
    assert math.isnan(white_noise(series[:4], torch.ones(4, 400, dtype=torch.bool)))


def test_the_lesser_of_two_levels_is_not_that_of_few_values() -> None:
    """Half of the values gone, seven in a row are left a few times."""
    draw = torch.Generator().manual_seed(0)
    found = []
    for _ in range(40):
        there = torch.rand(50, 96, generator=draw) < 0.5
        found.append(white_noise(2 * torch.randn(50, 96, generator=draw, dtype=torch.float64), there))
    assert sum(found) / 40 == pytest.approx(2.0, rel=0.05)
    assert min(found) > 1.3
    assert math.isnan(white_noise(2 * torch.randn(5, 3, generator=draw), torch.ones(5, 3, dtype=torch.bool)))


def test_keypoints_whose_places_are_off_as_they_shake_do_not_decide() -> None:
    problem, _ = make_problem(frames=40)
    decide = {}
    for error in (0.0, 0.001, 0.01):
        placed = replace(problem, observations=replace(problem.observations, keypoint_error=error))
        decide[error] = replace(estimate_noise(placed), asked=True).keypoints_decide
    assert decide == {0.0: True, 0.001: True, 0.01: False}


def test_nothing_seen_leaves_the_usual_levels() -> None:
    problem, _ = make_problem()
    seen = dataclasses.replace(problem.observations, keypoint_confidence=torch.zeros_like(problem.observations.keypoint_confidence))
    noise = estimate_noise(dataclasses.replace(problem, observations=seen))
    assert noise.keypoint_px > 0
    assert noise.bias > 0.005


def test_noisy_fingers_say_nothing_of_the_body() -> None:
    problem, _ = make_problem(frames=60)
    without, with_them = estimate_noise(problem), estimate_noise(with_hands(problem, 0.05))
    assert with_them.rotation_rad == without.rotation_rad
    assert with_them.hand_rotation_rad == pytest.approx(0.05, rel=0.1)


def test_keypoints_that_are_projected_bodies_say_nothing_of_stage_3s_error() -> None:
    problem, _ = make_problem(frames=40)
    there = to_camera(problem.start.joints(problem.bodies), problem.cameras.w2c, problem.start.alpha0)
    projected = replace(problem, observations=replace(problem.observations, keypoints=project(there, problem.cameras)))
    seen, drawn = estimate_noise(problem), estimate_noise(projected)
    assert not seen.projected
    assert drawn.projected
    assert drawn.bias > 0.01
    assert drawn.keypoint_px > 2
    clean, _ = make_problem(frames=40, noise=0.0)
    assert not estimate_noise(clean).projected


@pytest.mark.parametrize("people", [1, 2])
def test_stage_3s_error_is_the_same_beside_keypoints_of_much_and_of_little_noise(people: int) -> None:
    """Though some joints err by ten times as much as others, of which a median passes over the largest only where little noise is."""
    problem, _ = make_problem(people, frames=120, noise=0.0)
    seen, draw = problem.observations, torch.Generator().manual_seed(5)
    count = seen.keypoints.shape[2]
    much = torch.logspace(-0.5, 0.5, count, dtype=torch.float64)[torch.randperm(count, generator=draw)]
    slow = 9 * much[:, None] * torch.sin(torch.linspace(0, 20, 120)[:, None, None] + 6 * torch.rand(people, 1, count, 2, generator=draw))
    white = torch.randn(seen.keypoints.shape, generator=draw, dtype=torch.float64)
    levels = [
        estimate_noise(replace(problem, observations=replace(seen, keypoints=seen.keypoints + slow + pixels * white))) for pixels in (1, 9)
    ]
    assert [noise.keypoint_px for noise in levels] == pytest.approx([1, 9], rel=0.15)
    assert min(noise.bias for noise in levels) > 0.014  # above the usual, to which less is not lowered
    assert levels[1].bias == pytest.approx(levels[0].bias, rel=0.12)


def test_an_error_of_stage_3_is_never_told_to_be_less_than_usual_by_its_joints() -> None:
    """Twelve of 22 joints hit their keypoints, as noise or a fit may have it: that makes the others no better."""
    problem, _ = make_problem(frames=60, noise=0.0)
    seen = problem.observations
    off = torch.zeros(1, 1, seen.keypoints.shape[2], 1, dtype=torch.float64)
    off[:, :, :10] = 90
    white = 4 * torch.randn(seen.keypoints.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = estimate_noise(replace(problem, observations=replace(seen, keypoints=seen.keypoints + off + white)))
    assert noise.bias == 0.013


def slowly_wrong(problem: Problem, pixels: float) -> Problem:
    """The same problem, each coordinate of a person's keypoints off by an amount that stays."""
    seen = problem.observations
    people, _, count, _ = seen.keypoints.shape
    off = pixels * torch.randn(people, 1, count, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return replace(problem, observations=replace(seen, keypoints=seen.keypoints + off))


def test_what_fitted_bodies_miss_is_what_keypoints_are_off_by() -> None:
    problem, _ = make_problem(frames=40, noise=0.0)
    there = to_camera(problem.start.joints(problem.bodies), problem.cameras.w2c, problem.start.alpha0)
    noise = replace(estimate_noise(problem), keypoint_px=2.0)
    white = with_slow_keypoints(noise, slowly_wrong(problem, 2.3), there)
    assert white == replace(noise, asked=True)
    assert (noise.keypoints_decide, white.keypoints_decide) == (False, True)
    found = with_slow_keypoints(noise, slowly_wrong(problem, 8.0), there)
    assert found.keypoint_px == pytest.approx(8.0, rel=0.2)
    assert found.slow_keypoints == pytest.approx(found.keypoint_px / 2.0)
    assert not found.keypoints_decide
    assert not replace(white, projected=True).keypoints_decide
    assert with_slow_keypoints(found, slowly_wrong(problem, 30.0), there) == found  # once
    assert found.bias == noise.bias
    # what had been taken for stage 3's error was that of the keypoints
    assert with_slow_keypoints(replace(noise, bias=0.05), slowly_wrong(problem, 8.0), there).bias == 0.013
    unseen = replace(problem, observations=replace(problem.observations, keypoint_confidence=torch.zeros(2, 40, there.shape[2])))
    assert with_slow_keypoints(noise, unseen, there) == replace(noise, asked=True)


def test_only_keypoints_get_that_width_and_none_a_lesser_one() -> None:
    noise = replace(estimate_noise(make_problem()[0]), keypoint_px=8.0)
    own = KeypointReprojection(sigma_px=3.0, size_fraction=0.3)
    found = with_keypoint_noise([(own, 2.0), (Smoothness(), 0.5), (KeypointReprojection(sigma_px=9.0), 1.0)], noise, noise)
    assert found == [(own.model_copy(update={"sigma_px": 8.0}), 2.0), (Smoothness(), 0.5), (KeypointReprojection(sigma_px=9.0), 1.0)]


@pytest.mark.parametrize(("pixels", "anew"), [(2.3, 0.2), (8.0, 1.0)])
def test_stage_3s_slow_error_counts_less_beside_keypoints_of_white_noise(pixels: float, anew: float) -> None:
    problem, _ = make_problem(frames=40, noise=0.0)
    there = to_camera(problem.start.joints(problem.bodies), problem.cameras.w2c, problem.start.alpha0)
    noise = with_slow_keypoints(replace(estimate_noise(problem), keypoint_px=2.0), slowly_wrong(problem, pixels), there)
    ((term, weight),) = with_keypoint_noise([(StayNearPose(noise_rad=0.01, hand_noise_rad=0.1, bias_rad=0.08), 2.0)], noise, noise)
    assert isinstance(term, StayNearPose)
    assert (term.anew, weight) == (anew, 2.0)


@pytest.mark.parametrize(("times", "confidence", "asked"), [(1.0, 1.0, True), (1.3, 1.0, False), (1.3, 0.0, True)])
def test_bodies_far_from_where_depth_maps_show_them_are_asked_nothing(times: float, confidence: float, asked: bool) -> None:
    """The search before ended early; its bodies miss keypoints for that, and not since keypoints err slowly."""
    problem, _ = make_problem(frames=16, noise=0.3)
    seen = problem.observations
    depths = {"joint_depth": times * seen.joint_depth, "joint_depth_confidence": confidence * seen.joint_depth_confidence}
    early = ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale")
    config = RefinementConfig.model_validate({f"{name}_iterations": 0 for name in early} | {"final_iterations": 1})
    given = RefinementInput(replace(problem, observations=replace(seen, **depths)))
    noise = Stage5Refiner(config, trainer={"enable_progress_bar": False}).refine(given).metrics["noise"]
    assert noise["asked"] is asked


def test_stage_3_is_held_to_by_what_it_is_known_to_err_by_now() -> None:
    given = replace(estimate_noise(make_problem()[0]), bias=0.05)
    own = StayNearRoot(depth=1.0, lateral=1.0)
    found = with_keypoint_noise([*((term, 2.0) for term in data_terms(given)), (own, 0.5)], given, replace(given, bias=0.02))
    (root,) = (term for term, weight in found if isinstance(term, StayNearRoot) and weight == 2.0)
    (pose,) = (term for term, _ in found if isinstance(term, StayNearPose))
    assert (root.depth, root.lateral, pose.bias_rad) == pytest.approx((0.05, 0.02, 0.12))
    assert pose.noise_rad == given.rotation_rad
    assert found[-1] == (own, 0.5)  # as whoever added it wants it


def test_knees_that_stage_3_bends_on_every_frame_are_straightened_by_keypoints() -> None:
    problem, _ = make_problem(frames=30)
    pose = problem.start.body_pose.clone()
    pose[:, :, [3, 4], 0] += 0.3  # knees; shanks go back
    pose[:, :, [0, 1], 0] -= 0.12
    bent = replace(problem, start=replace(problem.start, body_pose=pose))
    found = Stage5Refiner(trainer={"enable_progress_bar": False}).refine(RefinementInput(bent))
    assert float(found.body_pose[:, :, [3, 4], 0].mean()) < 0.5 * 0.3  # seen from before, where the picture tells it least


def test_keypoints_that_err_slowly_are_told_and_count_less() -> None:
    problem = slowly_wrong(make_problem(frames=16, noise=0.3)[0], 15.0)
    found = Stage5Refiner(trainer={"enable_progress_bar": False}).refine(RefinementInput(problem))
    assert sum("err slowly" in reason for reason in found.results["quality"]["reasons"]) == 2
    levels = found.metrics["noise"]
    assert levels["keypoint_px"] > 1.25 * estimate_noise(problem).keypoint_px
    white = make_problem(frames=16, noise=0.3)[0].observations.keypoints[1]
    keypoints = torch.stack([problem.observations.keypoints[0], white])
    one = replace(problem, observations=replace(problem.observations, keypoints=keypoints))
    found = Stage5Refiner(trainer={"enable_progress_bar": False}).refine(RefinementInput(one))
    (line,) = [reason for reason in found.results["quality"]["reasons"] if "err slowly" in reason]
    assert line.startswith(f"the keypoints of person {problem.person_ids[0]} ")
