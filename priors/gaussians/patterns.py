"""Rows of a batch by what is observed of them, which is worked out once for all alike, and in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from pose_priors.priors.networks.derived import is_traced

# Poses that are scored at once; each keeps a megabyte for its gradient.
_CHUNK = 256


def by_pattern(values: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Each distinct row of (B, ...), and where it stands."""
    patterns, which = values.unique(dim=0, return_inverse=True)
    return [(pattern, (which == number).nonzero().squeeze(-1)) for number, pattern in enumerate(patterns)]


def columns_of(visible: Tensor) -> Tensor:
    """The numbers of rotation vectors of joints, (J,) bool, that are visible."""
    return visible.repeat_interleave(3).nonzero().squeeze(-1)


def chunks_of(rows: Tensor) -> Sequence[Tensor]:
    """Rows (N, ...) in parts, but all at once in a program that is traced: it is for any number."""
    return [rows] if is_traced() else rows.split(_CHUNK)


@runtime_checkable
class ExactUnderNoise(Protocol):
    """A prior that knows in closed form how likely it is to see what was seen of its poses with noise."""

    def log_seen(self, pose: Tensor, std: float | Tensor, /) -> Tensor:
        """Log-density of what was seen, in nats over rotation vectors, the broad component left out.

        Args:
            pose: (*batch, 55, 3).
            std: of the noise, as in `priors.base.Prior.denoise`; what was not seen does not count.
        Returns:
            (*batch,); to be compared between priors of the same joints.
        """
