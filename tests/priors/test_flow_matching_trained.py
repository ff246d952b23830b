"""Flow matching trained on joints of which some tell others: what it has learnt of them, completes and leads back to."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from prior_cases import random_rotations, trained
from torch import Tensor

from pose_priors.priors.evaluation.scores import evaluate
from pose_priors.priors.flow_matching import FlowMatching, FlowMatchingConfig
from pose_priors.priors.networks import path_energy

JOINTS = (1, 16, 18)


@pytest.fixture(scope="module")
def of_a_chain() -> tuple[FlowMatching, Tensor]:
    """Trained on shoulders that tell the elbow, and the poses."""
    generator = torch.Generator().manual_seed(0)
    poses = torch.zeros(1500, 55, 3)
    poses[:, [1, 16]] = 0.3 * torch.randn(1500, 2, 3, generator=generator)
    poses[:, 18] = poses[:, 16].flip(-1) + 0.06 * torch.randn(1500, 3, generator=generator)
    config = FlowMatchingConfig(kind="flow_matching", hidden=32, num_blocks=2, dropout=0.0, num_draws=64, num_steps=8, num_networks=2)
    return trained(config, JOINTS, 400, poses[:1000], started_on=poses[:1000], lr=5e-3), poses


def test_several_networks_are_one_field(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, (x, time) = of_a_chain[0], (torch.randn(7, 9), torch.rand(7))
    assert len(prior.networks) == 2
    mean = (prior.networks[0](x, time) + prior.networks[1](x, time)) / 2
    torch.testing.assert_close(prior.velocity(x, time), mean)
    assert (prior.networks[0](x, time) - prior.networks[1](x, time)).abs().max() > 1e-2  # each has learnt for itself


def test_it_completes_what_depends_on_what(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, poses = of_a_chain
    pose, visible = poses[1000:].clone(), torch.ones(500, 55, dtype=torch.bool)
    visible[:, 18] = False
    pose[:, 18] = 1.0  # what hidden joints hold does not matter
    drawn = prior.complete(pose, visible, torch.Generator().manual_seed(0))
    kept = [joint for joint in range(55) if joint != 18]
    assert torch.equal(drawn[:, kept], pose[:, kept])
    miss = drawn[:, 18] - pose[:, 16].flip(-1)
    assert miss.abs().median() < 0.08  # 0.04 if it were perfect, 0.28 if the shoulder told nothing
    assert miss.mean(0).abs().max() < 0.03
    visible[:, 16] = False  # nothing tells the arm now
    drawn = prior.complete(pose, visible, torch.Generator().manual_seed(0))
    assert drawn[:, 16].std() == pytest.approx(0.3, rel=0.15)
    assert (drawn[:, 18] - drawn[:, 16].flip(-1)).abs().median() < 0.08


def test_the_density_of_what_is_hidden(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, poses = of_a_chain[0], of_a_chain[1][1000:1300]
    none = torch.zeros(300, 55, dtype=torch.bool)
    visible = torch.ones_like(none)
    visible[:, 18] = False
    with torch.no_grad():
        torch.testing.assert_close(prior.log_prob_given(poses, none), prior.log_prob(poses), rtol=0, atol=1e-4)
        nll = -prior.log_prob_given(poses, visible)
        moved = poses.clone()
        moved[:, 18] = poses[:, 18].roll(1, 0)
        assert (-prior.log_prob_given(moved, visible) > nll + 3).double().mean() > 0.8
    per_axis = 0.5 * math.log(2 * math.pi * math.e)
    truth, independent = (3 * (per_axis + math.log(std)) - math.log(8 * math.pi**2) for std in (0.06, math.hypot(0.3, 0.06)))
    assert truth - 0.3 < float(nll.mean()) < truth + 0.35 * (independent - truth)


def test_the_density_of_what_is_hidden_integrates_to_one(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    """The mean of p over uniform rotations of the hidden joint, drawn near the data where nearly all of it lies."""
    prior, poses = of_a_chain
    pose = poses[1000].expand(4000, 55, 3).clone()
    half_width = 0.24  # four standard deviations
    pose[:, 18] = pose[:, 16].flip(-1) + half_width * (2 * torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) - 1)
    visible = torch.ones(4000, 55, dtype=torch.bool)
    visible[:, 18] = False
    with torch.no_grad():
        density = prior.log_prob_given(pose, visible).exp()
    of_haar = torch.sinc(pose[:, 18].norm(dim=-1) / (2 * math.pi)).square() / (8 * math.pi**2)
    inside = density * of_haar * (2 * half_width) ** 3
    error = float(inside.std() / math.sqrt(len(inside)))
    assert error < 0.08
    # 0.01 of it is the broad component's
    assert float(inside.mean()) == pytest.approx(0.99, abs=3.5 * error + 0.02)


def test_it_learns_what_depends_on_what(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, poses = of_a_chain
    with torch.no_grad():
        nll, energy = -prior.log_prob(poses[1000:]), prior.energy(poses[1000:])
    per_axis = 0.5 * math.log(2 * math.pi * math.e)
    # the exponential map's Jacobian, left out here, is worth less than 0.1
    truth = sum(3 * (per_axis + math.log(std)) - math.log(8 * math.pi**2) for std in (0.3, 0.3, 0.06))
    independent = truth + 3 * math.log(math.hypot(0.3, 0.06) / 0.06)
    assert truth - 0.3 < float(nll.mean()) < truth + 0.35 * (independent - truth)
    assert float(nll.mean()) < float(energy.mean()) < float(nll.mean()) + 3
    assert float((energy - nll).std()) < 0.6  # a constant apart, but for little
    samples = prior.sample(2000, torch.Generator().manual_seed(0))
    assert samples[:, 16].std() == pytest.approx(0.3, rel=0.1)
    assert (samples[:, 18] - samples[:, 16].flip(-1)).abs().median() < 0.08


def test_samples_follow_the_density(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    """The mean of g / p over samples of p is the integral of g, one, for a density g that lies within p."""
    prior = of_a_chain[0]
    rotvec = prior.select(prior.sample(2500, torch.Generator().manual_seed(1), defensive=True))
    flat = rotvec.flatten(1).double()
    covariance = 0.36 * torch.cov(flat[rotvec.norm(dim=-1).amax(-1) < 1.5].T)
    inside = torch.distributions.MultivariateNormal(flat.median(0).values, covariance)
    of_volume = 2 * torch.log(torch.sinc(rotvec.double().norm(dim=-1) / (2 * math.pi))) - math.log(8 * math.pi**2)
    with torch.no_grad():
        weights = (inside.log_prob(flat) - of_volume.sum(-1) - prior.log_prob(prior.expand(rotvec)).double()).exp()
    error = float(weights.std() / math.sqrt(len(weights)))
    assert error < 0.06
    assert float(weights.mean()) == pytest.approx(1, abs=3.5 * error)


def test_the_energy_leads_back_to_the_data(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, poses = of_a_chain
    pose = poses[1000:1100].clone()
    pose[:, 18] += 0.5  # an elbow that no shoulder tells
    broken = (pose[:, 18] - pose[:, 16].flip(-1)).norm(dim=-1).mean()
    pose.requires_grad_()
    optimizer = torch.optim.Adam([pose], 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        prior.energy(pose).sum().backward()
        optimizer.step()
    assert (pose[:, 18] - pose[:, 16].flip(-1)).norm(dim=-1).mean() < 0.4 * broken


def test_the_energy_of_many_poses_has_the_same_gradient(of_a_chain: tuple[FlowMatching, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    prior, found = copy.deepcopy(of_a_chain[0]).requires_grad_(False), []
    for most in (1000, 10):
        monkeypatch.setattr(path_energy, "_MAX_KEPT", most)
        pose = of_a_chain[1][:40].clone().requires_grad_()
        energy = prior.energy(pose)
        found.append((energy.detach(), *torch.autograd.grad(energy.sum(), pose, retain_graph=True)))
    (gradient,) = torch.autograd.grad(energy.sum(), pose, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives"):
        torch.autograd.grad(gradient.square().sum(), pose)
    found.append((energy.detach(), torch.func.grad(lambda poses: prior.energy(poses).sum())(pose.detach())))
    for kept, *others in zip(*found, strict=True):
        for again in others:
            torch.testing.assert_close(kept, again)


def test_far_from_the_data_the_density_is_finite_and_falls(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, far = of_a_chain[0], random_rotations(100).requires_grad_()
    anywhere = prior.log_prob(far)
    (slope,) = torch.autograd.grad(anywhere.sum(), far)
    assert anywhere.isfinite().all()
    assert slope.isfinite().all()
    with torch.no_grad():
        assert float(anywhere.max()) < float(prior.log_prob(of_a_chain[1][1000:1100]).median())


def test_poses_put_together_from_others_are_told(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    """A broad density of each joint by itself would find them as likely as it finds real ones."""
    prior, poses = of_a_chain[0], of_a_chain[1][1000:1200]
    wrong = poses.clone()
    wrong[:, 18] = poses.roll(7, 0)[:, 18]
    far = (poses[:, 18] - wrong[:, 18]).norm(dim=-1) > 0.6
    with torch.no_grad():
        told = prior.log_prob(wrong[far])
        by_joint = prior.defensive.log_prob(prior.select(wrong[far])).sum(-1) + math.log(prior.config.defensive_weight)
    assert far.sum() > 30
    assert float((told < by_joint - 3).double().mean()) > 0.9


def test_it_reports_its_likelihood_beside_its_energy(of_a_chain: tuple[FlowMatching, Tensor]) -> None:
    prior, poses = of_a_chain[0], of_a_chain[1][1000:1050]
    scores = evaluate(prior, poses)
    with torch.no_grad():
        nll = -prior.log_prob(poses)
        energy = prior.energy(poses)
    assert scores["nll"] == pytest.approx(float(nll.mean()), abs=1e-3)
    assert scores["nll_worst"] == pytest.approx(float(nll.max()), abs=1e-3)
    assert scores["bits_per_dof"] == pytest.approx(scores["nll"] / (9 * math.log(2)))
    assert scores["energy"] == pytest.approx(float(energy.mean()), abs=1e-3)
