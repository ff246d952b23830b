"""Whether a run compiles its layers: what that costs once, and where it comes back."""

from __future__ import annotations

from typing import Literal

import torch

Compile = Literal["auto"] | bool

# The compiler takes a minute of a core, which some half a million poses give back: of as many as these it is a tenth of the gain.
_PAYS = 5_000_000


def compiles(asked: Compile, poses: int, device: torch.device) -> bool:
    """What `auto` stands for in a run through so many poses: where it has been measured, on a CPU, and where it pays."""
    return asked if asked != "auto" else device.type == "cpu" and poses >= _PAYS
