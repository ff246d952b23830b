"""The velocity field of flow matching and the integration of its paths, against closed forms and autograd."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from prior_cases import shake
from torch import Tensor

from pose_priors.priors.networks import precision
from pose_priors.priors.networks.velocity import VelocityField, everywhere, integrate, nodes_from_data


def test_integration_of_a_linear_field_is_of_fourth_order_and_knows_its_volume() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    x = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    exact = x @ torch.linalg.matrix_exp(0.6 * matrix).T

    def field(at: Tensor, time: Tensor) -> Tensor:
        assert time.shape == at.shape[:-1]
        return at @ matrix.T

    errors = [float((integrate(field, x, torch.linspace(0.2, 0.8, steps + 1).tolist()) - exact).abs().max()) for steps in (4, 8)]
    assert errors[1] < 1e-4
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.3)


def test_integration_meets_the_field_at_its_time() -> None:
    end = integrate(lambda x, time: (3 * time**2).unsqueeze(-1).expand_as(x), torch.zeros(2, 1).double(), [1.0, 0.5, 0.4, 0.0])
    torch.testing.assert_close(end, torch.full((2, 1), -1.0).double())


def test_the_nodes_integrate_and_run_from_data_to_noise() -> None:
    nodes = nodes_from_data(6)
    times = [time for time, _ in nodes]
    assert times == sorted(times, reverse=True)
    for power in range(6):  # a polynomial of degree 2 power + 1 in s, with the slope of t: exact up to degree 11
        assert sum(weight * time**power for time, weight in nodes) == pytest.approx(1 / (power + 1), rel=1e-12)
    assert sum(weight / math.sqrt(1 - time) for time, weight in nodes) == pytest.approx(2, rel=1e-12)  # constant in s


@pytest.mark.parametrize("num_blocks", [1, 3])
def test_the_slopes_are_the_jacobians_diagonal(num_blocks: int) -> None:
    torch.manual_seed(0)
    field = shake(VelocityField(5, 16, num_blocks, 0.3, 2), 0.2).double().eval()
    x, time, given = torch.randn(20, 5).double(), torch.rand(20).double(), torch.rand(20, 2).double()
    slopes = field.slopes(x, time, given)
    for row in range(20):
        jacobian = torch.autograd.functional.jacobian(lambda at, row=row: field(at, time[row], given[row]), x[row])
        torch.testing.assert_close(slopes[row], jacobian.diagonal())
    torch.testing.assert_close(field.slopes(x, time), field.slopes(x, time, torch.zeros_like(given)))


def test_slopes_without_a_gradient_are_nearly_as_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    field = shake(VelocityField(30, 64, 3, 0.3), 0.2).eval().requires_grad_(False)
    x, time, exact = torch.randn(50, 30), torch.rand(50), copy.deepcopy(field).double()
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)
    rounded, wanted = field.slopes(x, time), exact.slopes(x.double(), time.double())
    assert rounded.dtype == torch.float32
    error, size = (rounded - wanted).abs(), wanted.abs().mean()
    assert 1e-5 * size < error.mean() < 8e-3 * size  # of eight bits
    assert (rounded - wanted).sum(-1).abs().max() < 4e-3 * wanted.abs().sum(-1).mean()
    along = x.clone().requires_grad_()
    torch.testing.assert_close(field.slopes(along, time), wanted.float(), rtol=1e-4, atol=1e-4)


def test_one_time_for_all_is_one_number_in_memory() -> None:
    time = everywhere(0.3, torch.zeros(2, 5, 4).double())
    assert (time.shape, time.stride(), time.dtype) == ((2, 5), (0, 0), torch.float64)
    assert (time == 0.3).all()
