"""The building blocks of loss terms: values against their formulas, gradients against finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pose_priors.refinement.solve.once import once
from pose_priors.refinement.solve.terms.kernels import (
    differences,
    geman_mcclure,
    geman_mcclure_weight,
    squared_norm,
    student_t,
    student_t_weight,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_squared_norm() -> None:
    vectors = draw(2, 5, 3).requires_grad_()
    torch.testing.assert_close(squared_norm(vectors), vectors.square().sum(-1))
    assert torch.autograd.gradcheck(squared_norm, vectors)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("frames", [3, 4, 7])
def test_differences(order: int, frames: int) -> None:
    values = draw(2, frames, 4, 3).requires_grad_()
    torch.testing.assert_close(differences(values, order), torch.diff(values, n=order, dim=1))
    assert torch.autograd.gradcheck(lambda v: differences(v, order), values)


@pytest.mark.parametrize("bound", [4.0, draw(2, 1, seed=1).exp()])
def test_geman_mcclure(bound: Tensor | float) -> None:
    square = draw(2, 6).exp().requires_grad_()
    expected = 0.5 * square * bound / (bound + square)
    torch.testing.assert_close(geman_mcclure(square, bound), expected)
    assert torch.autograd.gradcheck(lambda s: geman_mcclure(s, bound), square)
    zero = torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(geman_mcclure(zero, bound).sum(), zero)
    torch.testing.assert_close(slope, torch.full_like(slope, 0.5))  # half of the square itself, near zero
    far = geman_mcclure(torch.full((2, 1), 1e12, dtype=torch.float64), bound)
    torch.testing.assert_close(far, torch.as_tensor(bound, dtype=torch.float64).expand_as(far) / 2)


def test_student_t_is_a_density() -> None:
    square = draw(2, 6).exp().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: student_t(s, 2.0, 3), square)
    # in one dimension, with its constant, against torch's own
    values = draw(9)
    constant = math.lgamma(1.5) - math.lgamma(1.0) - 0.5 * math.log(2.0 * math.pi)
    expected = torch.distributions.StudentT(torch.tensor(2.0, dtype=torch.float64)).log_prob(values)
    torch.testing.assert_close(constant - student_t(values.square(), 2.0, 1), expected)


def test_weights_are_twice_the_slopes() -> None:
    square, bound = draw(2, 6).exp().requires_grad_(), draw(2, 1, seed=1).exp()
    for value, weight in (
        (geman_mcclure(square, bound), geman_mcclure_weight(square, bound)),
        (student_t(square, 2.0, 3), student_t_weight(square, 2.0, 3)),
    ):
        (slope,) = torch.autograd.grad(value.sum(), square)
        torch.testing.assert_close(weight.detach(), 2 * slope)


def test_what_is_given_is_worked_out_once_for_each() -> None:
    class Given:
        def __init__(self, value: int) -> None:
            self.value = value

    asked: list[int] = []

    @once
    def doubled(given: Given) -> int:
        asked.append(given.value)
        return 2 * given.value

    first, second = Given(1), Given(2)
    assert [doubled(first), doubled(second), doubled(first)] == [2, 4, 2]
    assert asked == [1, 2]
