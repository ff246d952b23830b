"""What the witnesses say of a refinement: nothing of ordinary scenes, and the reason where one of them is wrong."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
import roma
import torch
from problems import make_problem

from pose_priors.body.pinhole import to_camera
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.result.quality import quality as quality_of
from pose_priors.refinement.result.scale import stands_still
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.contacts import detect_contacts
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.scene import project

SHORT = RefinementConfig(motion_prior_iterations=0, environmental_iterations=30, scale_iterations=10, final_iterations=5)

_SUB_STAGES = ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")


def quality(problem: Problem) -> dict[str, Any]:
    found = Stage5Refiner(SHORT, trainer={"enable_progress_bar": False}).refine(RefinementInput(problem)).results["quality"]
    assert isinstance(found, dict)
    return found


def unsolved(problem: Problem) -> dict[str, Any]:
    """The same where what comes out is what was given, but for flicker, which costs no time."""
    module = RefinementModule(problem, SHORT)
    scene = module.scene()
    return quality_of(module, scene, detect_contacts(scene, module.problem))


def seen_as(problem: Problem, **changes: torch.Tensor) -> Problem:
    return dataclasses.replace(problem, observations=dataclasses.replace(problem.observations, **changes))


def test_ordinary_scenes_are_good() -> None:
    for noise in (0.0, 1.0):
        problem, truth = make_problem(frames=24, noise=noise)
        found = quality(problem)
        assert (found["verdict"], found["reasons"]) == ("good", [])
        assert found["people"].keys() == {"1", "2"}
        for person in found["people"].values():
            assert person["contact_share"] > 0.9
            assert abs(person["scale_alpha"] / truth.alpha - 1) < 0.01
            assert abs(person["height_above_floor"]) < 0.02
            assert person["keypoint_misfit"] < 1.5
        json.dumps(found)


def test_depths_that_the_floor_contradicts_are_named() -> None:
    problem, _ = make_problem(frames=24)
    bias = torch.tensor([0.05, -0.05], dtype=torch.float64)
    depth = problem.observations.joint_depth * bias.exp()[:, None, None]
    found = quality(seen_as(problem, joint_depth=depth, depth_bias=bias))
    assert found["verdict"] == "check"
    assert any(line.startswith("the depth maps show person 1 +") for line in found["reasons"])


def test_a_scale_that_drifts_is_named() -> None:
    problem, _ = make_problem(frames=24, noise=0.0)
    drifting = problem.observations.joint_depth * torch.linspace(1.0, 0.85, 24, dtype=torch.float64)[:, None]
    found = unsolved(seen_as(problem, joint_depth=drifting))
    assert 0.05 < found["scale_drift"] < 0.2
    assert any("along the clip" in line for line in found["reasons"])


@pytest.mark.parametrize(("times", "degrees", "told"), [(0.0, 12.0, True), (1e-3, 12.0, True), (1.0, 12.0, False), (0.0, 8.0, False)])
def test_cameras_that_turn_without_a_path_are_named_and_no_worse(times: float, degrees: float, told: bool) -> None:
    found = unsolved(turning(times, degrees))
    line = "the cameras turn by 12 degrees and their path stands still: they stand on a tripod, or the path has lost its unit, and then "
    assert found["reasons"] == ([f"{line}nobody's path in the world is right"] if told else [])
    assert found["verdict"] == "good"


def test_feet_tell_a_tripod_from_a_lost_path() -> None:
    """Feet that stand, that go by all the time as if the cameras had gone with them, and that stand for a while."""
    problem = turning(0.0, 12.0)
    carried = torch.linspace(0, 1, problem.num_frames, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    seen = "the cameras turn by 12 degrees and their path stands still"
    lost = "the path has lost its unit, and then nobody's path in the world is right"
    for way, told in (
        (0 * carried, None),
        (carried, (1, f"{seen}, and no foot stands before them: {lost}, or people glide before a tripod")),
        ((carried - 0.25).clamp_min(0), (0, f"{seen}: they stand on a tripod, or {lost}")),
    ):
        moved = dataclasses.replace(problem, start=dataclasses.replace(problem.start, pelvis=problem.start.pelvis + way))
        module = RefinementModule(moved, SHORT)
        module.total_iterations = 1  # of a start whose feet have no noise
        assert stands_still(module, module.scene()) == told


def turning(times: float, degrees: float) -> Problem:
    """A problem seen by cameras that turn by so many degrees and move by so much of their path."""
    problem, _ = make_problem(noise=0.0)
    w2c = problem.cameras.w2c.clone()
    angle = torch.linspace(0, math.radians(degrees), len(w2c), dtype=torch.float64)
    w2c[:, :3, :3] = roma.rotvec_to_rotmat(angle[:, None] * torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    w2c[:, :3, 3] *= times
    problem = dataclasses.replace(problem, cameras=dataclasses.replace(problem.cameras, w2c=w2c))
    there = to_camera(problem.start.joints(problem.bodies), w2c, problem.start.alpha0)
    shaken = project(there, problem.cameras) + 3 * torch.randn(*there.shape[:3], 2, generator=torch.Generator().manual_seed(0))
    depth = (there[..., 2] - problem.bodies.thickness[:, None]) / problem.start.alpha0
    return seen_as(problem, keypoints=shaken, joint_depth=depth)


def test_of_cameras_that_are_not_finite_it_is_not_said_how_they_turn() -> None:
    problem, _ = make_problem(frames=8)
    w2c = problem.cameras.w2c.clone()
    w2c[3] = torch.nan
    module = RefinementModule(problem, SHORT)
    module.problem = dataclasses.replace(problem, cameras=dataclasses.replace(problem.cameras, w2c=w2c))
    assert stands_still(module, module.scene()) is None


def test_keypoints_that_are_bodies_projected_are_named() -> None:
    problem, _ = make_problem(frames=24)
    there = to_camera(problem.start.joints(problem.bodies), problem.cameras.w2c, problem.start.alpha0)
    found = unsolved(seen_as(problem, keypoints=project(there, problem.cameras)))
    assert any("its body projected" in line for line in found["reasons"])


def test_nobody_who_is_seen_leans() -> None:
    problem, _ = make_problem(frames=12, noise=0.0)
    found = unsolved(dataclasses.replace(problem, visible=torch.zeros_like(problem.visible), floor_tilt=0.04))
    assert not [line for line in found["reasons"] if "lean" in line]
    assert all(math.isnan(person["standing_levels"]) for person in found["people"].values())


def test_people_of_whom_little_was_seen_are_named() -> None:
    problem, _ = make_problem(frames=24, noise=0.0)
    confidence = problem.observations.keypoint_confidence.clone()
    confidence[0] = 0
    found = unsolved(seen_as(problem, keypoint_confidence=confidence))
    assert found["reasons"] == ["person 1 has no keypoints, and nothing but stage 3 says how it is turned and posed"]
    for frames, told in ((8, ["person 2 is seen on 8 frames, too few to tell its path from noise"]), (9, [])):
        there = problem.visible.clone()
        there[1, frames:] = False
        found = unsolved(dataclasses.replace(problem, visible=there, alive=there))
        assert found["reasons"] == told


FEW = "nothing but stage 3 says how it is turned and posed"
LITTLE = "of the say in how it is turned and posed"


@pytest.mark.parametrize(
    ("frames", "points", "confidence", "has"),
    [
        (1, 22, 0.9, f"keypoints on 1 of 24 frames, and on the others {FEW}"),
        (6, 22, 0.9, ""),
        (24, 22, 0.05, f"faint keypoints, of a confidence of 0.05, more than 0.1 is expected: stage 3 has much {LITTLE}"),
        (5, 22, 0.05, f"keypoints on 5 of 24 frames, and on the others {FEW}"),
        (24, 5, 0.9, f"keypoints of 5 joints a frame, 6 are expected: stage 3 has most {LITTLE}"),
        (24, 6, 0.9, ""),
        (24, 22, 0.0, f"no keypoints, and {FEW}"),
    ],
)
def test_keypoints_on_few_frames_or_hardly_any_are_named(frames: int, points: int, confidence: float, has: str) -> None:
    problem, _ = make_problem(frames=24, noise=0.0)
    sure = problem.observations.keypoint_confidence.clone()
    sure[1] = 0
    sure[1, :frames, :points] = confidence
    found = unsolved(seen_as(problem, keypoint_confidence=sure))
    assert found["reasons"] == ([f"person 2 has {has}"] if has else [])
    assert found["verdict"] == ("check" if has else "good")


def test_a_clip_without_anybody_stays_as_it_is_and_is_poor() -> None:
    problem, _ = make_problem(frames=24)
    nowhere = torch.zeros_like(problem.visible)
    for alive in (problem.alive, nowhere):
        given = dataclasses.replace(problem, visible=nowhere, alive=alive)
        found = Stage5Refiner(SHORT, trainer={"enable_progress_bar": False}).refine(RefinementInput(given))
        assert found.results["quality"]["verdict"] == "poor"
        assert found.results["quality"]["reasons"][0] == "nobody is seen on any frame, so nothing was refined"
        assert found.results["status"] == "success"
        assert all(math.isfinite(value) for value in found.results["per_person_likelihoods"].values())
        torch.testing.assert_close(found.joints.double(), problem.start.joints(problem.bodies), rtol=0, atol=1e-4)


def test_bodies_without_a_joint_that_can_carry_are_refined_without_a_floor() -> None:
    problem, truth = make_problem(frames=24)
    height = torch.full_like(problem.bodies.height, math.nan)
    given = dataclasses.replace(problem, bodies=dataclasses.replace(problem.bodies, height=height))
    found = Stage5Refiner(SHORT, trainer={"enable_progress_bar": False}).refine(RefinementInput(given))
    assert found.results["status"] == "success"
    assert found.results["quality"]["reasons"] == []
    person = found.results["quality"]["people"]["1"]
    assert all(math.isnan(person[name]) for name in ("contact_share", "height_above_floor", "standing_levels"))
    before, after = (
        torch.linalg.vector_norm(joints - truth.joints, dim=-1).mean()
        for joints in (problem.start.joints(problem.bodies), found.joints.double())
    )
    assert after < 0.8 * before


def test_a_floor_in_doubt_is_poor_and_one_that_is_not_touched_to_be_checked() -> None:
    problem, _ = make_problem(frames=24, noise=0.0)
    found = unsolved(dataclasses.replace(problem, floor_known=False))
    assert found["verdict"] == "poor"
    assert "where the floor is" in found["reasons"][0]
    sunk = problem.start.ground_plane + torch.tensor([0.0, 0.0, 0.0, 0.6], dtype=torch.float64)
    lower = seen_as(problem, floor_points=problem.observations.floor_points - 0.6 * problem.start.ground_plane[:3] / problem.start.alpha0)
    found = unsolved(dataclasses.replace(lower, start=dataclasses.replace(problem.start, ground_plane=sunk)))
    assert "person 1 touches the floor on 0 % of the frames" in found["reasons"]


@pytest.mark.parametrize(
    ("climb", "ahead", "degrees", "floor_tilt", "told"),
    [
        (0.0, 0.0, 0, 0.04, []),
        (0.3, 0.0, 0, 0.04, ["person 1 stands at heights that differ by 0.27 m", "person 2 stands at heights that differ by 0.27 m"]),
        (0.3, 0.0, 90, 0.04, []),
        (0.0, 0.0, 20, 0.04, ["people lean by 24 degrees from what the files say is up"]),
        (0.0, 0.0, 20, math.inf, []),
        # who leans towards a ladder, or the stairs that they climb
        (0.3, 0.0, 20, 0.04, ["person 1 stands at heights that differ by 0.27 m", "person 2 stands at heights that differ by 0.27 m"]),
        (0.3, 0.4, 20, 0.04, ["person 1 stands at heights that differ by 0.27 m", "person 2 stands at heights that differ by 0.27 m"]),
        # who goes along a floor that the files take for a slope stands across it
        (-0.17, 0.4, 20, 0.04, ["person 1 stands at heights", "person 2 stands at heights", "people lean by 24 degrees"]),
    ],
)
def test_who_stands_at_several_heights_or_leans_is_told(
    climb: float, ahead: float, degrees: float, floor_tilt: float, told: list[str]
) -> None:
    problem, _ = make_problem(frames=60, noise=0.0)
    up = problem.start.ground_plane[:3]
    sideways = torch.nn.functional.normalize(torch.linalg.cross(up, up.new_tensor([0.0, 0.0, 1.0])), dim=0)
    goes = climb * up + ahead * torch.linalg.cross(sideways, up)  # bodies lean to where they go
    rising = (torch.linspace(0, 1, 60, dtype=torch.float64)[:, None] * goes).expand_as(problem.start.pelvis)
    about = sideways * math.radians(degrees)
    orient = roma.rotvec_composition([about.expand_as(problem.start.global_orient).contiguous(), problem.start.global_orient])
    start = dataclasses.replace(problem.start, pelvis=problem.start.pelvis + rising, global_orient=orient)
    found = unsolved(dataclasses.replace(problem, start=start, floor_tilt=floor_tilt))
    lines = [line for line in found["reasons"] if "heights" in line or "lean" in line]
    assert [line[: len(start)] for line, start in zip(lines, told, strict=True)] == told
    assert not (told and found["verdict"] == "good")
    assert math.isnan(found["people"]["1"]["standing_levels"]) == (degrees == 90)


@pytest.mark.parametrize("fps", [15, 30, 120])
def test_who_jumps_stands_at_one_height(fps: int) -> None:
    """Feet that are slow at the top of a jump of 25 cm do not stand there."""
    problem, _ = make_problem(frames=3 * fps, noise=0.0)
    up, flight = problem.start.ground_plane[:3], 2 * math.sqrt(2 * 0.25 / 9.81)
    phase = torch.arange(3 * fps, dtype=torch.float64) / fps % (flight + 0.8)
    height = torch.where(phase < flight, 9.81 / 2 * phase * (flight - phase), 0.0)
    assert height.max() > 0.23
    start = dataclasses.replace(problem.start, pelvis=problem.start.pelvis + height[:, None] * up)
    found = unsolved(dataclasses.replace(problem, start=start, fps=float(fps), floor_tilt=0.04))
    assert found["people"]["1"]["standing_levels"] < 0.05
    assert not [line for line in found["reasons"] if "heights" in line]


@pytest.mark.parametrize("asked", [{"max_total_iterations": 0}, {f"{name}_iterations": 0 for name in _SUB_STAGES}])
def test_that_nothing_was_searched_is_told(asked: dict[str, int]) -> None:
    problem, _ = make_problem(frames=12)
    found = Stage5Refiner(RefinementConfig(**asked), trainer={"enable_progress_bar": False}).refine(RefinementInput(problem)).results
    told = [line for line in found["quality"]["reasons"] if "nothing was searched" in line]
    assert len(told) == 1
    assert told[0] in found["warnings"]
    assert found["quality"]["verdict"] != "good"
