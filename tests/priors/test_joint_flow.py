"""The joint flow: its factors, what they look at, and its density against an autograd Jacobian."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from prior_cases import log_volume, make_poses, random_rotations, shake, trained
from torch import Tensor

from pose_priors.priors.angular_central_gaussian import defend
from pose_priors.priors.conditioning.context import NO_JOINT
from pose_priors.priors.joint_flow import JointFlow, JointFlowConfig

JOINTS = (1, 2, 4, 16, 18, 20)

variants = pytest.mark.parametrize(
    ("transform", "context"), [(t, c) for t in ("affine", "spline") for c in ("parent", "ancestors", "correlated")]
)


def _config(**settings: Any) -> JointFlowConfig:
    return JointFlowConfig(kind="joint_flow", **{"hidden": 16, "K": 3, "num_context": 2, **settings})


def _shaken(joints: tuple[int, ...] = JOINTS, **settings: Any) -> JointFlow:
    """In float64, with random weights, so that every dependence that the structure allows is there."""
    torch.manual_seed(0)
    prior = _config(**settings).build(joints).double()
    prior.fit_statistics(make_poses(500).double())
    return shake(prior).eval()


@variants
def test_factors_sum_to_the_density(transform: str, context: str) -> None:
    prior = _shaken(transform=transform, context=context)
    poses = torch.cat([make_poses(6, seed=1), random_rotations(6)]).double().view(3, 4, 55, 3)
    factors = prior.joint_log_prob(poses)
    assert factors.shape == (3, 4, len(JOINTS))
    torch.testing.assert_close(factors.sum(-1), prior.log_prob(poses))
    assert prior.joint_log_prob(poses[0, 0]).shape == (len(JOINTS),)


@variants
def test_each_factor_looks_at_its_joint_and_its_context_alone(transform: str, context: str) -> None:
    prior = _shaken(transform=transform, context=context)
    pose = make_poses(1, seed=2)[0].double()
    jacobian = torch.autograd.functional.jacobian(prior.joint_log_prob, pose)  # (J, 55, 3)
    looked_at = (jacobian != 0).any(-1)
    for row, joint in enumerate(prior.joint_indices):
        context_joints = {prior.joint_indices[i] for i in prior.context[row].tolist() if i != NO_JOINT}
        assert max(context_joints, default=-1) < joint
        assert set(looked_at[row].nonzero().flatten().tolist()) == {joint} | context_joints


@pytest.mark.parametrize("transform", ["affine", "spline"])
def test_each_factor_against_the_jacobian(transform: str) -> None:
    """log p = log N(noise) + log |det d noise / d rotation|, the rotation's volume measured by autograd through the exponential map."""
    prior = _shaken(transform=transform, context="correlated")
    for pose in make_poses(3, seed=3).double():
        rotvec = prior.select(pose)

        def noise_of(w: Tensor) -> Tensor:
            return prior._forward(w[None])[0][0]

        noise = noise_of(rotvec)
        jacobian = torch.autograd.functional.jacobian(noise_of, rotvec)  # (J, 3, J, 3)
        expected = []
        for j in range(prior.num_joints):
            normal = torch.distributions.Normal(0.0, 1.0).log_prob(noise[j]).sum()
            expected.append(normal + torch.linalg.slogdet(jacobian[j, :, j]).logabsdet - log_volume(rotvec[j]))
        broad = prior.defensive.log_prob(rotvec)
        expected = defend(torch.stack(expected), broad, prior.config.defensive_weight)
        torch.testing.assert_close(prior.joint_log_prob(pose), expected, rtol=1e-5, atol=1e-5)


def _chain(num: int, seed: int) -> Tensor:
    """Shoulder, elbow, wrist: each a tenth as free given the one before as it is alone."""
    generator = torch.Generator().manual_seed(seed)
    pose = torch.zeros(num, 55, 3)
    pose[:, 16] = 0.3 * torch.randn(num, 3, generator=generator)
    pose[:, 18] = pose[:, 16].flip(-1) + 0.03 * torch.randn(num, 3, generator=generator)
    pose[:, 20] = -pose[:, 18] + 0.03 * torch.randn(num, 3, generator=generator)
    return pose


@pytest.mark.parametrize("transform", ["affine", "spline"])
def test_it_learns_a_sharp_conditional_and_samples_follow_it(transform: str) -> None:
    poses = _chain(400, 0)
    prior = trained(_config(transform=transform, dropout=0.0), (16, 18, 20), 150, poses, started_on=poses)
    with torch.no_grad():
        nll = -prior.joint_log_prob(_chain(500, 1)).mean(0)
    per_axis = 0.5 * math.log(2 * math.pi * math.e)
    truth = torch.tensor([3 * (per_axis + math.log(std)) - math.log(8 * math.pi**2) for std in (0.3, 0.03, 0.03)])
    # the exponential map's Jacobian, left out of `truth`, is worth less than 0.05 here
    assert (nll < truth + 1.2).all(), nll - truth
    assert (nll > truth - 0.3).all(), nll - truth
    samples = prior.sample(2000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(samples[:, [16, 18, 20]].mean(0), torch.zeros(3, 3), rtol=0, atol=0.06)
    assert samples[:, 16].std() == pytest.approx(0.3, rel=0.15)
    assert (samples[:, 18] - samples[:, 16].flip(-1)).abs().median() < 0.05
    assert (samples[:, 20] + samples[:, 18]).abs().median() < 0.05


def test_the_factor_says_which_joint_is_wrong() -> None:
    poses = _chain(300, 0)
    prior = trained(_config(dropout=0.0), (16, 18, 20), 40, poses, started_on=poses)
    broken = _chain(50, 2)
    broken[:, 20] = _chain(50, 3)[:, 20]
    change = prior.joint_log_prob(broken) - prior.joint_log_prob(_chain(50, 2))
    assert torch.equal(change[:, :2], torch.zeros(50, 2))
    assert change[:, 2].median() < -2


def test_all_joints_are_scored_in_one_pass_of_the_transform() -> None:
    prior = _shaken()
    calls = []
    prior.transform.register_forward_hook(lambda *_: calls.append(1))
    prior.log_prob(make_poses(3).double())
    prior.train().loss(make_poses(3).double())
    assert len(calls) == 2


def test_context_is_saved() -> None:
    prior = _shaken(context="correlated")
    again = _config(context="correlated").build(JOINTS).double()
    assert not torch.equal(again.context, prior.context)
    again.load_state_dict(prior.state_dict())
    assert torch.equal(again.context, prior.context)


def test_what_a_factor_sees_of_its_context_is_standardised() -> None:
    prior = _config(context="ancestors").build(JOINTS)
    poses = make_poses(500) * 0.1  # rotations so small that raw matrices would be all but the same
    prior.fit_statistics(poses)
    features = prior._context_of(prior.select(poses), None).features.view(len(JOINTS), 500, -1, 6)
    there = prior.context != NO_JOINT
    assert there.any()
    assert not there.all()
    assert (features.transpose(1, 2)[~there] == 0).all()
    seen = features.transpose(1, 2)[there]  # (contexts, N, 6)
    torch.testing.assert_close(seen.mean(1), torch.zeros(len(seen), 6), rtol=0, atol=1e-3)
    std = seen.std(1)
    assert std.max() < 1.001
    assert (std > 0.999).float().mean() > 0.3
