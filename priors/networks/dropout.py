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

    def forward(self, hidden: Tensor, kept: Tensor | None = None) -> Tensor:
        """Any shape; the same tensor in evaluation mode. With `kept`, one of the masks that `drawn` has given for that shape."""
        dropped = round(self.p * _LEVELS)
        if not self.training or not dropped:
            return hidden
        if hidden.device.type != "cpu":
            return nn.functional.dropout(hidden, self.p)
        mask = _kept(list(hidden.shape), dropped) if kept is None else kept
        return hidden * mask.to(hidden.dtype).mul_(_LEVELS / (_LEVELS - dropped))

    def drawn(self, num: int, hidden: Tensor) -> list[Tensor | None]:
        """So many masks for a shape, where they are drawn here at all: at once, for a compiler may draw one after another in any order."""
        dropped = round(self.p * _LEVELS)
        if not self.training or not dropped or hidden.device.type != "cpu":
            return [None] * num
        return list(_kept([num, *hidden.shape], dropped))


@torch.library.custom_op("pose_priors::kept", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,))
def _kept(shape: list[int], dropped: int) -> Tensor:
    """Which units are kept where so many of 65,536 are dropped. An operation of its own, which compilers neither repeat nor leave out."""
    size = prod(shape)
    bits = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:size].view(shape)
    return bits >= dropped - _LEVELS // 2


@_kept.register_fake
def _(shape: list[int], dropped: int) -> Tensor:
    return torch.empty(shape, dtype=torch.bool)
