from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from pose_priors.body.rotations import mirror_pose
from pose_priors.datamodules.loader import PoseLoader


def numbered(num_rows: int) -> np.ndarray:
    """Poses whose first number is their row number."""
    poses = np.random.default_rng(0).normal(0, 0.3, (num_rows, 55, 3)).astype(np.float32)
    poses[:, 0, 0] = np.arange(num_rows)
    return poses


def rows_of(batches: list[Tensor]) -> list[int]:
    return [int(row) for batch in batches for row in batch[:, 0, 0]]


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("num_rows", [7, 8, 41, 64, 97, 100])
@pytest.mark.parametrize("shuffle", [False, True])
def test_ranks_cover_each_row_once_in_as_many_batches(world_size: int, num_rows: int, shuffle: bool) -> None:
    loaders = [PoseLoader(numbered(num_rows), 8, shuffle=shuffle, rank=rank, world_size=world_size) for rank in range(world_size)]
    epochs = [list(loader) for loader in loaders]
    assert len({len(batches) for batches in epochs}) == 1
    assert all(len(batches) == len(loader) for batches, loader in zip(epochs, loaders, strict=True))
    assert all(len(batch) >= 1 for batches in epochs for batch in batches)
    assert sorted(row for batches in epochs for row in rows_of(batches)) == list(range(num_rows))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_of_a_training_repeat_no_row_and_leave_out_less_than_a_batch(world_size: int) -> None:
    left_out = []
    for epoch in range(3):
        rows = []
        for rank in range(world_size):
            loader = PoseLoader(numbered(100), 7, shuffle=True, drop_last=True, rank=rank, world_size=world_size)
            loader.set_epoch(epoch)
            rows += rows_of(list(loader))
        assert len(set(rows)) == len(rows)
        left_out.append(set(range(100)) - set(rows))
    assert {len(rows) for rows in left_out} == {100 % (7 * world_size)}
    assert left_out[0] != left_out[1] or not left_out[0]


