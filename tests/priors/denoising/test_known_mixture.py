"""What is learnt of poses from a known mixture of two normals: posterior means, smoothed energies and draws against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pose_priors.body.rotations import haar_correction
from pose_priors.priors.denoising.denoiser import DenoiserConfig
from pose_priors.priors.flow_matching import FlowMatching, FlowMatchingConfig
from pose_priors.priors.gaussian import Gaussian, GaussianConfig
from pose_priors.priors.mixture import Mixture, MixtureConfig

JOINTS = (16, 18)
SHARES = torch.tensor([0.35, 0.65], dtype=torch.float64)
MEANS = torch.tensor([[-0.5, 0.1, 0.0, -0.4, 0.0, 0.2], [0.5, 0.0, 0.1, 0.3, 0.1, 0.0]], dtype=torch.float64)
ROOT = 0.2 * torch.eye(6, dtype=torch.float64) + 0.08 * torch.ones(6, 6, dtype=torch.float64).tril()
COVARIANCE = ROOT @ ROOT.T


def _draws(num: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    which = torch.multinomial(SHARES, num, replacement=True, generator=generator)
    flat = MEANS[which] + torch.randn(num, 6, generator=generator, dtype=torch.float64) @ ROOT.T
    poses = torch.zeros(num, 55, 3)
    poses[:, list(JOINTS)] = flat.view(num, 2, 3).float()
    return poses


def _posterior(seen: Tensor, std: float) -> tuple[Tensor, Tensor, Tensor]:
    """Shares (N, 2) and means (N, 2, 6) of what is left of the two normals, and their covariance (6, 6), given x + noise: (N, 6)."""
    smoothed = COVARIANCE + std**2 * torch.eye(6, dtype=torch.float64)
    likely = torch.distributions.MultivariateNormal(MEANS, smoothed).log_prob(seen.unsqueeze(1))
    gain = COVARIANCE @ torch.linalg.inv(smoothed)
    return (likely + SHARES.log()).softmax(-1), MEANS + (seen.unsqueeze(1) - MEANS) @ gain.T, COVARIANCE - gain @ COVARIANCE


def _flat(poses: Tensor) -> Tensor:
    return poses[..., list(JOINTS), :].flatten(-2).double()


@pytest.fixture(scope="module")
def learnt() -> FlowMatching:
    small = MixtureConfig(kind="mixture", num_components=[2], widths=[0.7, 1.0], covariance_floors=[1e-4])
    denoiser = DenoiserConfig(hidden=64, num_blocks=2, dropout=0.0, mixture=small)
    config = FlowMatchingConfig(kind="flow_matching", hidden=48, num_blocks=2, dropout=0.0, num_draws=32, denoiser=denoiser)
    torch.manual_seed(0)
    prior, poses = config.build(JOINTS), _draws(3000, 0)
    prior.fit_statistics(poses)
    prior.train()
    optimizer = torch.optim.Adam(prior.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    for _ in range(600):
        optimizer.zero_grad()
        prior.loss(poses[torch.randint(3000, (512,))])["loss"].backward()
        optimizer.step()
        schedule.step()
    return prior.eval().requires_grad_(False)


@pytest.mark.parametrize("std", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_posterior_means(learnt: FlowMatching, std: float, share: float) -> None:
    clean = _draws(1000, 1)
    seen = clean.clone()
    seen[:, list(JOINTS)] += std * torch.randn(1000, 2, 3, generator=torch.Generator().manual_seed(2))
    weight, means, _ = _posterior(_flat(seen), std)
    expected = torch.einsum("nk,nkd->nd", weight, means)
    assert learnt.denoiser is not None
    config = learnt.denoiser.config
    learnt.denoiser.config = config.model_copy(update={"mixture_share": share})
    found = _flat(learnt.denoise(seen, std))
    learnt.denoiser.config = config
    moved = (expected - _flat(seen)).norm(dim=-1).mean()
    assert float((found - expected).norm(dim=-1).mean()) < 0.2 * float(moved)
    # a normal distribution alone would not do
    mean, covariance = _flat(clean).mean(0), torch.cov(_flat(clean).T)
    gain = covariance @ torch.linalg.inv(covariance + std**2 * torch.eye(6, dtype=torch.float64))
    linear = mean + (_flat(seen) - mean) @ gain.T
    assert (found - expected).norm(dim=-1).mean() < 0.8 * (linear - expected).norm(dim=-1).mean()


@pytest.mark.parametrize("noise", [0.15, 0.3, 0.6])
def test_smoothed_energies(learnt: FlowMatching, noise: float) -> None:
    poses = _draws(300, 3)
    poses[:, list(JOINTS)] += noise * torch.randn(300, 2, 3, generator=torch.Generator().manual_seed(4))
    poses = poses[poses.norm(dim=-1).amax(1) < 2.5]
    smoothed = COVARIANCE + noise**2 * torch.eye(6, dtype=torch.float64)
    of_each = torch.distributions.MultivariateNormal(MEANS, smoothed).log_prob(_flat(poses).unsqueeze(1))
    expected = -torch.logsumexp(of_each + SHARES.log(), -1) - haar_correction(poses[:, list(JOINTS)].double()).sum(-1)
    found = learnt.energy(poses, noise=noise).double()
    # up to a constant, which is near nothing
    gap = found - expected
    assert float(gap.std()) < 0.25 * float(expected.std()) + 0.05
    assert abs(float(gap.median())) < 1.5


SEEN, STD = torch.tensor([[0.05, 0.0, 0.1, 0.0, 0.1, 0.0], [0.5, 0.1, -0.2, 0.2, 0.3, 0.0]], dtype=torch.float64), 0.45


def _log_likelihood(poses: Tensor) -> Tensor:
    return -(poses[:, :, list(JOINTS)].flatten(2) - SEEN.float()).square().sum(-1) / (2 * STD**2)


def test_draws_of_flow_matching_given_what_was_seen(learnt: FlowMatching) -> None:
    drawn = _flat(learnt.posterior(_log_likelihood, 2, 600, torch.Generator().manual_seed(0)))
    weight, means, within = _posterior(SEEN, STD)
    spread = float(torch.cov(_flat(_draws(4000, 5)).T).trace().sqrt())
    for number in range(2):
        mean = weight[number] @ means[number]
        off = means[number] - mean
        covariance = within + torch.einsum("k,kd,ke->de", weight[number], off, off)
        assert float((drawn[:, number].mean(0) - mean).norm()) < 0.1 * spread
        apart = torch.linalg.matrix_norm(torch.cov(drawn[:, number].T) - covariance) / torch.linalg.matrix_norm(covariance)
        assert float(apart) < 0.3


def _gaussian() -> Gaussian:
    prior = GaussianConfig(kind="gaussian", covariance="full").build(JOINTS)
    prior.fit_statistics(_draws(3000, 0))
    return prior.eval().requires_grad_(False)


def _check_gaussian(drawn: Tensor, prior: Gaussian) -> None:
    precision, mean = prior._whole()
    whole = torch.linalg.inv(precision + torch.eye(6, dtype=torch.float64) / STD**2)
    scale = torch.linalg.inv(precision).trace().sqrt()
    for number, seen in enumerate(SEEN):
        expected = whole @ (precision @ mean + seen / STD**2)
        found = drawn[:, number]
        by_chance = (whole.trace() / len(found)).sqrt() / scale
        assert float((found.mean(0) - expected).norm() / scale) < 0.02 + 2 * float(by_chance)
        assert torch.linalg.matrix_norm(torch.cov(found.T) - whole) < 0.12 * torch.linalg.matrix_norm(whole)


def test_draws_of_a_gaussian_given_what_was_seen() -> None:
    prior = _gaussian()
    _check_gaussian(_flat(prior.posterior(_log_likelihood, 2, 4000, torch.Generator().manual_seed(0))), prior)


def test_another_prior_leads_to_the_draws_of_the_one_that_is_meant() -> None:
    """A mixture of two normals leads, and what comes out is the posterior of the one Gaussian whose energy is given."""
    guide = MixtureConfig(kind="mixture", num_components=[2], widths=[0.7, 1.0], covariance_floors=[1e-4]).build(JOINTS)
    guide.fit_statistics(_draws(1000, 0))
    assert isinstance(guide.eval().requires_grad_(False), Mixture)
    prior = _gaussian()
    drawn = guide.posterior_of(_log_likelihood, 2, 4000, torch.Generator().manual_seed(0), prior.energy)
    _check_gaussian(_flat(drawn), prior)


def test_the_integral_of_a_normal_times_a_quadratic() -> None:
    """By the likelihood of what is seen: quadratics are normal likelihoods without their constant."""
    from pose_priors.priors.gaussians.normal import draw_under
    from pose_priors.priors.gaussians.quadratic import Quadratic

    matrix = torch.tensor([[1.0, 0, 0.5, 0, 0, 0], [0, 1, 0, 0, -1, 0]], dtype=torch.float64)
    seen = torch.tensor([[0.3, -0.2], [0.0, 0.5]], dtype=torch.float64)
    at = seen @ torch.linalg.pinv(matrix).T
    likelihood = Quadratic(at, (matrix.T @ matrix / STD**2).expand(2, 6, 6), torch.zeros(2, dtype=torch.float64))
    precision, mean = torch.linalg.inv(COVARIANCE), MEANS[0]
    drawn, evidence = draw_under(precision, mean, likelihood, 20_000, torch.Generator().manual_seed(0))
    noise = STD**2 * torch.eye(2, dtype=torch.float64)
    of_seen = torch.distributions.MultivariateNormal(matrix @ mean, matrix @ COVARIANCE @ matrix.T + noise)
    torch.testing.assert_close(evidence, of_seen.log_prob(seen) + math.log(2 * math.pi * STD**2))
    covariance = torch.linalg.inv(precision + matrix.T @ matrix / STD**2)
    for number in range(2):
        expected = covariance @ (precision @ mean + matrix.T @ seen[number] / STD**2)
        torch.testing.assert_close(drawn[:, number].mean(0), expected, rtol=0, atol=0.01)
        torch.testing.assert_close(torch.cov(drawn[:, number].T), covariance, rtol=0, atol=0.004)
