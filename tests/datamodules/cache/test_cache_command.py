"""The command that lists and empties the cache of converted poses."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pose_priors.configs.base import UserError
from pose_priors.configs.temporaries import PREFIX
from pose_priors.datamodules.base import load_poses
from pose_priors.datamodules.cache.__main__ import clear, entries, main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache, of two sets of poses, the second written later."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for number, num_rows in enumerate((20, 30)):
        np.save(tmp_path / f"{number}.npy", np.random.default_rng(number).normal(size=(num_rows, 63)).astype(np.float32) / 4)
        load_poses(str(tmp_path / f"{number}.npy"))
    root = tmp_path / "home" / "pose-priors"
    for number, entry in enumerate(sorted(entries(root), key=lambda entry: entry.num_bytes)):
        os.utime(entry.path, (1e9 + number, 1e9 + number))
    return root


def test_what_it_holds_is_listed_the_latest_first(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    first, second, whole = capsys.readouterr().out.splitlines()
    assert "  30 poses" in first
    assert first.endswith(f": {tmp_path / '1.npy'}")
    assert "  20 poses" in second
    assert whole.startswith("2 sets of poses, 0.0 MB, in ")
    size = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    assert sum(entry.num_bytes for entry in entries(home)) == size
    main([])  # lists too
    assert capsys.readouterr().out.count("\n") == 3


def test_an_index_that_cannot_be_read_is_listed_and_cleared(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (entries(home)[0].path / "index.json").write_text("{")
    main(["list"])
    assert " ? poses" in capsys.readouterr().out
    assert len(clear(home)[0]) == 2


def test_clearing_leaves_what_is_not_its_own(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, abandoned, alive = home / "thesis", home / f"{PREFIX}999999999@nowhere-0123abcd", home / f"{PREFIX}mine"
    for folder in (mine, abandoned, alive):
        folder.mkdir()
    os.utime(abandoned, (1e9, 1e9))
    (mine / "index.json").write_text("{}")
    linked = home / ("a" * 32)
    linked.symlink_to(mine, target_is_directory=True)
    main(["clear"])
    assert capsys.readouterr().out.startswith("2 sets of poses, ")
    assert sorted(path.name for path in home.iterdir()) == sorted(path.name for path in (mine, alive, linked))
    assert len(load_poses(str(tmp_path / "0.npy"))) == 20  # converted again
    assert len(entries(home)) == 1


def test_what_cannot_be_removed_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pose_priors.datamodules.cache.__main__.shutil.rmtree", refused)
    with pytest.raises(UserError, match=r"^2 could not be removed, the first: .*Permission denied"):
        main(["clear"])


def test_another_folder_and_an_empty_one(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["clear", "--cache-dir", str(tmp_path / "nothing")])
    assert capsys.readouterr().out.startswith("0 sets of poses, 0.0 MB, removed from ")
    assert len(entries(home)) == 2


def test_a_file_is_no_cache(home: Path, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(UserError, match="is a file; give the folder"):
        main(["list", "--cache-dir", str(tmp_path / "a")])
