"""What cannot be of people, cameras and scales is doubted, and what can is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from problems import make_problem

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.result.plausible import doubts


@pytest.fixture
def sound() -> tuple[Problem, np.ndarray]:
    problem, truth = make_problem(frames=6, noise=0, hidden=slice(2, 4))
    return problem, truth.joints.numpy()


def test_a_sound_result_is_not_doubted(sound: tuple[Problem, np.ndarray]) -> None:
    problem, joints = sound
    assert doubts(problem, joints, problem.start.alpha0) == []


@pytest.mark.parametrize(("size", "told"), [(1000, "m tall"), (0.1, "m tall")])
def test_nobody_is_a_giant_or_a_dwarf(sound: tuple[Problem, np.ndarray], size: float, told: str) -> None:
    problem, joints = sound
    found = doubts(problem, joints[:, :, :1] + size * (joints - joints[:, :, :1]), problem.start.alpha0)
    assert [f"person {person}" in line and told in line for person, line in zip(problem.person_ids, found, strict=True)] == [True, True]


def test_nobody_runs_at_a_hundred_metres_a_second(sound: tuple[Problem, np.ndarray]) -> None:
    problem, joints = sound
    joints[0] += np.arange(6)[:, None, None] * [3.0, 0, 0]
    found = doubts(problem, joints, problem.start.alpha0)
    assert len(found) == 1
    assert "moves by 90 m/s, faster than anybody runs; are 30 frames a second right" in found[0]
    assert doubts(replace(problem, fps=3), joints, problem.start.alpha0) == []


def test_scales_and_cameras_of_other_units_are_doubted(sound: tuple[Problem, np.ndarray]) -> None:
    problem, joints = sound
    assert any("stage 1's unit is 1e-06 m" in line for line in doubts(problem, joints, 1e-6))
    w2c = problem.cameras.w2c.clone()
    w2c[:, 0, 3] += 500 * torch.arange(6)
    found = doubts(replace(problem, cameras=replace(problem.cameras, w2c=w2c)), joints, 1.0)
    assert any("the camera moves by" in line for line in found)
    assert any("away from the camera" in line for line in found)
