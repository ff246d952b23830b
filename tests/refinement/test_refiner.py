"""The refinement as a whole, on generated people whose truth is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from problems import NUM_JOINTS, error_mm, make_problem

from pose_priors.body.skeleton import NUM_JOINTS as SMPLX_JOINTS
from pose_priors.configs.base import UserError
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.refinement.given.priors import Priors
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner, run_refinement
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.solve.config import RefinementConfig

QUIET = {"enable_progress_bar": False}


def refine(problem: Problem, **options: object) -> RefinementOutput:
    return Stage5Refiner(trainer=QUIET, **options).refine(RefinementInput(problem))


def test_a_noisy_scene_becomes_better() -> None:
    problem, truth = make_problem(hidden=slice(8, 14))
    output = refine(problem)
    joints = output.joints
    assert error_mm(joints, truth, problem.visible) < 0.25 * error_mm(problem.start.joints(problem.bodies), truth, problem.visible)
    assert error_mm(joints, truth, ~problem.visible) < 40
    assert abs(output.scale_alpha / truth.alpha - 1) < 0.004

    def jitter(joints: torch.Tensor) -> float:
        return float(torch.linalg.vector_norm(torch.diff(joints, n=3, dim=1), dim=-1).mean())

    assert jitter(joints) < 0.1 * jitter(problem.start.joints(problem.bodies))
    feet = joints[:, :, [10, 11]]
    assert torch.linalg.vector_norm(torch.diff(feet, dim=1), dim=-1).mean() < 0.002
    plane = output.ground_plane
    assert float(plane[:3].double() @ truth.plane[:3]) > 0.9999
    assert float((feet @ plane[:3] + plane[3]).min()) > 0
    assert (output.contacts > 0.8).float().mean() > 0.9


def test_a_clean_scene_stays_clean() -> None:
    problem, truth = make_problem(noise=0.0)
    output = refine(problem)
    assert error_mm(output.joints, truth, problem.visible) < 1.0
    assert abs(output.scale_alpha / truth.alpha - 1) < 1e-3


def test_a_wrong_scale_is_mended() -> None:
    problem, truth = make_problem(alpha=1.02, alpha0=1.05)
    output = refine(problem)
    assert abs(output.scale_alpha / truth.alpha - 1) < 0.006
    assert output.scale_delta == pytest.approx(output.scale_alpha / 1.05 - 1, abs=1e-6)


def test_a_scale_out_of_reach_is_told() -> None:
    problem, _ = make_problem(frames=12, alpha=1.0, alpha0=1.15)
    output = refine(problem)
    assert abs(output.scale_delta) <= 0.05
    assert any("stuck at its bound" in warning for warning in output.results["warnings"])


def without_depth(problem: Problem) -> Problem:
    seen = problem.observations
    nothing = torch.zeros_like(seen.joint_depth_confidence)
    blind = dataclasses.replace(seen, joint_depth_confidence=nothing, floor_points=seen.floor_points[:0])
    return dataclasses.replace(problem, observations=blind)


@pytest.mark.parametrize("alpha", [0.5, 10.0, 3000.0])
def test_a_unit_that_nothing_tells_is_found_by_motion(alpha: float) -> None:
    problem, truth = make_problem(alpha=alpha, alpha0=1.0)
    output = refine(without_depth(problem))
    assert output.scale_alpha == pytest.approx(alpha, rel=0.06)
    assert error_mm(output.joints, truth, problem.visible) < 50 < error_mm(problem.start.joints(problem.bodies), truth, problem.visible) / 2
    assert output.scale_delta == pytest.approx(output.scale_alpha - 1, rel=1e-6, abs=1e-6)
    assert any("nothing but motion tells the scale" in reason for reason in output.results["quality"]["reasons"])
    assert not any("bound" in line for line in (*output.results["quality"]["reasons"], *output.results["warnings"]))


def test_a_wider_bound_is_no_reason_to_keep_a_wrong_unit() -> None:
    problem, truth = make_problem(alpha=2.0, alpha0=1.0)
    output = refine(without_depth(problem), config=RefinementConfig(alpha_change_threshold=0.6))
    assert output.scale_alpha == pytest.approx(truth.alpha, rel=0.06)


def standing(problem: Problem) -> Problem:
    """Seen by cameras that turn, and stay where they are."""
    w2c = problem.cameras.w2c.clone()
    w2c[:, :3, 3] = 0
    return dataclasses.replace(problem, cameras=dataclasses.replace(problem.cameras, w2c=w2c))


BRIEF = {f"{name}_iterations": 2 for name in ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")}


@pytest.mark.parametrize(
    ("moving", "free", "options", "why"),
    [
        (True, False, {"enable_scale_optimization": False}, "it was not searched"),
        (True, True, {"max_total_iterations": 0}, "it was not searched"),
        (False, False, {}, "the cameras have no path, so that nobody's place hangs on it"),
        (False, True, {}, "the cameras have no path, so that nobody's place hangs on it"),
    ],
)
def test_a_scale_that_nothing_tells_stays_and_is_told_as_an_assumption(moving: bool, free: bool, options: dict[str, Any], why: str) -> None:
    problem = without_depth(make_problem(frames=12)[0])
    output = refine(
        problem if moving else standing(problem), config=RefinementConfig(optimize_delta_alpha=not free, **{**BRIEF, **options})
    )
    assert (output.scale_alpha, output.scale_delta) == (pytest.approx(1.02, abs=1e-6), 0)
    told = [reason for reason in output.results["quality"]["reasons"] if "scale" in reason]
    assert told == [f"nothing tells the scale, and stage 1's unit is taken for 1.02 m: {why}"]


def test_a_scale_that_is_told_is_no_assumption() -> None:
    seen = make_problem(frames=12)[0]
    for problem in (seen, standing(seen), dataclasses.replace(without_depth(seen), scale_width=0.03)):
        output = refine(problem, config=RefinementConfig(enable_scale_optimization=False, max_total_iterations=0))
        assert not any("nothing tells the scale" in reason for reason in output.results["quality"]["reasons"])


def test_a_unit_that_is_told_or_nearly_right_or_does_not_show_keeps_its_bound() -> None:
    problem, _ = make_problem(frames=12, alpha=1.0, alpha0=1.4)
    blind = without_depth(problem)
    still = dataclasses.replace(blind.cameras, w2c=blind.cameras.w2c[:1].expand_as(blind.cameras.w2c))
    cases = {
        "depth": problem,
        "told": dataclasses.replace(blind, scale_width=0.01),
        "still": dataclasses.replace(blind, cameras=still),
        "near": without_depth(make_problem(frames=12, alpha=1.0, alpha0=1.05)[0]),
    }
    for name, case in cases.items():
        output = refine(case)
        assert abs(output.scale_delta) <= 0.05, name
        told = any("beyond its bound" in reason for reason in output.results["quality"]["reasons"])
        assert told == (name == "depth"), name


def test_the_whole_scale_is_found_where_it_is_free() -> None:
    problem, truth = make_problem(frames=12, alpha=1.0, alpha0=1.15)
    output = refine(problem, config=RefinementConfig(optimize_delta_alpha=False))
    assert output.scale_alpha == pytest.approx(truth.alpha, rel=0.01)
    assert output.scale_delta == pytest.approx(output.scale_alpha / 1.15 - 1, abs=1e-6)
    assert not any("bound" in warning for warning in output.results["warnings"])


def test_the_same_input_gives_the_same_bits() -> None:
    problem, _ = make_problem(frames=12)
    first, second = refine(problem), refine(problem)
    for f in dataclasses.fields(first):
        if f.name == "metrics":  # holds times
            continue
        a, b = getattr(first, f.name), getattr(second, f.name)
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    assert first.results == second.results


def test_the_order_of_people_does_not_matter() -> None:
    problem, truth = make_problem(people=2)
    order = [1, 0]

    def pick(value: object, *names: str) -> object:
        return dataclasses.replace(value, **{name: getattr(value, name)[order] for name in names})

    swapped = dataclasses.replace(
        problem,
        bodies=pick(problem.bodies, "rest_joints", "shape_directions", "betas", "height", "thickness"),
        observations=pick(problem.observations, "keypoints", "keypoint_confidence", "joint_depth", "joint_depth_confidence"),
        start=pick(problem.start, "global_orient", "body_pose", "pelvis"),
    )
    one, other = refine(problem), refine(swapped)
    # rounding differs, and 300 iterations carry it on
    assert error_mm(other.joints[order], dataclasses.replace(truth, joints=one.joints.double()), problem.visible) < 3
    assert one.scale_alpha == pytest.approx(other.scale_alpha, rel=1e-3)


def test_a_prior_is_scored_and_joins_the_likelihood() -> None:
    problem, _ = make_problem(frames=12)
    prior = GaussianConfig(kind="gaussian").build(range(1, NUM_JOINTS))
    prior.fit_statistics(0.2 * torch.randn(500, SMPLX_JOINTS, 3, generator=torch.Generator().manual_seed(0)))
    prior.requires_grad_(False)
    with_prior, without = refine(problem, priors=Priors(body=prior)), refine(problem)
    assert with_prior.metrics["sub_stages"]["smpl"]["losses"]["pose"] != without.metrics["sub_stages"]["smpl"]["losses"]["pose"]
    assert with_prior.results["per_person_likelihoods"].keys() == {"1", "2"}
    assert not torch.equal(with_prior.joints, without.joints)


@pytest.mark.parametrize(
    ("given_as", "joints", "told"),
    [
        ("body", range(25, 55), r"prior\.body: scores left_index1.* no joint of the body"),
        ("hands", range(1, 22), r"prior\.hands: scores left_hip.* no joint of the hands"),
        ("hands", range(25, 55), r"prior\.hands: the bodies .* have no hands \(\d\d joints\)"),
    ],
)
def test_a_prior_that_would_judge_nothing_is_refused(given_as: str, joints: range, told: str) -> None:
    problem, _ = make_problem(frames=12)
    prior = GaussianConfig(kind="gaussian").build(joints)
    with pytest.raises(UserError, match=told):
        refine(problem, priors=Priors(**{given_as: prior}))


def test_one_person_and_one_frame_come_through() -> None:
    for frames in (1, 2, 3):
        problem, truth = make_problem(people=1, frames=frames)
        output = refine(problem)
        assert torch.isfinite(output.joints).all()
        assert error_mm(output.joints, truth, problem.visible) < 150


def test_a_start_that_is_not_finite_is_refused() -> None:
    problem, _ = make_problem(frames=12)
    pelvis = problem.start.pelvis.clone()
    pelvis[0, 3] = float("nan")
    with pytest.raises(UserError, match="NaN in pelvis"):
        refine(dataclasses.replace(problem, start=dataclasses.replace(problem.start, pelvis=pelvis)))


def test_contacts_are_those_of_the_outcome_whatever_was_optimised() -> None:
    problem, _ = make_problem(noise=0.0, frames=12)
    output = refine(problem, config=RefinementConfig(enable_environmental_constraints=False, max_total_iterations=5))
    assert (output.contacts > 0.8).float().mean() > 0.9


@pytest.mark.parametrize("options", [{"accelerator": "abacus"}, {"acelerator": "cpu"}])
def test_a_trainer_that_lightning_refuses_is_one_line(options: dict[str, str]) -> None:
    problem, _ = make_problem(frames=12)
    with pytest.raises(UserError, match=rf"trainer .*{next(iter(options))}.*refused") as caught:
        Stage5Refiner(trainer=options).refine(RefinementInput(problem))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("options", "told"), [({"devices": 2}, "2 processes"), ({"precision": "64-true"}, "32-true, .* are allowed")])
def test_a_trainer_that_does_not_fit_a_refinement_is_one_line(options: dict[str, Any], told: str) -> None:
    problem, _ = make_problem(frames=12)
    with pytest.raises(UserError, match=rf"trainer\.{next(iter(options))}: .*{told}") as caught:
        Stage5Refiner(trainer=options).refine(RefinementInput(problem))
    assert "\n" not in str(caught.value)


def test_whoever_wants_no_gradients_gets_the_same() -> None:
    config = RefinementConfig(max_total_iterations=3)
    problem, _ = make_problem(frames=6)
    expected = refine(problem, config=config).joints
    with torch.inference_mode():
        made, _ = make_problem(frames=6)
        inside = refine(made, config=config)
    for found in (inside, refine(made, config=config)):
        assert torch.equal(found.joints, expected)
        assert not found.joints.is_inference()


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(UserError, match=r"stage 5: lambda_dpth: unknown key; did you mean lambda_depth\? allowed here: .*lambda_data"):
        run_refinement("4", "1", "2", "3", "5", config={"lambda_dpth": 1.0})


def test_a_floor_that_nobody_touches_and_no_point_shows_stays_where_it_is() -> None:
    problem, _ = make_problem(frames=12)
    seen, start = problem.observations, problem.start
    nothing = {name: torch.zeros_like(getattr(seen, name)) for name in ("keypoint_confidence", "joint_depth_confidence")}
    gliding = start.pelvis + 0.05 * torch.arange(12)[:, None] * torch.tensor([0.0, 0.0, 1.0])  # 1.5 m/s, soles 5 cm below the floor
    start = dataclasses.replace(start, pelvis=gliding, ground_plane=start.ground_plane - torch.tensor([0.0, 0.0, 0.0, 0.05]))
    output = refine(
        dataclasses.replace(problem, observations=dataclasses.replace(seen, floor_points=seen.floor_points[:0], **nothing), start=start)
    )
    assert not (output.contacts > 0.5).any()
    assert torch.allclose(output.ground_plane.double(), start.ground_plane, atol=1e-6)


def test_a_floor_that_is_not_known_holds_nobody() -> None:
    problem, _ = make_problem(frames=12)
    output = refine(dataclasses.replace(problem, floor_known=False))
    for report in output.metrics["sub_stages"].values():
        assert {"skate", "contact", "penetration", "scene_floor"}.isdisjoint(report["losses"])
    assert torch.allclose(output.ground_plane.double() / output.scale_alpha * problem.start.alpha0, problem.start.ground_plane, atol=1e-2)


def test_without_a_terminal_each_sub_stage_is_a_line(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    problem, _ = make_problem(frames=8)
    config = RefinementConfig(max_total_iterations=9, root_fitting_iterations=3)
    with caplog.at_level("INFO", logger="refine"):
        output = Stage5Refiner(config).refine(RefinementInput(problem))
    lines = [line for line in caplog.messages if ", sub-stage " in line]
    assert [line.split(",")[0] for line in lines] == list(output.metrics["sub_stages"])[: len(lines)]
    assert lines
    assert lines[0].split(": ")[1].startswith("3 iterations, loss ")
    assert not any(mark in capsys.readouterr().err for mark in ("\r", "it/s"))
