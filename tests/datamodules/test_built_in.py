"""The built-in source at its sizes: few as they are drawn, many block by block, made once and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pose_priors.datamodules import built_in
from pose_priors.datamodules.base import DataConfig, PoseDataModule
from pose_priors.datamodules.built_in import built_in_poses
from pose_priors.datamodules.cache.__main__ import entries
from pose_priors.datamodules.synthetic import synthetic_poses


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(built_in, "MOST_AT_ONCE", 50)
    monkeypatch.setattr(built_in, "_BLOCK", 64)


def test_few_are_those_of_the_generator_and_touch_no_disk(small_blocks: None, cache_home: Path) -> None:
    found = built_in_poses(50, 3, None)
    np.testing.assert_array_equal(found.poses, synthetic_poses(50, 3).numpy())
    assert len(np.unique(found.hashes)) == 50
    assert not list(cache_home.glob("*"))


def test_many_are_made_once_block_by_block(small_blocks: None, cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def drawn(num_poses: int, seed: int) -> torch.Tensor:
        sizes.append(num_poses)
        return synthetic_poses(num_poses, seed)

    monkeypatch.setattr(built_in, "synthetic_poses", drawn)
    first = built_in_poses(200, 3, None)
    assert sizes == [64, 64, 64, 8]  # never more at a time
    assert isinstance(first.poses, np.memmap)
    assert first.poses.shape == (200, 55, 3)
    assert [(s.start, s.stop, s.is_sequence) for s in first.segments] == [(0, 200, False)]
    assert len(np.unique(np.asarray(first.poses).reshape(200, -1), axis=0)) == 200  # blocks differ
    (entry,) = entries(cache_home)
    assert "200 built-in poses, seed 3" in entry.in_words()

    again = built_in_poses(200, 3, None)
    assert len(sizes) == 4
    np.testing.assert_array_equal(again.poses, first.poses)
    np.testing.assert_array_equal(again.hashes, first.hashes)
    others = built_in_poses(200, 4, None)
    assert not np.isclose(others.poses, first.poses).all(-1).any()
    assert not np.isin(others.hashes, first.hashes).any()


def test_blocks_are_distributed_as_one_draw(small_blocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(built_in, "_BLOCK", 500)
    blocks = np.asarray(built_in_poses(8000, 0, None).poses, dtype=np.float64)[:, 1:22].reshape(8000, -1)
    one = synthetic_poses(8000, 1).double().numpy()[:, 1:22].reshape(8000, -1)
    spread = one.std(0)
    assert (np.abs(blocks.mean(0) - one.mean(0)) / spread).max() < 5 * np.sqrt(2 / 8000)
    assert (np.abs(np.log(blocks.std(0) / spread))).max() < 0.1


def test_a_run_finds_its_data_again(small_blocks: None, cache_home: Path) -> None:
    def fingerprint(seed: int) -> str:
        data = PoseDataModule(DataConfig(path="built_in", num_poses=200), 16, seed)
        data.prepare_data()
        data.setup()
        assert data.summary()["files"] == 0
        return data.fingerprint

    assert fingerprint(0) == fingerprint(0) != fingerprint(1)
    for entry in entries(cache_home):
        (entry.path / "poses.npy").write_bytes(b"")  # damaged: made anew
    assert fingerprint(0) == fingerprint(0)
