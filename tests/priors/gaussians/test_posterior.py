"""Draws from priors times likelihoods, against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import roma
import torch
from prior_cases import make_poses
from torch import Tensor

from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.mixture import MixtureConfig
from pose_priors.priors.posterior import draw_posterior

JOINTS = (16, 18)
STD = 0.15
NUM = 4000


def _linear(matrix: Tensor, seen: Tensor, std: float) -> Callable[[Tensor], Tensor]:
    """The likelihood of observations seen = A x + noise: A (K, D), seen (O, K)."""

    def log_likelihood(poses: Tensor) -> Tensor:
        assert poses.shape[1:] == (len(seen), 55, 3)
        x = poses[:, :, list(JOINTS)].flatten(2)
        return -(x @ matrix.to(x).T - seen.to(x)).square().sum(-1) / (2 * std**2)

    return log_likelihood


def _observations(matrix: Tensor, num: int = 2) -> Tensor:
    x = make_poses(num, seed=9)[:, list(JOINTS)].flatten(1).double()
    noise = torch.randn(num, len(matrix), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x @ matrix.T + STD * noise


def _check(drawn: Tensor, mean: Tensor, covariance: Tensor, scale: Tensor) -> None:
    """The mean within 2 % of the prior's spread and what chance allows, the covariance within 10 %."""
    found = drawn.double()
    error = (found.mean(0) - mean).norm() / scale
    assert error < 0.02 + 3 * (covariance.trace() / len(found)).sqrt() / scale * 0.5
    assert torch.linalg.matrix_norm(torch.cov(found.T) - covariance) < 0.1 * torch.linalg.matrix_norm(covariance)


MATRICES = {
    "all": torch.eye(6, dtype=torch.float64),
    "two sums": torch.tensor([[1.0, 0, 0, 1, 0, 0], [0, 1, -1, 0, 0, 2]], dtype=torch.float64),
}


@pytest.mark.parametrize("seen", MATRICES)
def test_of_a_gaussian(seen: str) -> None:
    matrix = MATRICES[seen]
    prior = GaussianConfig(kind="gaussian", covariance="full").build(JOINTS)
    prior.fit_statistics(make_poses(600))
    prior.eval().requires_grad_(False)
    centre = prior.centre.double()
    precision = prior._root()[0].double() / prior.scale.double()
    precision = precision.T @ precision
    observed = _observations(matrix)
    drawn = draw_posterior(prior, _linear(matrix, observed, STD), len(observed), NUM, torch.Generator().manual_seed(0))
    assert drawn.shape == (NUM, len(observed), 55, 3)
    covariance = torch.linalg.inv(precision + matrix.T @ matrix / STD**2)
    scale = torch.linalg.inv(precision).trace().sqrt()
    for number, of_one in enumerate(observed):
        mean = covariance @ (precision @ centre + matrix.T @ of_one / STD**2)
        _check(drawn[:, number, list(JOINTS)].flatten(1), mean, covariance, scale)


@pytest.mark.parametrize("seen", MATRICES)
def test_of_a_mixture(seen: str) -> None:
    matrix = MATRICES[seen]
    prior = MixtureConfig(kind="mixture", num_components=[4], widths=[0.6, 1.0], covariance_floors=[1e-3]).build(JOINTS)
    prior.fit_statistics(make_poses(300))
    prior.eval().requires_grad_(False)
    kernels = prior.kernels
    observed = _observations(matrix)
    drawn = prior.posterior(_linear(matrix, observed, STD), len(observed), NUM, torch.Generator().manual_seed(0))
    weights, means, covariances = [], [], []
    for share, width in zip(kernels.log_share.softmax(-1)[0], kernels.widths, strict=True):
        of_group = kernels.mean[kernels.group[0]]
        means.append(of_group + math.sqrt(1 - width**2) * (kernels.centres - of_group))
        covariances.append(width**2 * (kernels.root @ kernels.root.mT)[kernels.group[0]])
        weights.append(share.expand(len(of_group)) / len(of_group))
    weight, mean, covariance = (torch.cat(value).double() for value in (weights, means, covariances))
    overall = weight @ mean
    scale = (torch.einsum("n,nxx->", weight, covariance) + weight @ (mean - overall).square().sum(-1)).sqrt()
    noise = STD**2 * torch.eye(len(matrix), dtype=torch.float64)
    predicted = matrix @ covariance @ matrix.T + noise
    gain = covariance @ matrix.T @ torch.linalg.inv(predicted)
    within = covariance - gain @ matrix @ covariance
    for number, of_one in enumerate(observed):
        evidence = torch.distributions.MultivariateNormal(mean @ matrix.T, predicted).log_prob(of_one)
        share = torch.softmax(evidence + weight.log(), -1)
        of_kernels = mean + torch.einsum("nxk,nk->nx", gain, of_one - mean @ matrix.T)
        average = share @ of_kernels
        spread = of_kernels - average
        expected = torch.einsum("n,nxy->xy", share, within + spread[:, :, None] * spread[:, None])
        _check(drawn[:, number, list(JOINTS)].flatten(1), average, expected, scale)


