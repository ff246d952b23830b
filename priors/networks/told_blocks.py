"""Residual blocks that are all told one thing, the time or the noise: x + outer(silu(inner(norm(x)) + of_told(told)))."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn

from pose_priors.priors.networks.dropout import Dropout

Layers = tuple[nn.LayerNorm, nn.Linear, nn.Linear, nn.Linear]
"""Of a block: the normalisation, the layer before, the layer of what is told, the layer after."""


def told_blocks(num_blocks: int, hidden: int, num_told: int) -> nn.ModuleList:
    """So many blocks of a width, told so many numbers."""
    return nn.ModuleList(
        nn.ModuleList([nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.Linear(num_told, hidden), nn.Linear(hidden, hidden)])
        for _ in range(num_blocks)
    )


def layers_of(blocks: nn.ModuleList) -> Iterator[Layers]:
    """The layers of each block."""
    for block in blocks:
        yield cast(Layers, tuple(cast(nn.ModuleList, block)))


def through(blocks: nn.ModuleList, hidden: Tensor, told: Tensor, dropout: Dropout) -> Tensor:
    """(*batch, H) after all blocks; told is (*some, K), which broadcasts to the batch."""
    for norm, inner, of_told, outer in layers_of(blocks):
        hidden = hidden + outer(dropout(nn.functional.silu(inner(norm(hidden)) + of_told(told))))
    return hidden
