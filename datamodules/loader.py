"""Batches gathered by index from an array, shuffled, sharded by rank, mirrored, and able to go on in the middle of an epoch or a pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.rotations import mirror_pose


class PoseArray(Protocol):
    """N poses that can be gathered by an index array: (N, 55, 3) float32, in memory or mapped."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...


class EpochLoader(ABC):
    """An iterable of batches, one epoch long, each made of some of N rows.

    Every rank gets the same number of batches, at least one row in each, and together they see each row once a pass (apart from what
    `drop_last` drops). An epoch is a pass, or with `batches_an_epoch` a stretch of the passes one after another. Order and randomness of a
    pass depend on (seed, its number) alone. While a batch is learnt from, a thread gathers the next, which may take a disk its time, and
    draws the order of a pass that begins. The trainer sets the epoch by `sampler.set_epoch` and saves the position through `state_dict`,
    as it does for any loader that has both.

    Args:
        num_rows: N.
        batch_size: rows a batch and rank.
        seed: of the order and of what is drawn.
        shuffle: whether each epoch has an order of its own; otherwise rows come as they are.
        drop_last: drops the last batch of an epoch if it is short and not the only one.
        rank, world_size: of this process.
        batches_an_epoch: None for those of a pass.
        most_rows: of more rows than that, so many are drawn once by the seed, and only they are given.
    Raises:
        ValueError: if there are fewer rows than ranks.
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        batches_an_epoch: int | None = None,
        most_rows: int | None = None,
    ) -> None:
        if num_rows < world_size:
            raise ValueError(f"{num_rows} rows cannot be shared by {world_size} processes")
        self.seed, self.shuffle = seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self._chosen: np.ndarray | None = None
        if most_rows is not None and num_rows > max(most_rows, world_size):
            self._chosen = np.sort(np.random.default_rng(seed).choice(num_rows, max(most_rows, world_size), replace=False))
            num_rows = len(self._chosen)
        self._total = num_rows
        self._rows_a_batch = batch_size * world_size
        full, rest = divmod(num_rows, self._rows_a_batch)
        # a rest of fewer rows than ranks cannot be a batch of its own: it joins the batch before
        self.batches_a_pass = max(full + (rest >= world_size and not drop_last), 1)
        self._num_rows = self.batches_a_pass * self._rows_a_batch if drop_last and full else num_rows
        self._num_batches = batches_an_epoch or self.batches_a_pass
        self._position = self._resume_at = 0

    batches_a_pass: int
    """How many batches hold each row once."""
    batch_sampler = None
    """Looked for by the trainer beside `sampler`."""

    @property
    def sampler(self) -> EpochLoader:
        """Itself: where the trainer looks for `set_epoch`."""
        return self

    def __len__(self) -> int:
        return self._num_batches

    @abstractmethod
    def draw(self, generator: np.random.Generator) -> Any:
        """What is random in a pass beside the order, for all rows."""

    @abstractmethod
    def gather(self, rows: np.ndarray, drawn: Any) -> Any:
        """The batch of some rows, with what `draw` gave for the pass."""

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next iteration gives. Another one than a loaded state's starts at its first batch."""
        if epoch != self.epoch:
            self.epoch = epoch
            self._position = self._resume_at = 0

    def __iter__(self) -> Iterator[Any]:
        # a generator, so that nothing is fixed before the first batch: the trainer calls `iter` before it sets the epoch
        start, self._resume_at = self._resume_at, 0
        batches = self._batches(self.epoch, start)
        with ThreadPoolExecutor(1, thread_name_prefix="gather") as ahead:
            coming = ahead.submit(next, batches, None)
            for batch in range(start, self._num_batches):
                gathered = coming.result()
                coming = ahead.submit(next, batches, None)
                self._position = batch + 1
                yield gathered

    def _batches(self, epoch: int, start: int) -> Iterator[Any]:
        number, order, drawn = -1, np.empty(0, dtype=int), None
        for batch in range(start, self._num_batches):
            passes, place = divmod(epoch * self._num_batches + batch, self.batches_a_pass)
            if passes != number:
                number, (order, drawn) = passes, self._begun(passes)
            first = place * self._rows_a_batch
            last = self._num_rows if place == self.batches_a_pass - 1 else first + self._rows_a_batch
            yield self.gather(order[first + self.rank : last : self.world_size], drawn)

    def _begun(self, number: int) -> tuple[np.ndarray, Any]:
        """The order of a pass, and what is drawn for it."""
        generator = np.random.default_rng([self.seed, number])
        rows = np.arange(self._total) if self._chosen is None else self._chosen
        order = generator.permutation(rows) if self.shuffle else rows
        return order, self.draw(generator)

    def state_dict(self) -> dict[str, int]:
        """Epoch and number of rows that all ranks together have been given in it."""
        return {"epoch": self.epoch, "rows": self._position * self._rows_a_batch}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Lets the next iteration go on where the state was taken, also with another batch size or number of ranks."""
        self.epoch = state_dict["epoch"]
        self._position = self._resume_at = state_dict["rows"] // self._rows_a_batch


class PoseLoader(EpochLoader):
    """An `EpochLoader` of batches (B, 55, 3).

    Args:
        poses: the N rows to draw from.
        batch_size: rows a batch and rank.
        mirror: replaces each row by its mirror image with probability one half.
        pinned: whether batches lie where a GPU fetches them by itself, while the processor goes on.
        options: those of `EpochLoader`.
    Raises:
        ValueError: if there are fewer rows than ranks.
    """

    def __init__(self, poses: PoseArray, batch_size: int, *, mirror: bool = False, pinned: bool = False, **options: Any) -> None:
        super().__init__(len(poses), batch_size, **options)
        self.poses, self.mirror, self.pinned = poses, mirror, pinned

    def draw(self, generator: np.random.Generator) -> Tensor | None:
        """(N,) bool, which rows are mirrored."""
        return torch.from_numpy(generator.integers(0, 2, len(self.poses), dtype=bool)) if self.mirror else None

    def gather(self, rows: np.ndarray, drawn: Tensor | None) -> Tensor:
        """(B, 55, 3)."""
        # indices are in range by construction: not to raise on others is a third faster
        array = self.poses
        poses = torch.from_numpy(array.take(rows, 0, mode="clip") if isinstance(array, np.ndarray) else array[rows])
        if drawn is not None:
            poses = torch.where(drawn[torch.from_numpy(rows), None, None], mirror_pose(poses), poses)
        return poses.pin_memory() if self.pinned else poses
