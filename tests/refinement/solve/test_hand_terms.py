"""The prior of hands: both hands by one, and no pull within what is plausible."""

from __future__ import annotations

import pytest
import torch
from problems import make_problem, with_hands
from term_cases import hands_of, right_hand_prior

from pose_priors.body.rotations import mirror_pose
from pose_priors.body.skeleton import NUM_JOINTS as SMPLX_JOINTS
from pose_priors.body.skeleton import PARTS
from pose_priors.refinement.solve.noise import estimate_noise
from pose_priors.refinement.solve.terms import (
    HandPrior,
)
from pose_priors.refinement.solve.variables import Variables


def test_a_prior_of_one_hand_scores_the_other_in_the_mirror() -> None:
    problem, prior = with_hands(make_problem(frames=4)[0], 0.0), right_hand_prior()
    term = HandPrior(prior=prior)
    pose = torch.zeros(SMPLX_JOINTS, 3, dtype=torch.float64)
    pose[list(PARTS["right_hand"])] = prior.sample(1, torch.Generator().manual_seed(1))[0, list(PARTS["right_hand"])].double()
    values = []
    for given in (pose, mirror_pose(pose)):
        there = hands_of(problem, given)
        values.append(float(term(Variables(there, estimate_noise(there), 0.05, [])(there), there)))
    assert values[0] == pytest.approx(values[1])
    excess = (torch.stack([prior.energy(pose), prior.energy(torch.zeros_like(pose))]) - term.typical) / 15
    assert values[0] == pytest.approx(float(15 * (1 + excess.exp()).log().sum()))


def test_plausible_hands_are_left_alone_and_others_pulled_towards_them() -> None:
    prior, bare = right_hand_prior(), with_hands(make_problem(people=1, frames=4)[0], 0.0)
    term = HandPrior(prior=prior)
    right = list(PARTS["right_hand"])
    both = torch.zeros(SMPLX_JOINTS, 3, dtype=torch.float64)
    both[right] = prior.sample(256, torch.Generator().manual_seed(2))[:, right].double().mean(0)
    both = both + mirror_pose(both)
    steep = []
    for given in (both, -both):
        problem = hands_of(bare, given)
        variables = Variables(problem, estimate_noise(problem), 0.05, problem.bodies.hand_joints)
        value = term(variables(problem), problem)
        (gradient,) = torch.autograd.grad(value, variables.body_pose)
        steep.append(float(gradient.norm()))
        with torch.no_grad():
            variables.body_pose -= 1e-3 * gradient / gradient.norm()
        assert term(variables(problem), problem) < value
        assert (gradient.abs().sum((0, 1, 3)) > 0).all()  # each finger of both hands
    assert steep[0] < 0.05 * steep[1]
