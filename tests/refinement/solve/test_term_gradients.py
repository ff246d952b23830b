"""Each term's gradient: right, finite, and downhill to what was seen or is likely."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from problems import NUM_JOINTS, make_problem
from term_cases import ALL, TERMS, disturbed, permuted
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.objective import Objective
from pose_priors.refinement.solve.stages import make_stages
from pose_priors.refinement.solve.terms import MultiPersonScale
from pose_priors.refinement.solve.terms.smoothness import growth_of
from pose_priors.refinement.solve.variables import Variables

CASES = [(24.0, 1, None), (30.0, 2, slice(2, 3)), (60.0, 3, slice(0, 4))]


def as_filmed(fps: float, people: int, hidden: slice | None, *, grows: bool = True) -> Problem:
    """A problem at a frame rate; with `grows` false no depth ties the people to the cameras' unit."""
    problem = replace(make_problem(people, frames=6, hidden=hidden)[0], fps=fps)
    if grows:
        return problem
    seen = problem.observations
    blind = replace(seen, joint_depth_confidence=torch.zeros_like(seen.joint_depth_confidence), floor_points=seen.floor_points[:0])
    return replace(problem, observations=blind)


def check_gradient(value: Callable[[], Tensor], parameters: Sequence[Tensor]) -> None:
    """Of each parameter along a direction drawn at random, against central differences."""
    draw = torch.Generator().manual_seed(1)
    found = torch.autograd.grad(value(), list(parameters), allow_unused=True)
    for parameter, gradient in zip(parameters, found, strict=True):
        direction = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        slope = 0.0 if gradient is None else float((gradient * direction).sum())
        step = 1e-4
        values = []
        with torch.no_grad():
            for times in (step, -2 * step, step):
                parameter.add_(times * direction)
                values.append(float(value()))
        assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6, abs=1e-7 * max(abs(values[0]), 1))


@pytest.mark.parametrize(("fps", "people", "hidden"), CASES)
@pytest.mark.parametrize("name", ALL)
def test_gradients_are_those_of_finite_differences(name: str, fps: float, people: int, hidden: slice | None) -> None:
    for grows in (True, False):
        problem = as_filmed(fps, people, hidden, grows=grows)
        variables, term = disturbed(problem), ALL[name]
        variables.hold(problem)  # as a sub-stage does
        with torch.no_grad():
            for parameter in variables.parameters():
                parameter.add_(0.3)
        check_gradient(lambda term=term, v=variables, p=problem: term(v(p), p), list(variables.parameters()))


@pytest.mark.parametrize("fps", [24.0, 60.0])
def test_every_sub_stage_has_the_gradient_of_its_value(fps: float) -> None:
    problem = as_filmed(fps, 2, slice(2, 4))
    for stage in make_stages(RefinementConfig(), estimate_noise(problem), fps=fps, scale_width=0.03, floor_tilt=0.04):
        variables = disturbed(problem)
        variables.hold(problem)
        objective = Objective(variables, stage.terms, problem)
        check_gradient(lambda o=objective: o.total(), list(variables.parameters()))


@pytest.mark.parametrize("name", [name for name in ALL if name != "scene_floor"])
def test_nobody_feels_who_else_is_hidden_or_there(name: str) -> None:
    """The pull on the first person in the sum that is minimised, with another one seen throughout, hidden for a while, and away."""
    everybody, hiding = as_filmed(30.0, 2, None), as_filmed(30.0, 2, slice(1, 4))
    pulls = []
    for problem in (everybody, hiding, first_person(everybody)):
        variables = alike(disturbed(everybody), problem)
        weight = float(problem.visible.sum())
        free = [variables.pelvis, variables.global_orient, variables.body_pose, variables.shape]
        found = torch.autograd.grad(weight * ALL[name](variables(problem), problem), free, allow_unused=True)
        pulls.append([torch.zeros(1) if gradient is None else gradient[0] for gradient in found])
    for other in pulls[1:]:
        for mine, theirs in zip(pulls[0], other, strict=True):
            torch.testing.assert_close(theirs, mine)


def first_person(problem: Problem) -> Problem:
    """The problem of the first of its people alone."""
    return permuted(replace(problem, person_ids=problem.person_ids[:1]), [0])


def alike(variables: Variables, problem: Problem) -> Variables:
    """Variables of a problem with some of the people, at the same values."""
    other = Variables(problem, estimate_noise(as_filmed(30.0, 2, None)), 0.05, list(range(1, NUM_JOINTS)))
    other.filter.copy_(variables.filter)
    with torch.no_grad():
        for (key, theirs), mine in zip(other.named_parameters(), variables.parameters(), strict=True):
            theirs.copy_(mine if key in ("scale", "plane") else mine[: len(theirs)])
        other.contacts.copy_(variables.contacts[: len(other.contacts)])
    return other


def test_the_floor_of_the_scene_counts_the_same_whoever_is_hidden() -> None:
    values = [float(p.visible.sum() * ALL["scene_floor"](disturbed(p)(p), p)) for h in (None, slice(1, 4)) for p in [as_filmed(30.0, 2, h)]]
    assert values[0] == pytest.approx(values[1])


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
        # in lengths of the people themselves
        return term.of(world / (factor * growth_of(scene, problem)), problem)

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
    optimizer = torch.optim.LBFGS(variables.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = 100 * term(variables(problem), problem)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert term(variables(problem), problem) < 0.7 * value
    assert any(not torch.equal(a, b) for a, b in zip(before, variables.parameters(), strict=True))
