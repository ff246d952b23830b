"""The same motion at several frame rates."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from problems import NUM_JOINTS, error_mm, make_problem

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.presmoothing import presmooth
from pose_priors.refinement.solve.terms import PosePrior, Smoothness, StayNearPose
from pose_priors.refinement.solve.variables import Variables


def at_rate(fps: float, frames: int) -> Problem:
    return dataclasses.replace(make_problem(frames=frames)[0], fps=fps)


def variables_of(problem: Problem) -> Variables:
    return Variables(problem, estimate_noise(problem), 0.05, list(range(1, NUM_JOINTS))).double()


def roughness(joints: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(torch.diff(joints, n=3, dim=1), dim=-1).mean())


@pytest.mark.parametrize("fps", [60.0, 120.0])
def test_smoothing_takes_hold_at_high_rates(fps: float) -> None:
    problem, truth = make_problem(frames=48)
    output = Stage5Refiner(trainer={"enable_progress_bar": False}).refine(RefinementInput(dataclasses.replace(problem, fps=fps)))
    start = problem.start.joints(problem.bodies)
    assert roughness(output.joints) < 0.05 * roughness(start)
    assert error_mm(output.joints, truth, problem.visible) < 0.35 * error_mm(start, truth, problem.visible)


def test_the_search_begins_smooth_at_high_rates_and_at_the_start_at_usual_ones() -> None:
    problem = at_rate(120.0, 40)
    variables, start = variables_of(problem), problem.start.joints(problem.bodies)
    presmooth(variables, 30.0, 40)
    torch.testing.assert_close(variables(problem).joints, start)
    presmooth(variables, 120.0, 40)
    joints = variables(problem).joints
    assert roughness(joints) < 0.1 * roughness(start)
    assert float(torch.linalg.vector_norm(joints - start, dim=-1).mean()) < 0.02
    torch.testing.assert_close(joints[:, 0, 0], start[:, 0, 0])


def test_a_bias_wanders_with_time_and_not_with_frames() -> None:
    """Rotations that change by as much over the same second cost the same, however many frames it has."""
    costs = []
    for fps, frames in ((30.0, 31), (120.0, 121)):
        problem = at_rate(fps, frames)
        variables = variables_of(problem)
        moved = torch.zeros(2, frames, NUM_JOINTS + 1, 3, dtype=torch.float64)
        draw = torch.Generator().manual_seed(0)
        steps = torch.randn(2, frames, NUM_JOINTS - 1, 3, generator=draw, dtype=torch.float64)
        moved[:, :, 2:] = 0.05 * torch.cumsum(steps, 1) / fps**0.5
        variables.add_increments(moved)
        term = StayNearPose(noise_rad=0.0, hand_noise_rad=0.0, bias_rad=1e3, drift=1e-4)
        costs.append(float(term(variables(problem), problem)))
    assert costs[0] == pytest.approx(costs[1], rel=0.1)


@pytest.mark.parametrize("term", [Smoothness(), PosePrior()])
def test_what_one_person_feels_does_not_change_with_who_else_is_hidden(term: Smoothness | PosePrior) -> None:
    """Terms times the people and frames that were seen, which is what is minimised."""
    problem, _ = make_problem(frames=12)
    hidden = problem.visible.clone()
    hidden[1, 2:10] = False
    gradients = []
    for visible in (problem.visible, hidden):
        seen = dataclasses.replace(problem, visible=visible)
        variables = variables_of(problem)
        (term(variables(seen), seen) * visible.sum()).backward()
        gradients.append(variables.body_pose.grad[0])
    torch.testing.assert_close(*gradients)
