"""In which precision a prior can be trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pose_priors.configs.base import UserError

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
