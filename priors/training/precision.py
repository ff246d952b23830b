"""In which precision a prior can be trained, and its matrices multiplied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

import torch

from pose_priors.configs.base import UserError
from pose_priors.priors.networks.processor import is_intel

MatmulPrecision = Literal["auto", "highest", "high", "medium"]

# Of a product of float32, relative to the length of the rows: rounding leaves a thousandth of what bfloat16 would.
_EXACT = 1e-6

_DOUBLE = (64, "64", "64-true")
_PRECISIONS = (None, 32, "32", "32-true", *_DOUBLE, 16, "16", "16-mixed", "bf16", "bf16-mixed")


def in_double(options: Mapping[str, Any]) -> bool:
    """Whether Lightning's Trainer is to compute in double precision. Raises `UserError` for a precision that priors cannot have."""
    precision = options.get("precision")
    if precision not in _PRECISIONS:
        raise UserError(
            f"trainer.precision={precision}: the rotations of a prior need float32 at least; allowed: 32-true, 64-true, and bf16-mixed or "
            "16-mixed, which keep the rotations in float32"
        )
    return precision in _DOUBLE


@contextmanager
def matmul_precision(precision: MatmulPrecision, on_gpu: bool) -> Iterator[None]:
    """Within it, products of float32 matrices are taken as `torch.set_float32_matmul_precision` has it; afterwards as before.

    `auto` is `high` on a GPU, TensorFloat-32: ten bits of mantissa in the products, sums in float32. On a CPU that is not Intel's it is
    `medium` where that loses nothing, and `highest` elsewhere. `medium` lets oneDNN take the products, in float32 as long as there are no
    matrix instructions for bfloat16: with AVX-512 twice as fast as MKL on processors that MKL does not know, and no faster on Intel's.
    """
    before = torch.get_float32_matmul_precision()
    if precision == "auto":
        precision = "high" if on_gpu else "medium" if not is_intel() and _medium_is_exact() else "highest"
    try:
        torch.set_float32_matmul_precision(precision)
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def _medium_is_exact() -> bool:
    """Whether this processor multiplies float32 matrices in float32 when asked for no more than `medium`."""
    before = torch.get_float32_matmul_precision()
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 3, 256, 256, generator=generator)
    exact = a.double() @ b.double()
    try:
        torch.set_float32_matmul_precision("medium")
        products = a @ b, torch.stack([torch.mm(*pair) for pair in zip(a, b, strict=True)])
    finally:
        torch.set_float32_matmul_precision(before)
    return all(float((product - exact).abs().max()) < 256 * _EXACT for product in products)
