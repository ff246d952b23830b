"""Batches gathered by index from an array, shuffled, sharded by rank, mirrored, and able to go on in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from body.rotations import mirror_pose


class PoseArray(Protocol):
    """N poses that can be gathered by an index array: (N, 55, 3) float32, in memory or mapped."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...


class PoseLoader:
    """An iterable of batches (B, 55, 3), one epoch long.

    Every rank gets the same number of batches, at least one row in each, and together they see each row once an epoch (apart from what
    `drop_last` drops). Order and coins of an epoch depend on (seed, epoch) alone. The trainer sets the epoch by `sampler.set_epoch` and
    saves the position through `state_dict`, as it does for any loader that has both.

    Args:
        poses: the N rows to draw from.
        batch_size: rows a batch and rank.
        seed: of the order and of the coins.
        shuffle: whether each epoch has an order of its own; otherwise rows come as they are.
        drop_last: drops the last batch of an epoch if it is short and not the only one.
        mirror: replaces each row by its mirror image with probability one half.
        rank, world_size: of this process.
    Raises:
        ValueError: if there are fewer rows than ranks.
    """

    def __init__(
        self,
        poses: PoseArray,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
        mirror: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if len(poses) < world_size:
            raise ValueError(f"{len(poses)} rows cannot be shared by {world_size} processes")
        self.poses, self.seed, self.shuffle, self.mirror = poses, seed, shuffle, mirror
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self._rows_a_batch = batch_size * world_size
        full, rest = divmod(len(poses), self._rows_a_batch)
        # a rest of fewer rows than ranks cannot be a batch of its own: it joins the batch before
        self._num_batches = max(full + (rest >= world_size and not drop_last), 1)
        self._num_rows = self._num_batches * self._rows_a_batch if drop_last and full else len(poses)
        self._position = self._resume_at = 0

    batch_sampler = None
    """Looked for by the trainer beside `sampler`."""

    @property
    def sampler(self) -> PoseLoader:
        """Itself: where the trainer looks for `set_epoch`."""
        return self

    def __len__(self) -> int:
        return self._num_batches

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next iteration gives. Another one than a loaded state's starts at its first batch."""
        if epoch != self.epoch:
            self.epoch = epoch
            self._position = self._resume_at = 0

    def __iter__(self) -> Iterator[Tensor]:
        # a generator, so that nothing is fixed before the first batch: the trainer calls `iter` before it sets the epoch
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(len(self.poses)) if self.shuffle else np.arange(len(self.poses))
        coins = generator.integers(0, 2, len(self.poses), dtype=bool) if self.mirror else None
        start, self._resume_at = self._resume_at, 0
        for batch in range(start, self._num_batches):
            first = batch * self._rows_a_batch
            last = self._num_rows if batch == self._num_batches - 1 else first + self._rows_a_batch
            rows = order[first + self.rank : last : self.world_size]
            poses = torch.from_numpy(self.poses[rows])
            if coins is not None:
                poses = torch.where(torch.from_numpy(coins[rows])[:, None, None], mirror_pose(poses), poses)
            self._position = batch + 1
            yield poses

    def state_dict(self) -> dict[str, int]:
        """Epoch and number of rows that all ranks together have been given in it."""
        return {"epoch": self.epoch, "rows": self._position * self._rows_a_batch}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Lets the next iteration go on where the state was taken, also with another batch size or number of ranks."""
        self.epoch = state_dict["epoch"]
        self._position = self._resume_at = state_dict["rows"] // self._rows_a_batch
