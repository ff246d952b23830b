"""Depth maps that show people too far away or too near, and a floor that knows better."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from problems import error_mm, make_problem

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.solve.noise import depth_bias_width, estimate_noise
from pose_priors.refinement.solve.scene import project
from pose_priors.refinement.solve.variables import Variables


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
    assert with_bias < 25
    assert with_bias < 0.1 * without


@pytest.mark.parametrize("betas", [False, True])
def test_size_and_bias_together_change_neither_image_nor_depth(betas: bool) -> None:
    problem, _ = biased(told=True)
    if betas:  # one that makes the body larger, one that does something else
        rest = problem.bodies.rest_joints
        bones = rest - rest[:, :1]
        other = torch.randn(bones.shape, generator=torch.Generator().manual_seed(0), dtype=bones.dtype)
        other = other - bones * ((other * bones).sum((1, 2)) / bones.square().sum((1, 2)))[:, None, None]
        problem = dataclasses.replace(
            problem, bodies=dataclasses.replace(problem.bodies, shape_directions=torch.stack([0.02 * bones, other], -1))
        )
    variables = Variables(problem, estimate_noise(problem), None, problem.bodies.body_joints)
    before = variables(problem)
    with torch.no_grad():
        variables.shape[:, 0] = torch.tensor([3.0, -2.0])
    after = variables(problem)
    rise = (after.camera_joints[..., 2] / before.camera_joints[..., 2]).log()
    assert rise.abs().min() > 0.003
    torch.testing.assert_close(rise, -after.depth_bias[:, None, None].expand_as(rise), rtol=0, atol=2e-4 if betas else 1e-9)
    moved = project(after.camera_joints, problem.cameras) - project(before.camera_joints, problem.cameras)
    assert moved.abs().max() < (0.1 if betas else 1e-6)
    with torch.no_grad():
        variables.depth_bias.fill_(4.0)
    assert bool((variables(problem).camera_joints[..., 0, 2] < after.camera_joints[..., 0, 2]).all())
    # where depth and floor agree, sizes change nothing but sizes
    agreed = dataclasses.replace(problem, observations=dataclasses.replace(problem.observations, depth_bias=torch.zeros(2)))
    alone = Variables(agreed, estimate_noise(agreed), None, agreed.bodies.body_joints)
    with torch.no_grad():
        alone.shape[:, 0] = 3.0
        alone.depth_bias.fill_(4.0)
    torch.testing.assert_close(alone(agreed).joints[:, :, 0], before.joints[:, :, 0], rtol=0, atol=1e-12)
    assert alone(agreed).depth_bias.abs().max() == 0


def test_small_disagreement_is_no_bias() -> None:
    problem, _ = make_problem(frames=6)
    for bias, free in ((0.0, False), (0.02, False), (0.05, True)):
        seen = dataclasses.replace(problem.observations, depth_bias=torch.tensor([bias, -bias]))
        assert (depth_bias_width(dataclasses.replace(problem, observations=seen)) > 0).tolist() == [free, free]
