"""Products of matrices in the precision that was asked for, and only while it was."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch

from pose_priors.priors.training import precision
from pose_priors.priors.training.precision import MatmulPrecision, matmul_precision


@pytest.mark.parametrize("asked", ["highest", "high", "medium"])
def test_it_is_set_within_and_put_back(asked: MatmulPrecision) -> None:
    before = torch.get_float32_matmul_precision()
    with suppress(RuntimeError), matmul_precision(asked, on_gpu=False):
        assert torch.get_float32_matmul_precision() == asked
        raise RuntimeError
    assert torch.get_float32_matmul_precision() == before


def test_auto_loses_nothing_on_this_processor() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 5, 128, 128, generator=generator)
    with matmul_precision("auto", on_gpu=False):
        assert torch.get_float32_matmul_precision() in ("highest", "medium")
        error = (a @ b - a.double() @ b.double()).abs().max()
    assert error < 1e-4  # of rows of length 11; bfloat16 would leave 0.1
    with matmul_precision("auto", on_gpu=True):
        assert torch.get_float32_matmul_precision() == "high"


@pytest.mark.parametrize(("intel", "expected"), [(True, "highest"), (False, "medium")])
def test_auto_leaves_intels_processors_to_the_library_that_knows_them(intel: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "is_intel", lambda: intel)
    monkeypatch.setattr(precision, "_medium_is_exact", lambda: True)
    with matmul_precision("auto", on_gpu=False):
        assert torch.get_float32_matmul_precision() == expected


def test_auto_takes_no_short_cut_that_loses_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "is_intel", lambda: False)
    monkeypatch.setattr(precision, "_medium_is_exact", lambda: False)
    with matmul_precision("auto", on_gpu=False):
        assert torch.get_float32_matmul_precision() == "highest"
