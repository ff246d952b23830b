"""Files that did not change are not read again; whatever changes is noticed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pose_priors.datamodules.cache import stamps, store
from pose_priors.datamodules.cache.__main__ import main
from pose_priors.datamodules.cache.conversion import Conversion
from pose_priors.datamodules.cache.store import open_poses

Rows = Callable[..., np.ndarray]


@pytest.fixture
def files(tmp_path: Path, random_rows: Rows, cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two files, taken for old ones; `cache_home` is where the cache is."""
    monkeypatch.setattr(stamps, "_SETTLED", -1.0)
    found = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for seed, file in enumerate(found):
        np.save(file, random_rows(20, 63, seed=seed))
    return found


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Each time that the content of files is read for their key, one of them is added here."""
    read: list[Path] = []
    key = store._key
    monkeypatch.setattr(store, "_key", lambda files, options: read.append(files[0]) or key(files, options))
    return read


def test_files_that_did_not_change_are_not_read_again(files: list[Path], reads: list[Path]) -> None:
    first = open_poses(files, Conversion())
    again = open_poses(files, Conversion())
    np.testing.assert_array_equal(first.poses, again.poses)
    assert len(reads) == 1


def test_each_change_is_noticed(files: list[Path], reads: list[Path], random_rows: Rows, tmp_path: Path) -> None:
    rows = open_poses(files, Conversion()).poses.shape[0]
    before = files[0].stat()
    np.save(files[0], random_rows(20, 63, seed=7))
    os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert files[0].stat().st_size == before.st_size  # neither size nor time of its content tells
    changed = open_poses(files, Conversion()).poses
    np.testing.assert_array_equal(changed[:20, 1:22].reshape(20, 63), np.load(files[0]).astype(np.float32))

    assert len(open_poses(files[:1], Conversion()).poses) == rows // 2
    open_poses(files[::-1], Conversion())
    open_poses(files, Conversion(trim=True))
    copy = Path(shutil.copy2(files[0], tmp_path / "copy.npy"))
    open_poses([copy, files[1]], Conversion())
    assert len(reads) == 6


def test_a_file_that_was_just_written_is_not_taken_for_old(files: list[Path], reads: list[Path], monkeypatch) -> None:
    monkeypatch.setattr(stamps, "_SETTLED", 60.0)
    for _ in range(2):
        open_poses(files, Conversion())
    assert len(reads) == 2


@pytest.mark.parametrize("content", [b"", b"../../elsewhere", b"\xff\xfe", b"0" * 31])
def test_a_stamp_that_is_none_counts_for_nothing(files: list[Path], reads: list[Path], cache_home: Path, content: bytes) -> None:
    open_poses(files, Conversion())
    (stamp,) = (cache_home / stamps.STAMPS).iterdir()
    stamp.write_bytes(content)
    open_poses(files, Conversion())
    assert len(reads) == 2
    assert len(stamp.read_text()) == 32


def test_what_was_cleared_is_converted_again(files: list[Path], cache_home: Path, capsys) -> None:
    first = np.array(open_poses(files, Conversion()).poses)
    (entry,) = (folder for folder in cache_home.iterdir() if folder.name != stamps.STAMPS)
    shutil.rmtree(entry)
    np.testing.assert_array_equal(open_poses(files, Conversion()).poses, first)
    main(["clear"])
    assert "1 set of poses" in capsys.readouterr().out
    assert not list(cache_home.iterdir())


def test_a_cache_that_cannot_be_written_to_is_read(files: list[Path], cache_home: Path, monkeypatch) -> None:
    open_poses(files, Conversion())
    shutil.rmtree(cache_home / stamps.STAMPS)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    assert len(open_poses(files, Conversion()).poses) == 40


def test_what_is_no_stamp_stays(files: list[Path], cache_home: Path) -> None:
    open_poses(files, Conversion())
    (cache_home / stamps.STAMPS / "mine").write_text("kept")
    main(["clear"])
    assert [path.name for path in (cache_home / stamps.STAMPS).iterdir()] == ["mine"]
