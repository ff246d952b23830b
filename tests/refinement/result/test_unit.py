"""Stage 1's unit by the feet of people who stand and walk."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from problems import make_problem

from pose_priors.body.pinhole import to_camera
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.result.unit import feet_stand, in_unit, unit_by_feet
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.scene import project


def without_depth(problem: Problem) -> Problem:
    seen = problem.observations
    nothing = torch.zeros_like(seen.joint_depth_confidence)
    return dataclasses.replace(
        problem, observations=dataclasses.replace(seen, joint_depth_confidence=nothing, floor_points=seen.floor_points[:0])
    )


def found(problem: Problem) -> float | None:
    return unit_by_feet(RefinementModule(problem, RefinementConfig()).scene(), problem)


def gliding(problem: Problem, *speeds: tuple[float, float, float]) -> Problem:
    """Each person moved on in one piece, in the world, in metres a second, and seen so."""
    start, time = problem.start, torch.arange(problem.num_frames, dtype=torch.float64) / problem.fps
    ways = torch.tensor(speeds, dtype=torch.float64)[:, None] * time[:, None]
    moved = dataclasses.replace(start, pelvis=start.pelvis + ways)
    there = project(to_camera(moved.joints(problem.bodies), problem.cameras.w2c, start.alpha0), problem.cameras)
    there = there + torch.randn(there.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return dataclasses.replace(problem, start=moved, observations=dataclasses.replace(problem.observations, keypoints=there))


def stand_at(problem: Problem, alpha: float) -> bool:
    given, other = (RefinementModule(p, RefinementConfig()).scene() for p in (problem, in_unit(problem, alpha)))
    return feet_stand(other, given, problem)


def as_an_adult(problem: Problem, p: int, times: float) -> Problem:
    """A person taken for one who is larger, and as much farther away."""
    bodies, start, w2c = problem.bodies, problem.start, problem.cameras.w2c
    rest, height, pelvis = bodies.rest_joints.clone(), bodies.height.clone(), start.pelvis.clone()
    centres = -torch.einsum("tji,tj->ti", w2c[:, :3, :3], w2c[:, :3, 3]) * start.alpha0
    rest[p], height[p] = times * rest[p], times * height[p]
    pelvis[p] = centres + times * (pelvis[p] - centres)
    return dataclasses.replace(
        problem,
        bodies=dataclasses.replace(bodies, rest_joints=rest, height=height),
        start=dataclasses.replace(start, pelvis=pelvis),
    )


@pytest.mark.parametrize("alpha", [0.001, 0.01, 0.1, 0.4, 2.5, 10.0])
def test_feet_that_stand_tell_a_unit_however_far_off_the_start_is(alpha: float) -> None:
    problem = without_depth(make_problem(alpha=alpha, alpha0=1.0, noise=0.1)[0])
    assert found(problem) == pytest.approx(alpha, rel=0.05)


def test_feet_tell_nothing_where_no_unit_is_better_or_there_are_none() -> None:
    problem = without_depth(make_problem(alpha0=1.02, noise=0.1)[0])
    assert found(problem) is None or found(problem) == pytest.approx(1.02, rel=0.05)
    nowhere = torch.full_like(problem.bodies.height, torch.nan)
    assert found(dataclasses.replace(problem, bodies=dataclasses.replace(problem.bodies, height=nowhere))) is None
    assert found(dataclasses.replace(problem, visible=torch.zeros_like(problem.visible))) is None
    drunk = torch.randn(problem.start.pelvis.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shaken = dataclasses.replace(problem.start, pelvis=problem.start.pelvis + drunk)
    assert found(dataclasses.replace(problem, start=shaken)) is None


@pytest.mark.parametrize("alpha", [2e-5, 2e4])
def test_a_path_far_beyond_the_usual_units_is_told_by_how_far_people_are(alpha: float) -> None:
    problem = without_depth(make_problem(alpha=alpha, alpha0=1.0, noise=0.1)[0])
    assert found(problem) == pytest.approx(alpha, rel=0.05)


@pytest.mark.parametrize("alpha", [0.01, 0.4, 2.5, 100.0])
def test_feet_stand_in_the_unit_that_is_right(alpha: float) -> None:
    problem = without_depth(make_problem(alpha=alpha, alpha0=1.0, noise=0.0)[0])
    assert stand_at(problem, alpha)
    assert not stand_at(problem, 1.3 * alpha)


@pytest.mark.parametrize("speed", [0.5, 1.5, -0.5])
def test_people_who_glide_stand_in_no_unit(speed: float) -> None:
    """Along with the camera, or against its way: where it moves so much less, or more, they nearly stand."""
    still = without_depth(make_problem(alpha=1.0, noise=0.0)[0])
    problem = gliding(still, (speed, 0, 0), (speed, 0, 0))
    unit = found(problem)
    assert unit is not None
    assert not stand_at(problem, unit)


def test_people_who_glide_keep_the_unit_and_it_is_told() -> None:
    problem = gliding(without_depth(make_problem(alpha=1.0, noise=0.0)[0]), (-0.5, 0, 0), (-0.5, 0, 0))
    output = Stage5Refiner(trainer={"enable_progress_bar": False}).refine(RefinementInput(problem))
    assert output.scale_alpha == 1
    line = "nothing tells the scale, and stage 1's unit is taken for 1 m: feet stand neither in it nor clearly in another"
    assert [reason for reason in output.results["quality"]["reasons"] if "scale" in reason] == [line]
    assert line in output.results["warnings"]


def test_in_another_unit_people_stay_in_the_image_and_on_the_floor() -> None:
    problem = without_depth(make_problem(alpha=3.0, alpha0=1.0, noise=0.0, hidden=slice(8, 16))[0])
    other = in_unit(problem, 3.0)
    assert other.start.alpha0 == 3.0
    before, after = (to_camera(p.start.joints(p.bodies), p.cameras.w2c, p.start.alpha0) for p in (problem, other))
    torch.testing.assert_close(after[problem.visible], before[problem.visible])
    joints, feet = other.start.joints(problem.bodies), torch.isfinite(problem.bodies.height).all(0)
    heights = joints[:, :, feet] @ other.start.ground_plane[:3] + other.start.ground_plane[3] - problem.bodies.height[:, None, feet]
    assert heights.abs().max() < 0.02
    # who is hidden goes straight on, whatever the cameras do
    assert torch.diff(other.start.pelvis[1, 7:17], n=2, dim=0).abs().max() < 1e-9


def test_people_who_contradict_each_other_leave_a_unit_that_one_of_them_agrees_with() -> None:
    problem = as_an_adult(without_depth(make_problem(alpha=1.0, alpha0=1.0, noise=0.1)[0]), 1, 1.5)
    output = Stage5Refiner(trainer={"enable_progress_bar": False}).refine(RefinementInput(problem))
    assert abs(output.scale_delta) <= 0.05
