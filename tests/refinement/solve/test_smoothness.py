"""Accelerations that last for some frames, and motion without what flickers between frames."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import roma
import torch
from problems import NUM_JOINTS, make_problem
from scipy.ndimage import correlate1d

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.presmoothing import without_flicker
from pose_priors.refinement.solve.terms import Smoothness
from pose_priors.refinement.solve.variables import Variables

FRAMES = 20


def at_rate(fps: float) -> Problem:
    return dataclasses.replace(make_problem(frames=FRAMES)[0], fps=fps)


def points_of(seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return 0.01 * torch.randn(2, FRAMES, 3, 3, generator=draw, dtype=torch.float64)


def with_lives(problem: Problem) -> Problem:
    """The second person comes on the sixth frame and is gone for two on the way."""
    alive = torch.ones(2, FRAMES, dtype=torch.bool)
    alive[1, :5] = alive[1, 11:13] = False
    return dataclasses.replace(problem, alive=alive)


@pytest.mark.parametrize(("fps", "frames"), [(15.0, 2), (24.0, 2), (30.0, 3), (60.0, 6)])
def test_what_is_heavy_tailed_is_the_mean_square_over_a_tenth_of_a_second(fps: float, frames: int) -> None:
    problem, points, term = with_lives(at_rate(fps)), points_of(), Smoothness()
    total = 0.0
    for p in range(2):
        acceleration = np.diff(points[p].numpy(), 2, axis=0) * fps**2 / 1.5
        alive = problem.alive[p].numpy()
        for first in range(1 - frames, FRAMES - 2):
            within = [t for t in range(first, first + frames) if 0 <= t < FRAMES - 2 and alive[t : t + 3].all()]
            if within:
                square = (acceleration[within] ** 2).sum(-1).sum(0) / frames
                total += float((2.5 * np.log1p(square / 2)).sum())
    assert float(term.of(points, problem)) == pytest.approx(total / float(problem.visible.sum()))


@pytest.mark.parametrize("fps", [24.0, 60.0])
def test_what_an_acceleration_weighs_is_twice_the_slope_of_its_square(fps: float) -> None:
    problem, points, term = with_lives(at_rate(fps)), points_of().requires_grad_(), Smoothness()
    residual = term.residuals(points, problem)
    (slope,) = torch.autograd.grad(term.of(points, problem), points)
    weights = term.weights(residual, problem)
    assert not weights[~problem.alive.unfold(1, 3, 1).all(-1)].any()
    # that of a point, of those of the accelerations that it is in
    change = weights[..., None] * residual * fps**2 / term.acceleration / problem.visible.sum()
    expected = torch.zeros_like(points)
    for first, step in enumerate((1, -2, 1)):
        expected[:, first : first + FRAMES - 2] += step * change
    torch.testing.assert_close(slope, expected.detach())


def test_a_push_that_lasts_is_likelier_than_one_on_a_single_frame() -> None:
    """From one speed to another: at once, or over a tenth of a second; the less so, the fewer frames count together."""
    problem, costs = at_rate(60.0), {}
    for frames in (1, 6):
        speed = torch.cat([torch.linspace(0, 1, frames + 1)[1:], torch.ones(FRAMES - frames)]).roll(7)
        speed[:7] = 0
        points = torch.zeros(2, FRAMES, 1, 3, dtype=torch.float64)
        points[..., 0] = (speed.cumsum(0) / 60)[None, :, None]
        costs[frames] = [float(Smoothness(lasts=lasts).of(points, problem)) for lasts in (0.1, 1 / 60)]
    assert costs[6][0] < 0.95 * costs[1][0]
    assert costs[6][1] > 2 * costs[1][1]


def variables_of(problem: Problem) -> Variables:
    return Variables(problem, estimate_noise(problem), 0.05, list(range(1, NUM_JOINTS))).double().requires_grad_(False)


def flickering(problem: Problem) -> Variables:
    variables = variables_of(problem)
    draw = torch.Generator().manual_seed(3)
    variables.add_increments(0.02 * torch.randn(2, FRAMES, NUM_JOINTS + 1, 3, generator=draw, dtype=torch.float64))
    return variables


def test_usual_rates_are_left_as_they_are() -> None:
    problem = at_rate(30.0)
    variables = flickering(problem)
    before = variables.moved()
    without_flicker(variables, problem)
    assert torch.equal(variables.moved(), before)


def test_what_flickers_is_taken_out_by_a_gaussian_of_ten_milliseconds() -> None:
    problem = at_rate(120.0)
    variables = flickering(problem)
    before = variables(problem)
    without_flicker(variables, problem)
    after = variables(problem)
    steps = np.arange(-4, 5)
    gaussian = np.exp(-0.5 * (steps / 1.2) ** 2)
    expected = correlate1d(before.joints[:, :, 0].numpy(), gaussian / gaussian.sum(), axis=1)
    inner = slice(4, FRAMES - 4)
    np.testing.assert_allclose(after.joints[:, inner, 0].numpy(), expected[:, inner], atol=1e-9)
    # rotations by the mean of their neighbours on the sphere of quaternions, which is the same to second order
    quat = roma.rotvec_to_unitquat(before.rotvec).numpy()
    quat = quat * np.sign((quat * quat[:, :1]).sum(-1, keepdims=True))
    mean = correlate1d(quat, gaussian / gaussian.sum(), axis=1)
    found = roma.rotvec_to_unitquat(after.rotvec).numpy()
    same = np.abs((found * mean).sum(-1) / np.linalg.norm(mean, axis=-1))[:, inner]
    assert 2 * np.degrees(np.arccos(np.clip(same, 0, 1))).max() < 0.1
    assert 2 * np.degrees(np.arccos(np.clip(np.abs((quat * found).sum(-1)), 0, 1))).max() > 1


def test_nothing_is_drawn_into_a_life_from_outside() -> None:
    problem = with_lives(at_rate(120.0))
    variables = flickering(problem)
    with torch.no_grad():
        variables.start_pelvis[1, :5] += 100.0
    before = variables(problem).joints
    without_flicker(variables, problem)
    after = variables(problem).joints
    torch.testing.assert_close(after[:, -1], before[:, -1])  # ends stay
    torch.testing.assert_close(after[1, 5], before[1, 5])
    assert float((after[1, 5:] - before[1, 5:]).abs().max()) < 0.2
