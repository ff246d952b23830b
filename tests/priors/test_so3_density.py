"""The decoder's density on SO(3) against quadrature, Monte-Carlo integrals and the law it is said to be."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from scipy.integrate import quad

from pose_priors.body.rotations import geodesic_angle
from pose_priors.priors.so3_density import MIN_SCALE, IsotropicAngularCentralGaussian, half_angle_sine_squared


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make_density(*scales: float) -> IsotropicAngularCentralGaussian:
    density = IsotropicAngularCentralGaussian(len(scales)).double()
    density.set_scale(torch.tensor(scales, dtype=torch.float64))
    return density


def rotation_about_x(angle: float) -> torch.Tensor:
    return roma.rotvec_to_rotmat(torch.tensor([[angle, 0.0, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize("scale", [0.002, 0.03, 0.5, 2.0, 3.0])
def test_density_integrates_to_one_by_quadrature_over_the_angle(scale: float) -> None:
    density = make_density(scale)
    identity = rotation_about_x(0.0)

    def integrand(angle: float) -> float:
        # under Haar measure the angle of a rotation has the density (1 - cos t) / pi
        return float(density.log_prob(rotation_about_x(angle), identity).exp()) * (1 - math.cos(angle)) / math.pi

    mass = sum(quad(integrand, a, b)[0] for a, b in zip([0, scale, 10 * scale], [scale, 10 * scale, math.pi], strict=True) if b > a)
    if 10 * scale > math.pi:
        mass = quad(integrand, 0, math.pi)[0]
    assert mass == pytest.approx(1, abs=1e-5)


def test_density_integrates_to_one_over_uniform_rotations() -> None:
    density = make_density(0.5, 1.5)
    mode = roma.random_rotmat(1, dtype=torch.float64)
    rotations = roma.random_rotmat(200_000, dtype=torch.float64)[:, None]
    values = density.log_prob(rotations, mode[:, None]).exp()
    error = values.std(0) / math.sqrt(len(values))
    assert ((values.mean(0) - 1).abs() < 4 * error).all()
    assert (error < 0.03).all()


def test_density_is_that_of_a_normalised_gaussian_quaternion() -> None:
    scale = 0.8
    density = make_density(scale)
    mode = roma.random_rotmat(1, dtype=torch.float64)
    gaussian = torch.randn(200_000, 4, dtype=torch.float64) * torch.tensor([scale / 2] * 3 + [1.0], dtype=torch.float64)
    drawn = mode @ roma.unitquat_to_rotmat(gaussian / gaussian.norm(dim=-1, keepdim=True))
    # E_p[f] by samples of the law equals E_Haar[f p] by uniform rotations, for a function that the density did not define
    uniform = roma.random_rotmat(200_000, dtype=torch.float64)
    weight = density.log_prob(uniform[:, None], mode[:, None]).exp()[:, 0]

    def angle(rotations: torch.Tensor) -> torch.Tensor:
        return geodesic_angle(rotations, mode)

    assert float(angle(drawn).mean()) == pytest.approx(float((angle(uniform) * weight).mean()), rel=0.01)
    assert float(angle(drawn).cos().mean()) == pytest.approx(float((angle(uniform).cos() * weight).mean()), abs=0.01)


def test_half_angle_sine_squared_matches_the_angle_and_keeps_small_ones_in_single_precision() -> None:
    a, b = roma.random_rotmat(100, dtype=torch.float64), roma.random_rotmat(100, dtype=torch.float64)
    torch.testing.assert_close(half_angle_sine_squared(a, b), torch.sin(geodesic_angle(a, b) / 2).square())
    tiny = roma.rotvec_to_rotmat(torch.tensor([[1e-4, 0.0, 0.0]]))
    assert float(half_angle_sine_squared(tiny, torch.eye(3))) == pytest.approx(math.sin(5e-5) ** 2, rel=1e-3)


def test_value_and_gradient_are_finite_and_bounded_anywhere() -> None:
    density = IsotropicAngularCentralGaussian(1)
    density.set_scale(torch.zeros(1))
    assert float(density.scale.detach()) == pytest.approx(math.sqrt(2) * MIN_SCALE)
    axis = torch.nn.functional.normalize(torch.randn(50, 3), dim=-1)
    angles = torch.cat([torch.zeros(1), torch.logspace(-8, 0.5, 40).clamp_max(math.pi), torch.full((9,), math.pi)])
    rotvec = (axis * angles[:, None]).requires_grad_()
    log_prob = density.log_prob(roma.rotvec_to_rotmat(rotvec)[:, None], torch.eye(3))
    gradients = torch.autograd.grad(log_prob.sum(), [rotvec, density.scaled_log])
    assert torch.isfinite(log_prob).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    variance = float(density.scale.detach()) ** 2 / 4
    assert log_prob.max() - log_prob.min() <= -2 * math.log(variance) + 1e-3


def test_maximum_likelihood_scale_is_recovered() -> None:
    gaussian = torch.randn(20_000, 1, 4, dtype=torch.float64) * torch.tensor([0.1] * 3 + [1.0], dtype=torch.float64)
    drawn = roma.unitquat_to_rotmat(gaussian / gaussian.norm(dim=-1, keepdim=True))
    density = make_density(1.0)
    optimizer = torch.optim.LBFGS(density.parameters(), lr=0.1, max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = -density.log_prob(drawn, torch.eye(3, dtype=torch.float64)).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert float(density.scale.detach()) == pytest.approx(0.2, rel=0.03)
