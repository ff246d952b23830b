"""The scale where neither depth nor the floor tells it: held as firmly as it is known, and given up where motions know better."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import NUM_JOINTS, make_problem
from upstream_truth import Truth, make_truth
from upstream_world_writers import write_glamr
from upstream_writers import write_gvhmr, write_prompthmr

from pose_priors.refinement.given.load import load_sequence
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.terms import StayNearScale
from pose_priors.refinement.solve.variables import Variables


def blind(problem: Problem, width: float) -> Problem:
    """The problem without depth and without a floor in sight."""
    seen = problem.observations
    nothing = replace(seen, joint_depth_confidence=torch.zeros_like(seen.joint_depth_confidence), floor_points=seen.floor_points[:0])
    return replace(problem, observations=nothing, scale_width=width)


@pytest.mark.parametrize("hidden", [None, slice(0, 3)])
def test_it_is_what_a_normal_of_the_logarithm_costs_once(hidden: slice | None) -> None:
    problem, _ = make_problem(frames=5, hidden=hidden)
    variables = Variables(problem, estimate_noise(problem), None, list(range(1, NUM_JOINTS))).requires_grad_(False)
    variables.scale.fill_(12.0)
    scene = variables(problem)
    size = math.log(scene.alpha.item() / problem.start.alpha0)
    assert size > 0.02
    normal = torch.distributions.Normal(0.0, 0.05)
    expected = float(normal.log_prob(torch.tensor(0.0)) - normal.log_prob(torch.tensor(size)))
    assert float(StayNearScale(sigma=0.05)(scene, problem) * problem.visible.sum()) == pytest.approx(expected, rel=1e-5)


def test_before_a_camera_that_stands_still_the_scale_stays() -> None:
    """It then changes nothing that is seen, and would go wherever rounding leads."""
    problem, _ = make_problem(people=1, frames=8)
    first = problem.cameras.w2c[:1].clone()
    first[0, :3, 3] = torch.tensor([0.3, -0.4, 0.2])  # the origin is not in the camera, so that people would be carried along
    cameras = replace(problem.cameras, w2c=first.expand_as(problem.cameras.w2c))
    out = Stage5Refiner(trainer={"enable_progress_bar": False}).refine(RefinementInput(blind(replace(problem, cameras=cameras), 0.1)))
    assert abs(out.results["scale_delta"]) < 1e-4


def test_feet_that_would_slide_are_worth_more_than_a_scale_that_nobody_said() -> None:
    problem, truth = make_problem(frames=16, alpha=1.02, alpha0=1.0)
    errors = {}
    for width in (0.1, 0.001):
        out = Stage5Refiner(trainer={"enable_progress_bar": False}).refine(RefinementInput(blind(problem, width)))
        errors[width] = abs(out.results["scale_alpha"] / truth.alpha - 1)
    assert errors[0.1] < 0.007
    assert errors[0.001] > 0.018


_WRITERS: dict[str, Callable[[Path, Truth], Path]] = {"GVHMR": write_gvhmr, "GLAMR": write_glamr, "PromptHMR": write_prompthmr}


@pytest.mark.parametrize("name", ["GVHMR", "GLAMR", "PromptHMR"])
def test_what_a_tool_has_right_is_the_minimum(tmp_path: Path, name: str) -> None:
    """Solved far beyond where sub-stages end as they are configured: it is not early stopping that keeps what is right."""
    truth = make_truth(still=name == "GVHMR")
    problem = load_sequence(_WRITERS[name](tmp_path / "walk", truth))
    config = RefinementConfig(final_iterations=300, max_total_iterations=1000, convergence_threshold=1e-7)
    out = Stage5Refiner(config, trainer={"enable_progress_bar": False}).refine(RefinementInput(problem))
    moved = np.linalg.norm((out.joints - problem.start.joints(problem.bodies)).numpy(), axis=-1)[problem.visible.numpy()]
    assert moved.mean() < (0.025 if estimate_noise(problem).projected else 0.003)
    assert abs(out.results["scale_delta"]) < 0.002
