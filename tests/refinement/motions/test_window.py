"""The people and frames around gaps as a problem of their own: what moves in it feels what it feels in the whole clip."""

from __future__ import annotations

import torch
from infill_cases import NOISE, variables_of
from lost_cases import lost, shown
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.curvature.gauss_newton import GaussNewton
from pose_priors.refinement.solve.curvature.white import White
from pose_priors.refinement.solve.curvature.window import Part, part_of
from pose_priors.refinement.solve.gaps import ExpectedInGaps
from pose_priors.refinement.solve.objective import Objective
from pose_priors.refinement.solve.stages import make_stages
from pose_priors.refinement.solve.variables import Variables


def drawn(size: float, seed: int) -> Tensor:
    """(2, 90, 23, 3) what pelvis and joints move by."""
    return size * torch.randn(2, 90, 23, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def parted() -> tuple[Variables, Objective, ExpectedInGaps, Part]:
    """A clip in which one of two people is lost for a while, somewhere on the way to the minimum."""
    problem = lost(shown())
    variables, gaps = variables_of(problem).double(), ExpectedInGaps(problem, None).double()
    gaps.begin(variables, problem)
    stage = make_stages(RefinementConfig(), NOISE, fps=problem.fps, gaps=gaps)[-1]
    with torch.no_grad():
        variables.add_increments(drawn(0.02, 0))
        for parameter in (variables.shape, variables.scale, variables.plane):
            parameter += 0.3
        variables.contacts.uniform_(0, 1, generator=torch.Generator().manual_seed(1))
    for name, parameter in variables.named_parameters():
        parameter.requires_grad_(name in stage.free)
    part = part_of(variables, problem, stage.terms, gaps, NOISE)
    assert part is not None
    part.variables.contacts.copy_(variables.contacts[1:, part_frames(part, problem)])
    for of, given, held in ((variables, problem, gaps), (part.variables, part.problem, part.gaps)):
        of.hold(given)
        held.hold(of(given).detached(), given)
    return variables, Objective(variables, stage.terms, problem), gaps, part


def part_frames(part: Part, problem: Problem) -> slice:
    first = problem.frame_ids.index(part.problem.frame_ids[0])
    return slice(first, first + len(part.problem.frame_ids))


def slopes(variables: Variables) -> Tensor:
    return variables.by_increments({name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in variables.named_parameters()})


def test_values_and_slopes_are_those_of_the_whole_clip() -> None:
    variables, objective, gaps, part = parted()
    own = Objective(part.variables, part.terms, part.problem)
    moving, frames = gaps.around(objective.problem), part_frames(part, objective.problem)
    assert part.problem.person_ids == objective.problem.person_ids[1:]
    assert len(part.problem.frame_ids) < 70
    values = []
    for seed in (2, 3):
        values.append((float(objective()), float(own())))
        torch.testing.assert_close(slopes(part.variables)[part.moving], slopes(variables)[moving], rtol=1e-8, atol=1e-7)
        step = torch.where(moving[..., None, None], drawn(0.02, seed), 0)
        variables.add_increments(step)
        part.variables.add_increments(step[1:, frames])
    (first, of_part), (last, end) = values
    assert abs(last - first) > 1
    assert abs((last - first) - (end - of_part)) < 1e-6


def test_its_curvature_is_that_of_the_whole_clip() -> None:
    variables, objective, gaps, part = parted()
    problem, moving = objective.problem, gaps.around(objective.problem)
    whole = White(variables, GaussNewton(variables, objective.terms, problem, moving).factor(), moving)
    own = White(part.variables, GaussNewton(part.variables, part.terms, part.problem, part.moving).factor(), part.moving)
    objective()
    Objective(part.variables, part.terms, part.problem)()
    torch.testing.assert_close(own.gradient(), whole.gradient(), rtol=1e-5, atol=1e-5)


def test_what_moved_is_given_back_and_nothing_else() -> None:
    variables, objective, gaps, part = parted()
    moving, before, contacts = gaps.around(objective.problem), variables.moved().detach(), variables.contacts.clone()
    step, frames = drawn(0.02, 4), part_frames(part, objective.problem)
    part.variables.add_increments(step[1:, frames])
    part.variables.contacts.fill_(0.25)
    part.give_back()
    torch.testing.assert_close(variables.moved().detach(), before + torch.where(moving[..., None, None], step, 0), atol=1e-9, rtol=0)
    assert torch.equal(variables.contacts, torch.where(moving[..., None], 0.25, contacts))
