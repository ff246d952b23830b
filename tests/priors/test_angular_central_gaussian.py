"""The broad component against its definition by integration, and the mixture that it defends."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from prior_cases import HINGES, make_poses, random_rotations
from scipy.integrate import quad
from torch import Tensor

from pose_priors.priors.angular_central_gaussian import AngularCentralGaussian, defend


def _scatters(num: int, seed: int = 0) -> Tensor:
    """(num, 4, 4) covariances of trace 1 with eigenvalues within a factor of some ten."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(num, 4, 4, generator=generator, dtype=torch.float64)).Q
    values = 0.1 + torch.rand(num, 4, generator=generator, dtype=torch.float64)
    scatter = (basis * values[:, None]) @ basis.mT
    return scatter / scatter.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]


def _broad(scatter: Tensor) -> AngularCentralGaussian:
    broad = AngularCentralGaussian(len(scatter)).double()
    broad.scatter.copy_(scatter)
    return broad


def test_density_is_the_gaussian_integrated_along_rays() -> None:
    """p(q) = 2 pi^2 int_0^inf r^3 N(r q; 0, S) dr, against the uniform distribution on the 3-sphere, whose volume is 2 pi^2."""
    scatter = _scatters(1)
    rotvec = random_rotations(6, seed=1)[:, :1].double()
    normal = torch.distributions.MultivariateNormal(torch.zeros(4, dtype=torch.float64), scatter[0])
    expected = []
    for quat in roma.rotvec_to_unitquat(rotvec)[:, 0]:

        def along(r: float, quat: Tensor = quat) -> float:
            return r**3 * math.exp(float(normal.log_prob(r * quat)))

        expected.append(math.log(2 * math.pi**2 * quad(along, 0, math.inf)[0]))
    torch.testing.assert_close(_broad(scatter).log_prob(rotvec)[:, 0], torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_density_integrates_to_one_over_uniform_rotations() -> None:
    rotvec = random_rotations(4000)[:, :40].double().flatten(0, 1).unsqueeze(1)
    for scatter in _scatters(3):
        density = _broad(scatter[None]).log_prob(rotvec).exp()
        error = float(density.std() / math.sqrt(len(density)))
        assert error < 0.02
        assert float(density.mean()) == pytest.approx(1, abs=4 * error)


def test_the_uniform_distribution_scores_zero() -> None:
    torch.testing.assert_close(AngularCentralGaussian(2).log_prob(random_rotations(20)[:, :2]), torch.zeros(20, 2), rtol=0, atol=1e-5)


def test_density_is_even_in_the_quaternion_hence_continuous_across_pi() -> None:
    broad = _broad(_scatters(1))
    axis = torch.nn.functional.normalize(random_rotations(50)[:, :1].double(), dim=-1)
    torch.testing.assert_close(broad.log_prob(axis * math.pi), broad.log_prob(-axis * math.pi))
    below, above = (broad.log_prob(axis * (math.pi + step)) for step in (-1e-6, 1e-6))
    torch.testing.assert_close(below, above, rtol=0, atol=1e-4)
    torch.testing.assert_close(broad.log_prob(axis * 0.7), broad.log_prob(axis * (0.7 + 2 * math.pi)))
    torch.testing.assert_close(broad.log_prob(axis * 0.7), broad.log_prob(-axis * (2 * math.pi - 0.7)))
    assert broad.log_prob(axis * 0.7).std() > 0.1


def test_fit_recovers_the_scatter_of_its_own_samples_up_to_scale() -> None:
    true = _broad(_scatters(2))
    fitted = AngularCentralGaussian(2).double()
    samples = true.float().sample(20_000, torch.Generator().manual_seed(0))
    fitted.fit(samples)
    scale = fitted.scatter.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    torch.testing.assert_close(fitted.scatter / scale, _scatters(2), rtol=0, atol=0.01)


def test_fit_is_a_maximum_of_the_likelihood() -> None:
    rotvec = make_poses(1000)[:, [1, 16]].double()
    broad = AngularCentralGaussian(2).double()
    broad.fit(rotvec)
    best = broad.log_prob(rotvec).mean(0)
    generator = torch.Generator().manual_seed(0)
    fitted = broad.scatter.clone()
    for _ in range(10):
        root = torch.eye(4, dtype=torch.float64) + 0.03 * torch.randn(2, 4, 4, generator=generator, dtype=torch.float64)
        broad.scatter.copy_(root @ fitted @ root.mT)
        assert (broad.log_prob(rotvec).mean(0) < best).all()


@pytest.mark.parametrize("joints", [list(HINGES), [22, 23]], ids=["one_axis", "constant"])
def test_fit_to_joints_that_hardly_move_stays_a_proper_density(joints: list[int]) -> None:
    rotvec = make_poses(300)[:, joints]
    broad = AngularCentralGaussian(len(joints))
    broad.fit(rotvec)
    assert torch.linalg.eigvalsh(broad.scatter.double()).min() > 0
    everywhere = broad.log_prob(random_rotations(300)[:, joints])
    assert torch.isfinite(everywhere).all()
    assert everywhere.min() > -40
    assert broad.log_prob(rotvec).mean() > 5
    assert broad.sample(50, torch.Generator().manual_seed(0)).norm(dim=-1).max() <= math.pi + 1e-5


def test_defended_density_is_the_mixture() -> None:
    generator = torch.Generator().manual_seed(0)
    density, broad = (3 * torch.randn(100, generator=generator, dtype=torch.float64) for _ in range(2))
    for weight in (1e-4, 0.01, 0.5, 0.99):
        expected = torch.log((1 - weight) * density.exp() + weight * broad.exp())
        torch.testing.assert_close(defend(density, broad, weight), expected)


def test_defended_energy_is_bounded_by_the_broad_one() -> None:
    density = torch.tensor([-1e4, -1e12, -1e30, -math.inf], requires_grad=True)
    broad = torch.zeros(4, requires_grad=True)
    mixture = defend(density, broad, 0.01)
    torch.testing.assert_close(mixture, torch.full((4,), math.log(0.01)))
    mixture.sum().backward()
    assert torch.equal(density.grad, torch.zeros(4))
    torch.testing.assert_close(broad.grad, torch.ones(4))
    high = torch.tensor([10.0, 100.0])
    torch.testing.assert_close(defend(high, torch.zeros(2), 0.01), high + math.log(0.99))
