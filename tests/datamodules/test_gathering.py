"""Who gathers batches, and when."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from torch import Tensor

from pose_priors.datamodules.loader import PoseLoader


def numbered(num_rows: int) -> np.ndarray:
    """Poses whose first number is their row number."""
    poses = np.zeros((num_rows, 55, 3), np.float32)
    poses[:, 0, 0] = np.arange(num_rows)
    return poses


def rows_of(batch: Tensor) -> list[int]:
    return [int(row) for row in batch[:, 0, 0]]


class Disk:
    """Numbered poses that say who asked for them, and fail at one row."""

    def __init__(self, num_rows: int, broken: int | None = None) -> None:
        self.poses, self.broken = numbered(num_rows), broken
        self.asked: list[threading.Thread] = []
        self.twice = threading.Event()

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.asked.append(threading.current_thread())
        if len(self.asked) == 2:
            self.twice.set()
        if self.broken in rows:
            raise OSError(5, "Input/output error")
        return self.poses[rows]


def test_the_next_batch_is_gathered_while_one_is_learnt_from() -> None:
    disk = Disk(40)
    loader = PoseLoader(disk, 8)
    batches = iter(loader)
    first = next(batches)
    assert disk.twice.wait(30)  # nobody has asked for the second
    assert rows_of(first) == list(range(8))
    assert loader.state_dict() == {"epoch": 0, "rows": 8}  # what was given, not what was gathered
    assert len(disk.asked) == 2  # one ahead, no more
    assert threading.current_thread() not in disk.asked
    batches.close()
    assert not any(thread.is_alive() for thread in disk.asked)


def test_what_fails_while_gathering_fails_where_the_batch_is_asked_for() -> None:
    batches = iter(PoseLoader(Disk(40, broken=12), 8))
    assert rows_of(next(batches)) == list(range(8))
    with pytest.raises(OSError, match="Input/output error"):
        next(batches)


@pytest.mark.parametrize("pinned", [False, True])
def test_batches_for_a_gpu_are_pinned(pinned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: asked.append(len(self)) or self)
    assert [len(batch) for batch in PoseLoader(numbered(20), 8, pinned=pinned)] == [8, 8, 4]
    assert asked == ([8, 8, 4] if pinned else [])
