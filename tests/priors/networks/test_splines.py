"""Our splines against those of nflows, and their gradient against autograd's."""

from __future__ import annotations

import pytest
import torch
from nflows.transforms.splines import unconstrained_rational_quadratic_spline
from torch import Tensor

from pose_priors.priors.networks.splines import inverse_rational_quadratic_spline, num_parameters, rational_quadratic_spline

BINS, BOUND, SCALE = 8, 6.0, 0.5


def _case(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Inputs inside, at the bound, just beyond it and far outside; (2, N) and their parameters."""
    generator = torch.Generator().manual_seed(0)
    inputs = 4 * torch.randn(2, 200, generator=generator, dtype=torch.float64)
    inputs[0, :7] = torch.tensor([BOUND, -BOUND, BOUND + 1e-9, -BOUND - 1e-9, 0.0, 100.0, -1e6])
    parameters = 2 * torch.randn(2, num_parameters(BINS), 200, generator=generator, dtype=torch.float64)
    return inputs.to(dtype), parameters.to(dtype)


def _of_nflows(inputs: Tensor, parameters: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    widths, heights, slopes = parameters.transpose(1, 2).split([BINS, BINS, BINS - 1], -1)
    return unconstrained_rational_quadratic_spline(inputs, SCALE * widths, SCALE * heights, slopes, inverse, tail_bound=BOUND)


@pytest.mark.parametrize("inverse", [False, True])
def test_values_log_slopes_and_gradients_are_those_of_nflows(inverse: bool) -> None:
    spline = inverse_rational_quadratic_spline if inverse else rational_quadratic_spline
    case = [value.requires_grad_() for value in _case()]
    weights = torch.randn(2, 2, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found, expected = spline(*case, BINS, BOUND, SCALE), _of_nflows(*case, inverse)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
    assert 0.5 < (found[0] != case[0]).double().mean() < 0.95  # some are beyond the bound
    gradients = [torch.autograd.grad((weights[0] * y + weights[1] * log).sum(), case) for y, log in (found, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-8)


def test_single_precision_is_as_good_as_that_of_nflows() -> None:
    truth, parameters = _case()
    truth = _of_nflows(truth, parameters, False)
    ours, theirs = rational_quadratic_spline(*_case(torch.float32), BINS, BOUND, SCALE), _of_nflows(*_case(torch.float32), False)
    for value, reference, true in zip(ours, theirs, truth, strict=True):
        assert (value - true).abs().max() < 2 * (reference - true).abs().max() + 1e-5


def test_gradients_are_those_of_finite_differences() -> None:
    case = [value[..., 4:12].clone().requires_grad_() for value in _case()]
    assert torch.autograd.gradcheck(lambda *of: rational_quadratic_spline(*of, BINS, BOUND, SCALE), case, atol=1e-4)
    assert torch.autograd.gradgradcheck(lambda *of: rational_quadratic_spline(*of, BINS, BOUND, SCALE), case, atol=1e-4)


def test_inverse_undoes() -> None:
    inputs, parameters = _case()
    outputs, log_slopes = rational_quadratic_spline(inputs, parameters, BINS, BOUND)
    back, inverse_log_slopes = inverse_rational_quadratic_spline(outputs, parameters, BINS, BOUND)
    torch.testing.assert_close(back, inputs, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(inverse_log_slopes, -log_slopes, rtol=1e-7, atol=1e-7)
