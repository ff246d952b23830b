"""Each term's gradient: right, finite, and downhill to what was seen or is likely."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from problems import NUM_JOINTS, make_problem
from term_cases import ALL, TERMS, disturbed
from torch import Tensor

from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.terms import (
    MultiPersonScale,
)
from pose_priors.refinement.solve.variables import Variables


@pytest.mark.parametrize("name", [name for name in ALL if name != "multi_scale"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    problem, _ = make_problem(frames=6, hidden=slice(2, 3))
    variables = disturbed(problem)
    term = ALL[name]
    parameters = list(variables.parameters())
    draw = torch.Generator().manual_seed(1)
    for index, parameter in enumerate(parameters):
        direction = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(term(variables(problem), problem), [parameters[index]], allow_unused=True)
        slope = 0.0 if gradient is None else float((gradient * direction).sum())
        step = 1e-5
        with torch.no_grad():
            parameter.add_(step * direction)
            above = term(variables(problem), problem)
            parameter.sub_(2 * step * direction)
            below = term(variables(problem), problem)
            parameter.add_(step * direction)
        assert slope == pytest.approx(float(above - below) / (2 * step), rel=1e-4, abs=1e-6)


def test_the_scale_likelihood_has_the_gradient_of_bodies_held_still_before_their_cameras() -> None:
    problem, _ = make_problem()
    variables = disturbed(problem)
    term = MultiPersonScale()
    (gradient,) = torch.autograd.grad(term(variables(problem), problem), [variables.shape])

    def value(size: Tensor) -> Tensor:
        """Of a world in which people are that much nearer or farther, as their size says, and nothing else has changed."""
        scene = variables(problem)
        factor = torch.exp((size - variables.shape) * 0.003)[:, None, None]
        world = (scene.camera_joints * factor - scene.alpha * problem.cameras.w2c[:, None, :3, 3]) @ problem.cameras.w2c[:, :3, :3]
        return term.of(world / scene.growth, problem)

    step = 1e-4
    with torch.no_grad():
        for p in range(2):
            change = torch.zeros_like(variables.shape)
            change[p] = step
            slope = float(value(variables.shape + change) - value(variables.shape - change)) / (2 * step)
            assert float(gradient[p]) == pytest.approx(slope, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_finite_at_the_start_and_far_from_it(name: str) -> None:
    problem, _ = make_problem(frames=6)
    for size in (0.0, 1.0, 100.0):
        variables = disturbed(problem, size=size)
        value = ALL[name](variables(problem), problem)
        gradients = torch.autograd.grad(value, list(variables.parameters()), allow_unused=True)
        assert torch.isfinite(value)
        assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("keypoints", lambda v: v.pelvis.data.add_(5.0)),
        ("near_pose", lambda v: v.body_pose.data.add_(3.0)),
        ("near_root", lambda v: v.pelvis.data.add_(20.0)),
        ("depth", lambda v: v.pelvis.data.add_(5.0)),
        ("beta", lambda v: v.shape.data.add_(3.0)),
        ("pose", lambda v: v.body_pose.data.add_(3.0)),
        ("smooth", lambda v: v.pelvis.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(0))),
        ("skate", lambda v: v.pelvis.data.normal_(0, 3.0, generator=torch.Generator().manual_seed(0))),
        ("contact", lambda v: v.plane.data.add_(3.0)),
        ("penetration", lambda v: v.plane.data.sub_(5.0)),
        ("scene_floor", lambda v: v.plane.data.add_(3.0)),
    ],
)
def test_a_step_downhill_undoes_what_was_spoilt(name: str, spoil: Callable[[Variables], object]) -> None:
    problem, _ = make_problem(noise=0.0)
    variables = Variables(problem, estimate_noise(problem), 0.05, list(range(1, NUM_JOINTS)))
    variables.contacts.fill_(1.0)
    spoil(variables)
    before = [parameter.detach().clone() for parameter in variables.parameters()]
    term = TERMS[name]
    value = term(variables(problem), problem)
    optimizer = torch.optim.LBFGS(variables.parameters(), max_iter=40, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = 100 * term(variables(problem), problem)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert term(variables(problem), problem) < 0.7 * value
    assert any(not torch.equal(a, b) for a, b in zip(before, variables.parameters(), strict=True))
