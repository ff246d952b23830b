"""Soles of feet that stand are laid towards the floor, and no joint moves."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import roma
import torch
from problems import make_problem
from torch import Tensor

from pose_priors.body.limits import JOINT_LIMITS
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import index_of
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.result.soles import excess, lay_soles
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.scene import Scene

FEET = [(index_of(f"{side}_ankle"), index_of(f"{side}_foot")) for side in ("left", "right")]
USUAL = 0.013  # stage 3's error in the image, which is 4.5 degrees in every joint


def standing(degrees: float = 0.0, fps: float = 30.0, frames: int = 60) -> Problem:
    """Two people whose left feet are rolled about the line from ankle to ball."""
    problem, _ = make_problem(frames=frames, noise=0.0)
    ankle, ball = FEET[0]
    bone = torch.nn.functional.normalize(problem.bodies.rest_joints[:, ball] - problem.bodies.rest_joints[:, ankle], dim=-1)
    pose = problem.start.body_pose.clone()
    turn = (math.radians(degrees) * bone)[:, None].expand_as(pose[:, :, 0])
    pose[:, :, ankle - 1] = roma.rotvec_composition([pose[:, :, ankle - 1], turn.contiguous()])
    return dataclasses.replace(problem, start=dataclasses.replace(problem.start, body_pose=pose), fps=fps)


def laid(problem: Problem, bias: float = USUAL, config: RefinementConfig | None = None) -> tuple[Scene, Scene]:
    """The scene before and after."""
    module = RefinementModule(problem, config or RefinementConfig())
    module.noise = dataclasses.replace(module.noise, bias=bias)
    before = module.scene()
    lay_soles(module)
    return before, module.scene()


def edges(scene: Scene, problem: Problem, foot: int) -> Tensor:
    """(P, T) degrees by which what is to the left of a foot that is level at rest is above its right."""
    _, turned = forward_kinematics(scene.rotvec, scene.rest_joints[:, None], problem.bodies.parents)
    ankle, ball = FEET[foot]
    ahead = (problem.bodies.rest_joints[:, ball] - problem.bodies.rest_joints[:, ankle]) * torch.tensor([1.0, 0.0, 1.0])
    left = torch.nn.functional.normalize(torch.stack([ahead[:, 2], 0 * ahead[:, 1], -ahead[:, 0]], -1), dim=-1)
    return torch.rad2deg(torch.asin(((turned[:, :, ankle] @ left[:, None, :, None])[..., 0] @ scene.normal).clamp(-1, 1)))


@pytest.mark.parametrize(("degrees", "sigma"), [(0.5, 4.5), (4.0, 4.5), (-9.0, 4.5), (20.0, 4.5), (4.0, 0.2), (10.0, 12.0)])
def test_what_goes_is_the_error_that_is_to_be_expected(degrees: float, sigma: float) -> None:
    """Against draws: of feet of both kinds that are seen so, the mean."""
    rng, number = np.random.default_rng(0), 4_000_000
    true = np.where(rng.random(number) < 0.5, rng.normal(0, 2.5, number), rng.uniform(-35, 35, number))
    seen = true + rng.normal(0, sigma, number)
    alike = np.abs(seen - degrees) < 0.1
    off = float((seen - true)[alike].mean())
    found = degrees * float(excess(torch.tensor(math.radians(degrees), dtype=torch.float64), math.radians(sigma)))
    assert found == pytest.approx(off, abs=4 * sigma / math.sqrt(alike.sum()) + 0.02)


@pytest.mark.parametrize("degrees", [4.0, -4.0])
def test_a_foot_that_stands_is_laid_on_its_sole_and_no_joint_moves(degrees: float) -> None:
    problem = standing(degrees)
    before, after = laid(problem)
    was, found = edges(before, problem, 0), edges(after, problem, 0)
    assert (was.abs() > 3).all()
    assert (found.abs() < 0.6 * was.abs()).all()
    assert (found * was > 0).all()
    assert torch.allclose(edges(after, problem, 1), edges(before, problem, 1), atol=0.1)
    assert (after.joints - before.joints).abs().max() < 1e-9
    others = [joint for joint in range(22) if joint != FEET[0][0]]
    assert torch.allclose(after.rotvec[:, :, others], before.rotvec[:, :, others], atol=2e-3)


def test_feet_on_an_edge_and_what_is_seen_well_stay() -> None:
    for degrees, bias in ((22.0, USUAL), (4.0, 0.0005)):
        problem = standing(degrees)
        before, after = laid(problem, bias)
        assert (edges(after, problem, 0) - edges(before, problem, 0)).abs().max() < 0.1


@pytest.mark.parametrize("degrees", range(-40, 41, 8))
def test_no_turn_goes_beyond_level_or_leaves_what_ankles_do(degrees: int) -> None:
    problem = standing(degrees)
    before, after = laid(problem, 0.03)
    was, found = edges(before, problem, 0), edges(after, problem, 0)
    assert (found.abs() <= was.abs() + 0.01).all()
    assert (found - was).abs().max() < 8
    lower, upper = JOINT_LIMITS[FEET[0][0]].unbind(-1)
    inside = ((before.rotvec[:, :, FEET[0][0]] >= lower) & (before.rotvec[:, :, FEET[0][0]] <= upper)).all()
    assert inside <= ((after.rotvec[:, :, FEET[0][0]] >= lower) & (after.rotvec[:, :, FEET[0][0]] <= upper)).all()


@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_feet_in_the_air_stay_and_turns_fade(fps: float) -> None:
    problem = standing(4.0, fps, frames=int(2 * fps))
    up = problem.start.ground_plane[:3]
    half = int(fps)
    lifted = torch.zeros(2 * half, dtype=torch.float64)
    lifted[half:] = 0.3
    problem = dataclasses.replace(problem, start=dataclasses.replace(problem.start, pelvis=problem.start.pelvis + lifted[:, None] * up))
    before, after = laid(problem, config=RefinementConfig(enable_scale_optimization=False))
    turned = (edges(after, problem, 0) - edges(before, problem, 0)).abs()
    assert (turned[:, half // 2] > 1).all()
    assert turned[:, int(1.4 * half) :].max() < 0.05
    assert turned.diff(dim=1).abs().max() < 20 / fps  # 20 degrees a second
    raised = torch.tensor([-20.0, -20.0, 0.0, 0.0], dtype=torch.float64).expand(1, 1, 4)  # heels
    on_balls = dataclasses.replace(problem, observations=dataclasses.replace(problem.observations, contact_log_odds=raised))
    before, after = laid(on_balls)
    assert (edges(after, problem, 0) - edges(before, problem, 0)).abs().max() < 0.05
    config = RefinementConfig(enable_environmental_constraints=False)
    for others in ((problem, config), (dataclasses.replace(problem, floor_known=False), None)):
        before, after = laid(others[0], config=others[1])
        assert torch.equal(after.rotvec, before.rotvec)
