"""The smoothed bootstrap: rows of a batch that are drawn from a mixture around the training poses instead of being training poses."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.configs.base import UserError
from pose_priors.priors.base import Prior, TrainablePrior
from pose_priors.priors.mixture import MixtureConfig

# Poses that are drawn at once, for as many batches as they are enough for: a few at a time would cost as much.
_NUM_DRAWN = 8192


class SmoothedBootstrap:
    """Draws that take the place of some rows of each batch.

    A network that sees the same few thousand poses again and again learns them by heart. A mixture prior with the settings of its defaults,
    whose widths of kernels held-out poses choose, makes as many new ones as are asked for (Silverman and Young, "The bootstrap: to
    smooth or not to smooth?", Biometrika 74, 1987). What a batch gets depends on the seed, the epoch, the rank and its number alone, so
    that a run that goes on gets the same.

    Args:
        prior: that is trained. The joints that it learns are drawn; others stay what they are in the rows.
        share: of the rows of a batch, above 0.
        batch_size: rows of a whole batch.
        poses: (N, 55, 3) canonical training poses, or a representative part, that the mixture is fitted to.
        seed: of the draws.
    Raises:
        UserError: if the prior is not of poses, or its density is conditioned on a joint that it does not learn.
    """

    def __init__(self, prior: TrainablePrior, share: float, batch_size: int, poses: Tensor, seed: int) -> None:
        if not isinstance(prior, Prior):
            raise UserError("training.smoothed_share draws poses, and this prior is of motions: leave it out")
        if prior.given_root:
            raise UserError(
                "training.smoothed_share draws the joints that are learnt, without the root's orientation that goes with them: leave it "
                "out, or give model.condition=visible_joints"
            )
        self._share, self._seed = share, seed
        self._stride = max(1, round(share * batch_size))
        self._mixture = MixtureConfig(kind="mixture").build(prior.joint_indices).eval().requires_grad_(False)
        self._mixture.fit_statistics(poses)
        self._pool = poses[:0]
        self._pool_of: tuple[int, int, int] | None = None

    def __call__(self, batch: Tensor, epoch: int, rank: int, number: int) -> Tensor:
        """The batch (B, 55, 3), with draws in the place of the share of its rows that stands first.

        Args:
            epoch, rank, number: which batch it is; `number` counts within the epoch.
        """
        block, place = divmod(number, max(1, _NUM_DRAWN // self._stride))
        if (epoch, rank, block) != self._pool_of:
            self._pool, self._pool_of = self._draw(epoch, rank, block), (epoch, rank, block)
        num, joints = round(self._share * len(batch)), self._mixture.joint_index
        mixed = batch.clone()
        mixed[:num, joints.to(batch.device)] = self._pool[place * self._stride :][:num].to(batch)
        return mixed

    def _draw(self, epoch: int, rank: int, block: int) -> Tensor:
        """The learnt joints of all draws of a block of batches, (n, J, 3)."""
        generator = torch.Generator().manual_seed(hash((self._seed, epoch, rank, block)) % 2**63)
        num = max(self._stride, _NUM_DRAWN // self._stride * self._stride)
        return self._mixture.sample(num, generator)[:, self._mixture.joint_index]
