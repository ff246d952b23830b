"""What a repair hands back: the motion, and what of it stays as it is, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pose_priors.refinement.motions.motion import Motion


@dataclass(frozen=True)
class Mended:
    """A motion after a repair.

    Attributes:
        motion: the same object where nothing changed.
        left: why -> (T,) bool, marked frames that stay as they are for that reason, a phrase for reports.
    """

    motion: Motion
    left: Mapping[str, np.ndarray] = field(default_factory=dict)


class Left(dict[str, np.ndarray]):
    """Such reasons while they are gathered, of a clip of so many frames."""

    def __init__(self, num: int) -> None:
        super().__init__()
        self._num = num

    def add(self, begin: int, end: int, why: str) -> None:
        """Frames begin to end - 1 stay."""
        self.setdefault(why, np.zeros(self._num, dtype=bool))[begin:end] = True