def test_without_a_likelihood_it_is_the_prior() -> None:
    prior = MixtureConfig(kind="mixture", num_components=[2], widths=[0.7, 1.0]).build(JOINTS)
    prior.fit_statistics(make_poses(200))
    prior.eval().requires_grad_(False)
    drawn = prior.posterior(lambda poses: poses[..., 0, 0] * 0, 1, 2000, torch.Generator().manual_seed(0))[:, 0]
    sampled = prior.sample(2000, torch.Generator().manual_seed(1))
    for learnt in JOINTS:
        torch.testing.assert_close(drawn[:, learnt].mean(0), sampled[:, learnt].mean(0), atol=0.05, rtol=0)
        torch.testing.assert_close(drawn[:, learnt].std(0), sampled[:, learnt].std(0), atol=0.05, rtol=0)


def test_few_samples_of_many_observations_are_canonical_and_repeatable() -> None:
    prior = MixtureConfig(kind="mixture", num_components=[2], widths=[0.7, 1.0]).build(JOINTS)
    prior.fit_statistics(make_poses(200))
    prior.eval().requires_grad_(False)
    observed = _observations(MATRICES["all"], 4)
    state = torch.get_rng_state()
    one, again, other = (
        prior.posterior(_linear(MATRICES["all"], observed, STD), 4, 3, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert one.shape == (3, 4, 55, 3)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.norm(dim=-1).max() <= math.pi + 1e-5
    error = (one[:, :, list(JOINTS)].flatten(2).mean(0) - observed.float()).norm(dim=-1)
    assert (error < 6 * STD).all()


def test_of_a_mixture_where_the_likelihood_bends() -> None:
    """Where a hand ends is seen, by one coordinate and its height squared, which two sides explain: against 200,000 draws of the prior."""
    prior = MixtureConfig(kind="mixture", num_components=[3], widths=[0.7, 1.0], covariance_floors=[1e-3]).build(JOINTS)
    prior.fit_statistics(make_poses(300, spread=0.5))
    prior.eval().requires_grad_(False)
    bone = torch.tensor([1.0, 0.0, 0.0])

    def features(poses: Tensor) -> Tensor:
        upper, lower = (roma.rotvec_to_rotmat(poses[..., joint, :]) for joint in JOINTS)
        end = (upper @ (bone + lower @ bone).unsqueeze(-1)).squeeze(-1)
        return torch.stack([end[..., 0], end[..., 1].square()], -1)

    seen = torch.tensor([[1.4, 0.3], [1.0, 0.6]])

    def log_likelihood(poses: Tensor) -> Tensor:
        return -(features(poses) - seen).square().sum(-1) / (2 * 0.1**2)

    drawn = prior.posterior(log_likelihood, 2, NUM, torch.Generator().manual_seed(0))
    many = prior.sample(200_000, torch.Generator().manual_seed(1))
    weight = log_likelihood(many[:, None].expand(-1, 2, -1, -1)).softmax(0).double()
    for number in range(2):
        x = many[:, list(JOINTS)].flatten(1).double()
        mean = weight[:, number] @ x
        covariance = torch.einsum("n,nx,ny->xy", weight[:, number], x - mean, x - mean)
        found = drawn[:, number, list(JOINTS)].flatten(1).double()
        assert 1 / weight[:, number].square().sum() > 2000
        assert (found.mean(0) - mean).norm() < 0.08 * covariance.trace().sqrt()
        assert torch.linalg.matrix_norm(torch.cov(found.T) - covariance) < 0.1 * torch.linalg.matrix_norm(covariance)


def test_of_many_joints_seen_sharply() -> None:
    """Where draws of the prior are hopeless: the mean and spread of a posterior over 30 numbers that is known."""
    joints, std, num = (1, 2, 4, 5, 12, 15, 16, 17, 18, 19), 0.1, 100
    prior = MixtureConfig(kind="mixture", num_components=[4], widths=[0.5, 1.0], covariance_floors=[1e-3]).build(joints)
    prior.fit_statistics(torch.cat([make_poses(150, seed=number, spread=0.1, shift=0.1 * number) for number in range(4)]))
    prior.eval().requires_grad_(False)
    truth = make_poses(2, seed=9, spread=0.1, shift=0.1)
    seen = truth + std * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))

    def log_likelihood(poses: Tensor) -> Tensor:
        return -(poses - seen)[..., list(joints), :].square().sum((-1, -2)) / (2 * std**2)

    drawn = prior.posterior(log_likelihood, 2, num, torch.Generator().manual_seed(0))[:, :, list(joints)].flatten(2)
    observation = prior.kernels.observation(torch.arange(30), torch.full((30,), std**2, dtype=torch.float64))
    log_share, means = prior.kernels.posterior_means(seen[:, list(joints)].flatten(1), observation)
    expected = torch.einsum("bc,bcx->bx", log_share.exp(), means)
    for number in range(2):
        covariance = torch.einsum("c,cxy->xy", log_share[number].exp().double(), observation.covariance)
        error = (drawn[:, number].mean(0) - expected[number]).norm() / covariance.trace().sqrt()
        assert error < 3 / math.sqrt(num)
        assert 0.8 < torch.cov(drawn[:, number].T).trace() / covariance.trace() < 1.3
