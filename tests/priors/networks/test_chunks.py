"""Rows in chunks, one after the other and side by side."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pose_priors.priors.networks import chunks
from pose_priors.priors.networks.chunks import by_chunks

pytestmark = pytest.mark.usefixtures("two_threads")


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("most", [2, 100])
def test_results_are_in_the_order_of_the_rows(plain: bool, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_LEAST", 1)
    values, met = torch.randn(11, 3), list[int]()

    def function(rows: Tensor) -> tuple[Tensor, Tensor]:
        met.append(len(rows))
        return 2 * values[rows], rows.double()

    groups = [torch.tensor([7, 1, 10, 3]), torch.tensor([0, 2, 9, 4, 5, 6, 8])]
    doubled, rows = by_chunks(function, groups, most, plain, 3)
    torch.testing.assert_close(doubled, 2 * values, rtol=0, atol=0)
    assert rows.tolist() == list(range(11))
    # no more than asked for, of one group each, and where two threads work no more than half of all
    assert sorted(met) == ([1, 2, 2, 2, 2, 2] if most == 2 else [1, 4, 6] if plain else [4, 7])


def test_few_rows_stay_together() -> None:
    met = list[int]()

    def function(rows: Tensor) -> tuple[Tensor]:
        met.append(len(rows))
        return (rows,)

    by_chunks(function, [torch.arange(16)], 100, True, 3)
    by_chunks(function, [torch.arange(40)], 100, True, 3)
    assert sorted(met) == [16, 20, 20]


def test_nothing_is_nothing() -> None:
    (found,) = by_chunks(lambda rows: (torch.zeros(len(rows), 2),), [torch.arange(0)], 4, True, 3)
    assert found.shape == (0, 2)


def test_gradients_are_kept_unless_results_are_numbers_alone() -> None:
    weight = torch.ones(3, requires_grad=True)
    (found,) = by_chunks(lambda rows: (weight[rows],), [torch.arange(3)], 2, False, 3)
    assert found.requires_grad
    (found,) = by_chunks(lambda rows: (weight[rows],), [torch.arange(3)], 2, True, 3)
    assert not found.requires_grad
