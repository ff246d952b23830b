"""Heavy tails of flows: the density by SciPy, draws by the distribution of their squares, the share of each part."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from prior_cases import with_tails
from scipy.stats import f as fisher
from scipy.stats import kstest

from pose_priors.priors.networks.heavy_tails import defended_by_tails, tails_of

FAR_BELOW = torch.tensor(-1e4, dtype=torch.float64)


def _noise(num: int, joints: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(num, joints, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("weight", [1e-6, 0.03, 0.9])
def test_it_is_the_flow_from_normal_noise_and_from_students(scale: float, weight: float) -> None:
    noise, counts = _noise(20, 4, scale), torch.tensor([True, True, False, True])
    found = defended_by_tails(noise, counts, torch.full((20,), 1.5, dtype=torch.float64), FAR_BELOW, weight)
    flat = noise[:, counts].flatten(1)
    flow = torch.distributions.Normal(0.0, 1.0).log_prob(flat).sum(-1) + 1.5
    torch.testing.assert_close(found, with_tails(flow, flat, weight))


def test_rows_differ_in_which_joints_count() -> None:
    noise, counts = _noise(8, 3), torch.rand(8, 3, generator=torch.Generator().manual_seed(1)) < 0.5
    volume = torch.linspace(-1, 1, 8, dtype=torch.float64)
    counts[0] = False
    together = defended_by_tails(noise, counts, volume, FAR_BELOW, 0.03)
    alone = [defended_by_tails(*row, FAR_BELOW, 0.03) for row in zip(noise, counts, volume, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone))
    torch.testing.assert_close(together[0], volume[0])  # nothing is scored but what the flow says of nothing


def test_it_is_finite_wherever_the_other_density_is() -> None:
    noise, none = _noise(1, 3, 1e4), torch.tensor([-900.0], dtype=torch.float64)
    found = defended_by_tails(noise, torch.ones(3, dtype=torch.bool), none, torch.tensor([-20.0], dtype=torch.float64), 0.03)
    torch.testing.assert_close(found, torch.tensor([-20 + math.log(0.03 * 1e-10)], dtype=torch.float64))


def test_it_has_a_gradient() -> None:
    noise, counts = _noise(3, 2).requires_grad_(), torch.tensor([[True, True], [True, False], [False, True]])
    volume, anywhere = (torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def log_prob(noise: torch.Tensor, volume: torch.Tensor, anywhere: torch.Tensor) -> torch.Tensor:
        return defended_by_tails(noise, counts, volume, anywhere, 0.2)

    assert torch.autograd.gradcheck(log_prob, (noise, volume, anywhere))


@pytest.mark.parametrize("kept", [1, 5, 12])
def test_draws_are_students_in_any_of_their_numbers(kept: int) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = tails_of(torch.randn(20_000, 12, generator=generator, dtype=torch.float64), generator)[:, :kept]
    assert kstest((drawn.square().sum(-1) / kept).numpy(), fisher(kept, 4).cdf).pvalue > 0.01
    direction = torch.nn.functional.normalize(drawn, dim=-1).mean(0)
    np.testing.assert_allclose(direction.numpy(), 0, atol=4 / math.sqrt(20_000))
