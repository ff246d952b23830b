"""Which of many poses are scored: all of few, and of many some that are drawn once, so that an evaluation takes minutes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pose_priors.priors.base import DensityPrior, Prior

MOST_SCORED = 100_000
"""Poses whose energies and likelihoods are taken: their mean is known to a fifteenth of a nat where poses spread by twenty."""
MOST_COMPARED = 10_000
"""Poses that are compared in pairs, or with wrong ones."""
MOST_FOLLOWED = 5_000
"""Poses whose density takes an integration along paths, of hundreds of passes of a network each."""
SEED = 0


class Poses(NamedTuple):
    """Held-out poses.

    Attributes:
        scored: (N, 55, 3), those whose energies are taken.
        compared: (M, 55, 3), some of them, for what takes more time.
        followed: (K, 55, 3), some of these, for what takes most.
        num: how many there are in all.
    """

    scored: Tensor
    compared: Tensor
    followed: Tensor
    num: int

    def of_density(self, prior: Prior) -> Tensor:
        """Those whose density is taken: all that are scored, but only some where it takes an integration along paths."""
        return self.scored if not isinstance(prior, DensityPrior) or prior.energy_is_nll else self.followed

    def in_words(self) -> str:
        """Which poses these are."""
        if len(self.scored) == self.num == len(self.followed):
            return f"{self.num:,} poses"
        of = "" if len(self.scored) == self.num else f" of {self.num:,}"
        parts = ((self.compared, "in pairs and against wrong ones"), (self.followed, "along paths"))
        fewer = [f"{len(some):,} {where}" for some, where in parts if len(some) < len(self.scored)]
        told = f" ({', '.join(fewer)})" if fewer else ""
        return f"{len(self.scored):,}{of} poses{told}, drawn with seed {SEED}"


def drawn(num: int, most: int) -> np.ndarray:
    """So many of `num` rows at most, in ascending order, the same each time."""
    return np.arange(num) if num <= most else np.sort(np.random.default_rng(SEED).choice(num, most, replace=False))


def chosen(poses: Tensor, num: int) -> Poses:
    """Poses (N, 55, 3) that were drawn from so many, and which of them are compared and followed."""
    compared = _some(poses, MOST_COMPARED)
    return Poses(poses, compared, _some(compared, MOST_FOLLOWED), num)


def _some(poses: Tensor, most: int) -> Tensor:
    return poses if len(poses) <= most else poses[torch.from_numpy(drawn(len(poses), most)).to(poses.device)]
