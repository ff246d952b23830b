"""Draws that are led by normal components and the modes of what was seen, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from prior_cases import make_poses
from test_posterior import JOINTS, MATRICES, NUM, STD, _check, _linear, _observations
from torch import Tensor
from torch.distributions import MultivariateNormal

from pose_priors.priors.gaussian import Gaussian, GaussianConfig
from pose_priors.priors.gaussians.quadratic import Quadratic
from pose_priors.priors.mixture import Mixture, MixtureConfig
from pose_priors.priors.posteriors.components import OfKernels, OneNormal, SideBySide
from pose_priors.priors.posteriors.modes import find_modes

MANY = (1, 2, 4, 5, 12, 15, 16, 17, 18, 19)


def _gaussian() -> Gaussian:
    prior = GaussianConfig(kind="gaussian", covariance="full").build(JOINTS)
    prior.fit_statistics(make_poses(600))
    return prior.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def apart() -> Mixture:
    """Of four clusters of 30 numbers, far from each other."""
    prior = MixtureConfig(kind="mixture", num_components=[4], widths=[0.5, 1.0], covariance_floors=[1e-3]).build(MANY)
    prior.fit_statistics(torch.cat([make_poses(150, seed=number, spread=0.1, shift=0.15 * number) for number in range(4)]))
    return prior.eval().requires_grad_(False)


@pytest.mark.parametrize("seen", MATRICES)
def test_of_a_gaussian_prior(seen: str) -> None:
    matrix, prior = MATRICES[seen], _gaussian()
    precision, centre = prior._whole()
    observed = _observations(matrix)
    drawn = prior.posterior(_linear(matrix, observed, STD), len(observed), NUM, torch.Generator().manual_seed(0))
    covariance = torch.linalg.inv(precision + matrix.T @ matrix / STD**2)
    scale = torch.linalg.inv(precision).trace().sqrt()
    for number, of_one in enumerate(observed):
        mean = covariance @ (precision @ centre + matrix.T @ of_one / STD**2)
        _check(drawn[:, number, list(JOINTS)].flatten(1), mean, covariance, scale)


def test_of_two_explanations_each_counts_as_much_as_it_should(apart: Mixture) -> None:
    """What was seen is one pose or another one, sharply: each in the share of its integral, which the kernels know in closed form."""
    std, num = 0.1, 400
    one, other = (make_poses(2, seed=9, spread=0.1, shift=0.15 * number)[:, list(MANY)].flatten(1) for number in (0, 2))
    noise = torch.full((30,), std**2, dtype=torch.float64)
    observation = apart.kernels.observation(torch.arange(30), noise)
    evidence = torch.stack([apart.kernels.log_prob(x, observation) for x in (one, other)])
    # so that the less probable one has 0.3 and 0.5
    wanted = torch.tensor([[0.3, 0.5], [0.7, 0.5]])
    offset = wanted.log() - evidence
    means = [apart.kernels.posterior_means(x, observation) for x in (one, other)]

    def log_likelihood(pose: Tensor) -> Tensor:
        x = pose[..., list(MANY), :].flatten(2)
        return torch.stack([-(x - at).square().sum(-1) / (2 * std**2) + of for at, of in zip((one, other), offset, strict=True)]).logsumexp(
            0
        )

    drawn = apart.posterior(log_likelihood, 2, num, torch.Generator().manual_seed(0))[:, :, list(MANY)].flatten(2)
    is_first = (drawn - one).square().sum(-1) < (drawn - other).square().sum(-1)
    share = is_first.double().mean(0)
    assert (share - wanted[0]).abs().max() < 0.1
    for number in range(2):
        for (log_share, of_cells), rows in zip(means, (is_first[:, number], ~is_first[:, number]), strict=True):
            expected = log_share[number].exp() @ of_cells[number]
            covariance = torch.einsum("c,cxy->xy", log_share[number].exp().double(), observation.covariance)
            error = (drawn[rows, number].mean(0) - expected).norm() / covariance.trace().sqrt()
            assert error < 3 / math.sqrt(int(rows.sum()))


def test_where_nothing_is_allowed_nothing_is_drawn() -> None:
    prior = _gaussian()

    def log_likelihood(pose: Tensor) -> Tensor:
        return torch.where(pose[..., JOINTS[0], 0] > 0, -pose[..., JOINTS[0], 1] / 0.1, -torch.inf)

    drawn = prior.posterior(log_likelihood, 3, 200, torch.Generator().manual_seed(0))
    assert (drawn[..., JOINTS[0], 0] > 0).all()
    assert drawn.isfinite().all()
    with pytest.raises(ValueError, match="observation 1"):
        prior.posterior(lambda pose: pose[..., 0, 0] + torch.tensor([0.0, -torch.inf]), 2, 10)
    assert drawn[..., JOINTS[0], 1].mean() < prior.sample(2000, torch.Generator().manual_seed(1))[:, JOINTS[0], 1].mean() - 0.05


def test_the_mode_of_a_linear_likelihood_is_the_likelihood() -> None:
    matrix = MATRICES["two sums"]
    prior = _gaussian()
    precision, mean = prior._whole()
    observed = _observations(matrix)

    def likelihood(x: Tensor) -> tuple[Tensor, Tensor]:
        off = x.double() @ matrix.T - observed
        return -off.square().sum(-1) / (2 * STD**2), -off @ matrix / STD**2

    found = find_modes(likelihood, OneNormal(precision, mean), mean.expand(2, -1), 3, 0.5)
    assert len(found) == 1
    torch.testing.assert_close(found[0].precision, (0.5 * matrix.T @ matrix / STD**2).expand(2, -1, -1), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found[0].centre @ matrix.T, observed, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found[0].top, torch.zeros(2, dtype=torch.float64), atol=1e-8, rtol=0)


def test_each_mode_is_found_once_and_hopeless_ones_are_not(apart: Mixture) -> None:
    truth = make_poses(1, seed=9, spread=0.1)[:, list(MANY)].flatten(1).double()

    def likelihood(x: Tensor) -> tuple[Tensor, Tensor]:
        off = x.double() - truth
        return -off.square().sum(-1) / (2 * 0.1**2), -off / 0.1**2

    found = find_modes(likelihood, OfKernels(apart.kernels, apart._draw), truth, 4, 1.0)
    assert [bool(part.top.isfinite()) for part in found] == [True, False, False, False]


def test_densities_side_by_side() -> None:
    """Two normal densities, each in its share: where components are, what draws them, and what is left of them when something is seen."""
    eye, num = torch.eye(6, dtype=torch.float64), 20_000
    means = 0.3 * torch.stack([eye[0], eye[1]])
    normals = [OneNormal(scale * eye, mean) for scale, mean in zip((20.0, 50.0), means, strict=True)]
    both = SideBySide(normals, torch.tensor([1.0, 3.0]))
    assert both.groups()[0].equal(means)
    x = torch.full((1, 6), 0.1, dtype=torch.float64)
    density = torch.stack([MultivariateNormal(mean, eye / scale).log_prob(x[0]) for scale, mean in zip((20, 50), means, strict=True)])
    log_share = density + torch.tensor([0.25, 0.75]).log()
    mean, which, log_density = both.draw_component(x.expand(num, -1), torch.Generator().manual_seed(0))
    assert mean.equal(means[which])
    assert both.precisions()[which[:1]].equal(torch.tensor((20.0, 50.0))[which[:1], None, None] * eye)
    assert abs(float(which.double().mean() - log_share.softmax(0)[1])) < 4 * 0.5 / math.sqrt(num)
    torch.testing.assert_close(log_density, log_share.logsumexp(0).expand(num))
    # seen with a variance of 0.1; of the second observation there is nothing
    seen = Quadratic(x.expand(2, -1), 10 * eye.expand(2, -1, -1), torch.tensor([0.5, -torch.inf], dtype=torch.float64))
    drawn, evidence = both.draw_under(seen, num, torch.Generator().manual_seed(0))
    of_seen = torch.stack(
        [MultivariateNormal(mean, eye / scale + 0.1 * eye).log_prob(x[0]) for scale, mean in zip((20, 50), means, strict=True)]
    )
    share = (of_seen + torch.tensor([0.25, 0.75]).log()).softmax(0)
    expected = sum(s * (scale * mean + 10 * x[0]) / (scale + 10) for s, scale, mean in zip(share, (20, 50), means, strict=True))
    assert (drawn[:, 0].mean(0) - expected).abs().max() < 4 * math.sqrt(0.04 / num)
    wanted = (of_seen + torch.tensor([0.25, 0.75]).log()).logsumexp(0) + 3 * math.log(2 * math.pi * 0.1) + 0.5
    assert evidence[0] == pytest.approx(float(wanted), abs=1e-6)
    assert evidence[1] == -torch.inf
    assert drawn.isfinite().all()


def test_no_draws_under_what_has_no_top(apart: Mixture) -> None:
    components = OfKernels(apart.kernels, apart._draw)
    quadratic = Quadratic(torch.zeros(2, 30), torch.eye(30).expand(2, -1, -1), torch.tensor([0.0, -torch.inf]))
    drawn, evidence = components.draw_under(quadratic, 5, torch.Generator().manual_seed(0))
    assert drawn.shape == (5, 2, 30)
    assert drawn.isfinite().all()
    assert evidence[0].isfinite()
    assert evidence[1] == -torch.inf


def test_components_are_drawn_as_probably_as_places_came_from_them() -> None:
    prior = MixtureConfig(kind="mixture", num_components=[2, 3], widths=[0.8, 1.0, 2.0], covariance_floors=[1e-3]).build(JOINTS)
    prior.fit_statistics(make_poses(60))
    prior.eval().requires_grad_(False)
    components, num = OfKernels(prior.kernels, prior._draw), 20_000
    x = prior.select(make_poses(1, seed=9)).flatten(1)
    mean, which, log_density = components.draw_component(x.expand(num, -1), torch.Generator().manual_seed(0))
    torch.testing.assert_close(log_density, prior.kernels.log_prob(x, prior.kernels.observation()).expand(num))
    precisions = components.precisions()
    share = prior.kernels.log_cells(x, prior.kernels.observation()).softmax(-1)[0]
    frequency = which.bincount(minlength=len(share)) / num
    assert (frequency - share).abs().max() < 4 * 0.5 / math.sqrt(num)
    # among the kernels of the cell drawn most often whose width is less than 1, by their density
    cell = int(frequency[0::3].argmax()) * 3
    drawn, counts = mean[which == cell].unique(dim=0, return_counts=True)
    off = (drawn - x).double()
    expected = (-(off @ precisions[cell] * off).sum(-1) / 2).softmax(-1)
    assert (counts / counts.sum() - expected).abs().max() < 4 * 0.5 / math.sqrt(int(counts.sum()))
    means, of_groups = components.groups()
    assert len(means) == 3  # of the clustering that has the most
    torch.testing.assert_close(of_groups[0], precisions[2 * 3 + 1], atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(means[0].float(), prior.kernels.mean[2])
