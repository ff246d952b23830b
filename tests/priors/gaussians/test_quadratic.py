"""Log-likelihoods to second order, modes of many groups at once, and sums of exponentials that do not underflow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pose_priors.priors.gaussians.kernels import _log_sum
from pose_priors.priors.gaussians.quadratic import curvature, expansion
from pose_priors.priors.posteriors.components import OneNormal, SideBySide
from pose_priors.priors.posteriors.modes import find_modes

SIZE = 6


def _bent(x: Tensor) -> Tensor:
    """Lengths of pairs of numbers seen with noise, of two observations: (Q, 2, 6) -> (Q, 2)."""
    seen = torch.tensor([[0.5, 1.0, 0.8], [1.2, 0.4, 0.9]], dtype=x.dtype)
    return -((x.unflatten(-1, (3, 2)).norm(dim=-1) - seen) / 0.2).square().sum(-1) / 2


def _likelihood(x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        value = _bent(point)
        (gradient,) = torch.autograd.grad(value.sum(), point)
    return value.detach(), gradient


def test_expansions_of_many_places_are_those_of_derivatives() -> None:
    place = torch.randn(3, 2, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value, slope, bend = expansion(_likelihood, place)
    torch.testing.assert_close(value, _bent(place))
    for q in range(3):
        assert curvature(_likelihood, place[q]).equal(bend[q])
        for o in range(2):

            def of_one(x: Tensor, o: int = o) -> Tensor:
                return _bent(x.expand(1, 2, -1))[0, o]

            torch.testing.assert_close(slope[q, o], torch.autograd.functional.jacobian(of_one, place[q, o]))
            values, vectors = torch.linalg.eigh(-torch.autograd.functional.hessian(of_one, place[q, o]))
            wanted = (vectors * values.clamp_min(0)) @ vectors.T
            assert torch.linalg.matrix_norm(bend[q, o] - wanted) < 0.02 * torch.linalg.matrix_norm(wanted)


def test_modes_of_groups_together_are_those_of_each_alone() -> None:
    """Two normal densities on both sides of what bends: each has its own mode, whoever is beside it."""
    eye = torch.eye(SIZE, dtype=torch.float64)
    normals = [OneNormal(scale * eye, torch.full((SIZE,), mean, dtype=torch.float64)) for scale, mean in ((4.0, 0.6), (9.0, -0.5))]
    like = torch.zeros(2, SIZE, dtype=torch.float64)
    together = find_modes(_likelihood, SideBySide(normals, torch.ones(2)), like, 2, 0.5)
    alone = [find_modes(_likelihood, normal, like, 1, 0.5)[0] for normal in normals]
    tops = torch.stack([part.top for part in together])
    assert tops.isfinite().all()
    for o in range(2):
        found = sorted((part.centre[o].tolist(), part.top[o].item()) for part in together)
        wanted = sorted((part.centre[o].tolist(), part.top[o].item()) for part in alone)
        for (centre, top), (of_centre, of_top) in zip(found, wanted, strict=True):
            assert centre == pytest.approx(of_centre, abs=1e-9)
            assert top == pytest.approx(of_top, abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_of_exponentials_that_underflow(dtype: torch.dtype) -> None:
    apart = torch.tensor([0.0, -1.0, -59.0, -61.0, -95.0, -800.0, -1e5, -torch.inf], dtype=dtype)
    logits = torch.stack([apart - 3000, apart.flip(0), torch.full_like(apart, -90)]).requires_grad_()
    found = _log_sum(logits)
    torch.testing.assert_close(found, torch.logsumexp(logits, -1), rtol=0, atol=4 * torch.finfo(dtype).eps * 3000)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    torch.testing.assert_close(gradient, logits.softmax(-1), atol=1e-25, rtol=1e-5)
    # nothing at all counts for nothing beside anything
    beside = torch.stack([_log_sum(torch.full((1, 5), -torch.inf, dtype=dtype)), torch.tensor([-1e6], dtype=dtype)])
    assert beside.softmax(0)[:, 0].tolist() == [0, 1]
