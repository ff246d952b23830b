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
"""Poses that are compared in pairs, with wrong ones, or followed along paths of hundreds of passes of a network."""
SEED = 0


class Poses(NamedTuple):
    """Held-out poses.

    Attributes:
        scored: (N, 55, 3), those whose energies are taken.
        compared: (M, 55, 3), some of them, for what takes more time.
        num: how many there are in all.
    """

    scored: Tensor
    compared: Tensor
    num: int

    def followed(self, prior: Prior) -> Tensor:
        """Those whose density is taken: all that are scored, but only some where it takes an integration along paths."""
        return self.scored if not isinstance(prior, DensityPrior) or prior.energy_is_nll else self.compared

    def in_words(self) -> str:
        """Which poses these are."""
        if len(self.scored) == self.num == len(self.compared):
            return f"{self.num:,} poses"
        of = "" if len(self.scored) == self.num else f" of {self.num:,}"
        some = (
            "" if len(self.compared) == len(self.scored) else f" ({len(self.compared):,} where pairs, wrong poses or paths are looked at)"
        )
        return f"{len(self.scored):,}{of} poses{some}, drawn with seed {SEED}"


def drawn(num: int, most: int) -> np.ndarray:
    """So many of `num` rows at most, in ascending order, the same each time."""
    return np.arange(num) if num <= most else np.sort(np.random.default_rng(SEED).choice(num, most, replace=False))


def chosen(poses: Tensor, num: int) -> Poses:
    """Poses (N, 55, 3) that were drawn from so many, and which of them are compared."""
    return Poses(poses, poses[torch.from_numpy(drawn(len(poses), MOST_COMPARED)).to(poses.device)], num)
