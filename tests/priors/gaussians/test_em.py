"""Expectation maximisation for mixtures of Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.priors.gaussians.em import GaussianMixture, fit_mixture

CENTRES = torch.tensor([[-3.0, 0.0], [3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)


def _three_groups(num: int = 3000) -> Tensor:
    """Half, a third and a sixth of the rows around three centres, with a standard deviation of 0.5."""
    generator = torch.Generator().manual_seed(0)
    group = torch.multinomial(torch.tensor([3.0, 2.0, 1.0]), num, replacement=True, generator=generator)
    return CENTRES[group] + 0.5 * torch.randn(num, 2, generator=generator, dtype=torch.float64)


def _fit(x: Tensor, num_components: int = 3, strength: float = 0.0, floor: float = 0.0) -> GaussianMixture:
    return fit_mixture(x, num_components, strength, floor, torch.Generator().manual_seed(0))


def test_groups_are_found() -> None:
    mixture = _fit(_three_groups())
    order = torch.cdist(CENTRES, mixture.means).argmin(-1)
    torch.testing.assert_close(mixture.means[order], CENTRES, atol=0.08, rtol=0)
    torch.testing.assert_close(mixture.weights[order], torch.tensor([3.0, 2, 1]).double() / 6, atol=0.03, rtol=0)
    torch.testing.assert_close(mixture.covariances, 0.25 * torch.eye(2).double().expand(3, 2, 2), atol=0.05, rtol=0)


def test_one_component_has_the_moments_of_the_rows() -> None:
    x = _three_groups()
    mixture = _fit(x, 1, floor=0.01)
    torch.testing.assert_close(mixture.means[0], x.mean(0))
    torch.testing.assert_close(mixture.covariances[0], torch.cov(x.T, correction=0) + 0.01 * torch.eye(2).double())


def test_log_densities_are_those_of_normal_distributions() -> None:
    x = _three_groups(50)
    mixture = _fit(_three_groups())
    normal = torch.distributions.MultivariateNormal(mixture.means, mixture.covariances)
    torch.testing.assert_close(mixture.log_densities(x), normal.log_prob(x[:, None]) + mixture.weights.log())


def test_strength_draws_covariances_together() -> None:
    generator = torch.Generator().manual_seed(0)
    x = CENTRES[:2].repeat(500, 1) + torch.tensor([0.1, 1.0]).double().repeat(500)[:, None] * torch.randn(
        1000, 2, generator=generator, dtype=torch.float64
    )
    spread = [mixture.covariances.diagonal(dim1=-2, dim2=-1).sum(-1) for mixture in (_fit(x, 2), _fit(x, 2, strength=1e6))]
    assert spread[0].max() > 20 * spread[0].min()
    assert spread[1].max() < 1.01 * spread[1].min()


def test_there_are_no_more_components_than_distinct_rows() -> None:
    x = torch.zeros(20, 2, dtype=torch.float64)
    x[10:] = 1
    mixture = _fit(x, 5, floor=1e-4)
    assert len(mixture.weights) == 2
    assert torch.isfinite(mixture.log_densities(x)).all()
