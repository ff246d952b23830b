"""Depth maps that show people too far away or too near, and a floor that knows better."""

from __future__ import annotations

import dataclasses

import torch
from problems import error_mm, make_problem

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.solve.noise import depth_bias_width


def biased(told: bool) -> tuple[Problem, object]:
    """One person's depths are 5 % too far, the other's 5 % too near."""
    problem, truth = make_problem(frames=24)
    seen, bias = problem.observations, torch.tensor([0.05, -0.05], dtype=torch.float64)
    depth = seen.joint_depth * bias.exp()[:, None, None]
    return dataclasses.replace(
        problem, observations=dataclasses.replace(seen, joint_depth=depth, depth_bias=bias if told else torch.zeros(1))
    ), truth


def refine(problem: Problem) -> RefinementOutput:
    return Stage5Refiner(trainer={"enable_progress_bar": False}).refine(RefinementInput(problem))


def test_a_bias_that_the_floor_shows_moves_nobody() -> None:
    (told, truth), (untold, _) = biased(told=True), biased(told=False)
    with_bias, without = (error_mm(refine(problem).joints, truth, problem.visible) for problem in (told, untold))
    assert with_bias < 100  # legs that are not quite straight at rest give way a little
    assert with_bias < 0.4 * without


def test_small_disagreement_is_no_bias() -> None:
    problem, _ = make_problem(frames=6)
    for bias, free in ((0.0, False), (0.02, False), (0.05, True)):
        seen = dataclasses.replace(problem.observations, depth_bias=torch.tensor([bias, -bias]))
        assert (depth_bias_width(dataclasses.replace(problem, observations=seen)) > 0).tolist() == [free, free]
