"""Commands of the priors, killed before every rename: all of the old or all of the new. Training: `test_train_resume.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kills import CHANGES, killed_at, kills
from test_train import run

import evaluate
from pose_priors.datamodules.cache.conversion import Conversion
from pose_priors.datamodules.cache.store import open_poses


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run of one epoch."""
    return run("gaussian_prior", tmp_path_factory.mktemp("trained"), "training.max_epochs=1", "logging.figures_every_n_epochs=1000")


def test_evaluate(checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["--checkpoint", str(checkpoint), "--output", str(tmp_path / "out")]
    evaluate.main(arguments)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) > 5
    for name in [*names, "notes.txt"]:
        (tmp_path / "out" / name).write_bytes(b"old")
    found: dict[str, bool] = {}
    for _ in kills(lambda: evaluate.main(arguments), 2):
        found = {path.name: path.read_bytes() == b"old" for path in (tmp_path / "out").iterdir()}
        assert found.pop("notes.txt")
        assert found in (dict.fromkeys(names, True), dict.fromkeys(names, False))
    assert not any(found.values())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_cache(tmp_path: Path) -> None:
    poses = np.random.default_rng(0).normal(size=(50, 63)).astype(np.float32)
    np.save(tmp_path / "poses.npy", poses)
    whole = open_poses([tmp_path / "poses.npy"], Conversion(), tmp_path / "whole")
    number, killed = 0, True
    while killed:
        cache = tmp_path / f"cache{(number := number + 1)}"
        killed = killed_at(number, lambda cache=cache: open_poses([tmp_path / "poses.npy"], Conversion(), cache), CHANGES)
        again = open_poses([tmp_path / "poses.npy"], Conversion(), cache)
        np.testing.assert_array_equal(again.poses, whole.poses)
        assert len(list(cache.iterdir())) == 1
    assert number > 4
