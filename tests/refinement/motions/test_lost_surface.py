"""The surface of people whom nobody tracked: its gradient, what of it is held, and what it weighs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from infill_cases import FRAMES, variables_of
from lost_cases import lost, shown
from torch import Tensor

from pose_priors.refinement.given.problem import NUM_SKIN_POINTS
from pose_priors.refinement.solve.curvature.composite import Chain
from pose_priors.refinement.solve.curvature.loads import Single, blocks_of
from pose_priors.refinement.solve.curvature.surface import of_surface
from pose_priors.refinement.solve.gaps import ExpectedInGaps
from pose_priors.refinement.solve.surface import body_joints, held, skin_of, thicker, untracked
from pose_priors.refinement.solve.terms.kernels import geman_mcclure_weight
from pose_priors.refinement.solve.terms.untracked import UntrackedSurface


@pytest.mark.parametrize("off", [0.01, 0.08])
def test_the_gradient_of_the_surface_is_that_of_its_value(off: float) -> None:
    """By central differences along random steps of everybody, with what a round holds still found where they stand."""
    problem = lost(shown())
    variables = variables_of(problem).double()
    draw = torch.Generator().manual_seed(1)

    def step(size: float) -> Tensor:
        return size * torch.randn(*problem.alive.shape, 23, 3, generator=draw, dtype=torch.float64)

    variables.add_increments(step(off))
    gaps = ExpectedInGaps(problem, None).double()
    gaps.thicker.copy_(thicker(variables(problem).detached(), problem))
    gaps.hold(variables(problem).detached(), problem)
    term = UntrackedSurface(expected=gaps, sigma_ratio=0.005)
    for _ in range(3):
        way, values, before = step(1.0), [], variables.moved()
        term(variables(problem), problem).backward()
        slopes = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in variables.named_parameters()}
        along = float((variables.by_increments(slopes) * way).sum())
        for sign in (1, -1):
            variables.add_increments(sign * 1e-6 * way)
            values.append(float(term(variables(problem), problem).detach()))
            variables.add_increments(before - variables.moved())
        variables.zero_grad()
        assert abs(along) > 1e-3
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(along, rel=1e-6)


def test_what_rays_meet_is_held_until_it_is_looked_for_anew() -> None:
    problem = lost(shown())
    variables = variables_of(problem).double()
    gaps = ExpectedInGaps(problem, None).double()
    first = variables(problem).detached()
    gaps.hold(first, problem)
    variables.add_increments(0.1 * torch.ones(*problem.alive.shape, 23, 3, dtype=torch.float64))
    there = variables(problem).detached()
    kept, found = gaps.held(there, problem), held(there, problem, gaps.thicker)
    assert torch.equal(kept.met.share, held(first, problem, gaps.thicker).met.share)
    assert not torch.equal(kept.met.share, found.met.share)
    gaps.hold(there, problem)
    assert torch.equal(gaps.held(there, problem).met.share, found.met.share)


@pytest.mark.parametrize("off", [0.01, 0.08])
def test_the_surface_weighs_what_its_points_do_with_those_that_rays_come_nearest_to(off: float) -> None:
    """Along a random step of everybody, against derivatives of what each point is off by, and of what joints stand out."""
    problem = lost(shown())
    variables = variables_of(problem).double()
    draw = torch.Generator().manual_seed(0)
    variables.add_increments(off * torch.randn(*problem.alive.shape, 23, 3, generator=draw, dtype=torch.float64))
    scene, of, body = variables(problem).detached(), untracked(problem), body_joints(problem)
    term = UntrackedSurface(expected=ExpectedInGaps(problem, None), sigma_ratio=0.005)
    term.expected.thicker.copy_(thicker(scene, problem))
    step = torch.randn(*problem.alive.shape, 23, 3, generator=draw, dtype=torch.float64)
    variables.add_increments(1e-7 * step)
    points, joints = skin_of(of, scene)
    moved = 1e7 * (skin_of(of, variables(problem).detached())[1] - joints)

    seen = term.expected.held(scene, problem)

    def off_by(at: Tensor) -> Tensor:
        found, sigma = term.off(points, at, seen.met)
        return found.metres / sigma

    value, change = torch.autograd.functional.jvp(off_by, joints, moved)
    beside, slid = torch.autograd.functional.jvp(lambda at: term.outside(points, at[:, body], seen), joints, moved)
    assert value.abs().max() > 1
    sure = geman_mcclure_weight(value.square(), term.bound**2) * len(body) / NUM_SKIN_POINTS
    out = geman_mcclure_weight(beside.square(), term.bound**2) * seen.tells
    expected = 3 * ((sure * change.square()).sum() + (out * slid.square()).sum())
    chain, weight = Chain(scene, problem.bodies.parents, 1), of_surface(term, 3.0, scene, problem)
    assert not weight[0].any()
    single, turns = Single(weight[1], weight.new_zeros(FRAMES, chain.joints, 6, 0)), weight.new_zeros(FRAMES, 22)
    blocks = list(blocks_of(chain, single, [], [], (turns, turns[1:]), [range(FRAMES)]))
    block = torch.from_numpy(np.concatenate([some.same for some in blocks])).triu()
    found = torch.einsum("tc,tcd,td->", (along := step[1].flatten(1)), block + block.triu(1).mT, along)
    assert not any(some.following.any() for some in blocks)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_bodies_of_unknown_thickness_have_no_surface() -> None:
    problem = lost(shown())
    thickness = problem.bodies.thickness.clone()
    thickness[0] = torch.nan
    problem = replace(problem, bodies=replace(problem.bodies, thickness=thickness))
    variables = variables_of(problem).double()
    before, gaps = variables(problem).joints.detach(), ExpectedInGaps(problem, None).double()
    gaps.begin(variables, problem)
    gaps.hold(variables(problem).detached(), problem)
    assert gaps.told == ()
    assert not gaps.follows
    assert not gaps.around(problem).any()
    assert torch.equal(variables(problem).joints.detach(), before)
