"""Dropout, against what it is by definition and against torch's own."""

from __future__ import annotations

import pytest
import torch

from pose_priors.priors.networks.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.999])
def test_units_are_kept_at_their_scale_or_zero_and_means_stay(p: float) -> None:
    torch.manual_seed(0)
    size = 400_003  # no multiple of four
    passed = Dropout(p).train()(torch.ones(size, dtype=torch.float64))
    kept = passed != 0
    scale = 65536 / (65536 - round(65536 * p))
    torch.testing.assert_close(passed[kept], torch.full_like(passed[kept], scale))
    spread = (p * (1 - p) / size) ** 0.5
    assert abs(float(kept.double().mean()) - (1 - p)) < 5 * spread
    assert abs(float(passed.mean()) - 1) < 5 * spread / (1 - p)


def test_units_that_share_a_random_number_are_dropped_independently() -> None:
    torch.manual_seed(0)
    kept = Dropout(0.5).train()(torch.ones(200_000, 4)) != 0
    correlation = torch.corrcoef(kept.T.double())
    assert (correlation - torch.eye(4)).abs().max() < 5 / 200_000**0.5


def test_the_gradient_has_the_same_mask_and_nothing_happens_in_evaluation() -> None:
    torch.manual_seed(0)
    layer, hidden = Dropout(0.3).train(), torch.randn(3, 5, 7, requires_grad=True)
    passed = layer(hidden)
    passed.sum().backward()
    assert hidden.grad is not None
    torch.testing.assert_close(passed.detach(), hidden.detach() * hidden.grad)
    assert layer.eval()(hidden) is hidden
    assert Dropout(0.0).train()(hidden) is hidden


def test_it_is_seeded_and_empty_batches_pass() -> None:
    layer, hidden = Dropout(0.3).train(), torch.randn(31)
    torch.manual_seed(5)
    first = layer(hidden)
    torch.manual_seed(5)
    assert torch.equal(first, layer(hidden))
    assert layer(torch.zeros(0, 4)).shape == (0, 4)
