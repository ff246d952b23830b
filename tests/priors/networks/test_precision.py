"""In what products are taken that get no gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from pose_priors.priors.networks import precision
from pose_priors.priors.networks.derived import traced
from pose_priors.priors.networks.precision import without_gradient


@pytest.fixture(autouse=True)
def _native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)


def test_what_gets_no_gradient_may_be_rounded() -> None:
    value, weight = torch.zeros(3), torch.zeros(3, requires_grad=True)
    assert without_gradient(value, value) == torch.bfloat16
    assert without_gradient(value, weight) == torch.float32
    assert without_gradient(weight, value) == torch.float32
    with torch.no_grad():
        assert without_gradient(value, weight) == torch.bfloat16
    assert without_gradient(value.double(), value) == torch.float64
    assert without_gradient(value.to("meta"), value) == torch.float32


def test_derivatives_of_any_kind_and_programs_are_not_rounded() -> None:
    met = list[torch.dtype]()

    def asked(value: Tensor) -> Tensor:
        met.append(without_gradient(value))
        return value.sum()

    value = torch.ones(2, 3)
    torch.func.vmap(asked)(value)
    torch.func.jvp(asked, (value,), (value,))
    with traced():
        asked(value)
    with torch.autocast("cpu", torch.bfloat16):  # which rounds by itself
        asked(value)
    with forward_ad.dual_level():
        asked(forward_ad.make_dual(value, value))
    assert met == [torch.float32] * 5


def test_a_processor_without_it_rounds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: False)
    assert without_gradient(torch.zeros(3)) == torch.float32