def test_a_short_last_batch_is_dropped_unless_it_is_the_only_one() -> None:
    assert [len(batch) for batch in PoseLoader(numbered(20), 8, drop_last=True)] == [8, 8]
    assert [len(batch) for batch in PoseLoader(numbered(5), 8, drop_last=True)] == [5]
    assert [len(batch) for batch in PoseLoader(numbered(20), 8)] == [8, 8, 4]
    two = [[len(batch) for batch in PoseLoader(numbered(21), 5, drop_last=True, rank=rank, world_size=2)] for rank in (0, 1)]
    assert two == [[5, 5], [5, 5]]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def epoch(seed: int, number: int) -> list[int]:
        loader = PoseLoader(numbered(50), 8, seed=seed, shuffle=True)
        loader.set_epoch(number)
        return rows_of(list(loader))

    assert epoch(1, 2) == epoch(1, 2)
    assert epoch(1, 2) != epoch(1, 3)
    assert epoch(1, 2) != epoch(2, 2)
    loader = PoseLoader(numbered(50), 8, seed=1, shuffle=True)
    for _ in loader:
        pass
    loader.set_epoch(2)
    iter(loader)
    assert rows_of(list(loader)) == epoch(1, 2)


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize(("num_rows", "batches"), [(100, 4), (100, 7), (100, 33), (21, 2)])
def test_epochs_that_are_parts_of_passes_give_what_passes_give(num_rows: int, batches: int, world_size: int) -> None:
    for rank in range(world_size):
        shared: dict[str, Any] = {"shuffle": True, "drop_last": True, "mirror": True, "seed": 3, "rank": rank, "world_size": world_size}
        whole, parts = PoseLoader(numbered(num_rows), 5, **shared), PoseLoader(numbered(num_rows), 5, batches_an_epoch=batches, **shared)
        assert (len(parts), parts.batches_a_pass) == (batches, len(whole))
        passes: list[Tensor] = []
        for number in range(-(-3 * batches // len(whole))):
            whole.set_epoch(number)
            passes += list(whole)
        cut: list[Tensor] = []
        for number in range(3):
            parts.set_epoch(number)
            cut += list(parts)
        assert len(cut) == 3 * batches
        assert all(torch.equal(a, b) for a, b in zip(cut, passes, strict=False))


def test_a_part_of_a_pass_goes_on_where_it_was() -> None:
    shared: dict[str, Any] = {"shuffle": True, "drop_last": True, "mirror": True, "batches_an_epoch": 7}
    first = PoseLoader(numbered(50), 5, **shared)  # 10 batches a pass: the second epoch begins in one and ends in the next
    first.set_epoch(1)
    given = iter(first)
    seen = [next(given) for _ in range(2)]
    again = PoseLoader(numbered(50), 5, **shared)
    again.load_state_dict(first.state_dict())
    again.set_epoch(1)
    rest = list(again)
    assert len(seen) + len(rest) == 7
    assert all(torch.equal(a, b) for a, b in zip(rest, given, strict=True))


@pytest.mark.parametrize("shuffle", [False, True])
def test_of_many_rows_some_are_drawn_by_the_seed(shuffle: bool) -> None:
    def rows(seed: int, most: int | None, world_size: int = 1) -> list[int]:
        loaders = [
            PoseLoader(numbered(100), 8, shuffle=shuffle, seed=seed, most_rows=most, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        return [row for loader in loaders for row in rows_of(list(loader))]

    some = rows(0, 30)
    assert len(set(some)) == len(some) == 30
    assert (some == sorted(some)) != shuffle
    assert max(some) - min(some) > 60  # from all over
    assert rows(0, 30) == some
    assert set(rows(1, 30)) != set(some)
    assert set(rows(0, 30, world_size=2)) == set(some)
    assert set(rows(0, 200)) == set(rows(0, None)) == set(range(100))
    assert len(rows(0, 1, world_size=2)) == 2  # each process has one at least


def test_mirrors_about_half_of_the_rows_and_leaves_the_data_alone() -> None:
    poses = numbered(2000)
    poses[:, 0, 0] = np.arange(1, 2001) / 2000
    kept = poses.copy()
    loader = PoseLoader(poses, 128, seed=3, mirror=True)
    batch = torch.cat(list(loader))
    plain = torch.from_numpy(poses)
    mirrored = (batch == mirror_pose(plain)).flatten(1).all(1)
    assert (mirrored ^ (batch == plain).flatten(1).all(1)).all()
    assert 0.45 < mirrored.float().mean() < 0.55
    np.testing.assert_array_equal(poses, kept)
    loader.set_epoch(1)
    assert not torch.equal(torch.cat(list(loader)), batch)
    # the coins of a row do not depend on how rows are shared
    loader.set_epoch(0)
    shared = [torch.cat(list(PoseLoader(poses, 64, seed=3, mirror=True, rank=rank, world_size=2))) for rank in (0, 1)]
    assert torch.equal(torch.stack(shared, 1).flatten(0, 1), batch)


@pytest.mark.parametrize("stop", [0, 1, 3, 5])
def test_state_goes_on_in_the_middle_of_an_epoch(stop: int) -> None:
    loader = PoseLoader(numbered(40), 8, seed=1, shuffle=True, mirror=True)
    loader.set_epoch(4)
    whole = list(loader)
    loader.set_epoch(3)
    loader.set_epoch(4)
    batches = iter(loader)
    for _ in range(stop):
        next(batches)
    resumed = PoseLoader(numbered(40), 8, seed=1, shuffle=True, mirror=True)
    resumed.load_state_dict(loader.state_dict())
    resumed.set_epoch(4)
    rest = list(resumed)
    assert len(rest) == 5 - stop
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[stop:], strict=True))
    resumed.set_epoch(5)
    assert len(list(resumed)) == 5


def test_state_survives_a_change_of_ranks() -> None:
    loader = PoseLoader(numbered(64), 8, shuffle=True)
    batches = iter(loader)
    seen = rows_of([next(batches) for _ in range(4)])
    others = []
    for rank in (0, 1):
        half = PoseLoader(numbered(64), 8, shuffle=True, rank=rank, world_size=2)
        half.load_state_dict(loader.state_dict())
        others += rows_of(list(half))
    assert sorted(seen + others) == list(range(64))


def test_fewer_rows_than_ranks_is_refused() -> None:
    with pytest.raises(ValueError, match="2 rows cannot be shared by 3"):
        PoseLoader(numbered(2), 8, world_size=3)


class Recorder(pl.LightningModule):
    """Learns one number and remembers the rows that it saw."""

    def __init__(self, kill_at: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.kill_at = kill_at
        self.seen: list[list[int]] = []

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        self.seen.append(rows_of([batch]))
        return (self.weight - batch[:, 0, 0].mean()).square()

    def validation_step(self, batch: Tensor, index: int) -> None:
        self.log("val", batch.mean())

    def on_train_batch_end(self, *_: object) -> None:
        if self.global_step == self.kill_at:
            raise KeyboardInterrupt

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


def trainer(root: Path, *callbacks: pl.Callback) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        default_root_dir=root,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        num_sanity_val_steps=1,
        enable_checkpointing=bool(callbacks),
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "saved",
    [
        {"every_n_train_steps": 3, "stem": "epoch=1-step=9"},  # within the second epoch of six batches
        {"save_on_train_epoch_end": True, "stem": "epoch=0-step=6"},  # after validation
        {"save_on_train_epoch_end": False, "stem": "epoch=1-step=12"},  # at the end of validation
    ],
)
def test_lightning_resumes_with_the_batches_that_were_to_come(tmp_path: Path, saved: dict) -> None:
    options = dict(saved)
    stem = options.pop("stem")

    def loaders() -> tuple[PoseLoader, PoseLoader]:
        return PoseLoader(numbered(50), 8, seed=1, shuffle=True, drop_last=True), PoseLoader(numbered(10), 8)

    whole = Recorder()
    trainer(tmp_path).fit(whole, *loaders())
    assert len(whole.seen) == 18
    assert len({tuple(rows) for rows in whole.seen}) == 18

    killed = Recorder(kill_at=14)
    checkpoints = pl.callbacks.ModelCheckpoint(tmp_path, save_top_k=-1, **options)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer(tmp_path, checkpoints).fit(killed, *loaders())
    resumed = Recorder()
    checkpoint = tmp_path / f"{stem}.ckpt"
    trainer(tmp_path).fit(resumed, *loaders(), ckpt_path=str(checkpoint))
    assert resumed.seen == whole.seen[int(stem.rpartition("=")[2]) :]
    assert torch.equal(resumed.weight, whole.weight)
