"""Dropout whose masks cost less than the layers around it."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

_LEVELS = 2**16


class Dropout(nn.Module):
    """Zeroes hidden units at random in training and scales the others, so that means stay (Srivastava et al., JMLR 15, 2014).

    On a CPU torch draws its masks one number a unit, which takes as long as the matrix product beside it. Here four units share a random
    number of 64 bits, 16 bits each, so that the share dropped is a multiple of 1/65,536, which the scale takes into account.

    Args:
        p: share of the units that are dropped, in [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def extra_repr(self) -> str:
        return f"p={self.p}"

    def forward(self, hidden: Tensor) -> Tensor:
        """Any shape; the same tensor in evaluation mode."""
        dropped = round(self.p * _LEVELS)
        if not self.training or not dropped:
            return hidden
        if hidden.device.type != "cpu":
            return nn.functional.dropout(hidden, self.p)
        size = prod(hidden.shape)
        bits = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:size].view(hidden.shape)
        mask = (bits >= dropped - _LEVELS // 2).to(hidden.dtype)
        return hidden * mask.mul_(_LEVELS / (_LEVELS - dropped))
