"""What lies in a cache folder may be anything: it is made anew with a line that says so, and never read as data."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzzing import NUM_INPUTS, anything, changed_array, changes, damaged, survives, volume

from pose_priors.configs.base import UserError
from pose_priors.configs.temporaries import PREFIX
from pose_priors.datamodules.base import DataConfig, PoseDataModule, load_poses
from pose_priors.datamodules.cache import stamps
from pose_priors.datamodules.cache.__main__ import entries, main
from pose_priors.datamodules.cache.conversion import Conversion
from pose_priors.datamodules.cache.entry import HASHES, INDEX, POSES
from pose_priors.datamodules.cache.store import open_poses
from pose_priors.datamodules.files import find_files
from pose_priors.refinement.motions.batch import find_sources

Rows = Callable[..., np.ndarray]
Damage = Callable[[Path], object]


def _replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def _zeroed(path: Path) -> None:
    """As a power failure leaves it: as long as it was, the end never written."""
    size = path.stat().st_size
    os.truncate(path, size // 2)
    os.truncate(path, size)


def _with_index(change: dict[str, object]) -> Damage:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | change))


def _with_array(of: Callable[[np.ndarray], np.ndarray]) -> Damage:
    return lambda path: np.save(path, of(np.load(path)))


_ANY: dict[str, Damage] = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut": _cut,
    "garbage": lambda path: path.write_bytes(random.Random(0).randbytes(500)),
    "removed": Path.unlink,
    "folder": lambda path: _replaced(path, Path.mkdir),
    "pipe": lambda path: _replaced(path, os.mkfifo),
    "link to itself": lambda path: _replaced(path, lambda p: p.symlink_to(p)),
}
_OWN: dict[str, list[tuple[str, Damage]]] = {
    INDEX: [
        ("deep", lambda path: path.write_text("[" * 100_000)),
        ("list", lambda path: path.write_text("[]")),
        ("more rows", _with_index({"num_poses": 41})),
        ("no segments", _with_index({"segments": []})),
        ("gap", _with_index({"segments": [{"start": 1, "stop": 40, "is_sequence": False, "fps": None}]})),
        ("back", _with_index({"segments": [{"start": 0, "stop": n, "is_sequence": False, "fps": None} for n in (50, 40)]})),
        ("rate", _with_index({"segments": [{"start": 0, "stop": 40, "is_sequence": True, "fps": -1}]})),
        ("counts", _with_index({"counts": {"files": 1}})),
        ("count", _with_index({"counts": dict.fromkeys(("files", "skipped_files", "nan_rows", "invalid_rows", "duplicates"), -1)})),
    ],
    POSES: [
        ("zeroed", _zeroed),
        ("doubles", _with_array(lambda array: array.astype(float))),
        ("fewer", _with_array(lambda array: array[:-1])),
        ("by columns", _with_array(np.asfortranarray)),
        ("objects", _with_array(lambda array: array.astype(object))),
        ("nan", _with_array(lambda array: np.where(np.arange(40)[:, None, None] == 39, np.float32(np.nan), array))),
        ("others", _with_array(lambda array: array[::-1])),
    ],
    HASHES: [
        ("signed", _with_array(lambda array: array.astype(np.int64))),
        ("short", _with_array(lambda array: array[:-1])),
        ("others", _with_array(lambda array: array + np.uint64(1))),
    ],
}
_CASES = [(name, what, damage) for name in _OWN for what, damage in (*_ANY.items(), *_OWN[name])]


@pytest.fixture
def file(tmp_path: Path, random_rows: Rows, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of 40 poses, taken for an old one."""
    monkeypatch.setattr(stamps, "_SETTLED", -1.0)
    np.save(tmp_path / "a.npy", random_rows(40, 63))
    return tmp_path / "a.npy"


@pytest.mark.parametrize(("name", "what", "damage"), _CASES, ids=[f"{name} {what}" for name, what, _ in _CASES])
def test_a_damaged_entry_is_made_anew_aloud(
    file: Path, cache_home: Path, name: str, what: str, damage: Damage, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = np.array(open_poses([file], Conversion()).poses)
    (entry,) = entries(cache_home)
    damage(entry.path / name)
    main(["list"])
    assert ("damaged: made anew" in capsys.readouterr().out) == (name == INDEX)
    with caplog.at_level(logging.WARNING):
        found = open_poses([file], Conversion())
    np.testing.assert_array_equal(found.poses, whole)
    (line,) = [record.message for record in caplog.records]
    assert "is made anew" in line
    assert str(entry.path / POSES if what == "others" else entry.path / name) in line
    caplog.clear()
    np.testing.assert_array_equal(open_poses([file], Conversion()).poses, whole)
    assert not caplog.records
    assert sorted(path.name for path in cache_home.iterdir()) == sorted([entry.path.name, stamps.STAMPS])
    damage(entry.path / name)
    main(["clear"])
    assert not list(cache_home.iterdir())


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, os.mkfifo, lambda p: p.symlink_to(p), lambda p: p.symlink_to(p.parent.parent)])
def test_something_else_in_the_place_of_an_entry_is_replaced(file: Path, cache_home: Path, make: Callable[[Path], object]) -> None:
    whole = np.array(open_poses([file], Conversion()).poses)
    (entry,) = entries(cache_home)
    shutil.rmtree(entry.path)
    make(entry.path)
    np.testing.assert_array_equal(open_poses([file], Conversion()).poses, whole)
    assert len(entries(cache_home)) == 1
    assert file.is_file()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda p: p.symlink_to(p)])
def test_something_else_in_the_place_of_stamps(file: Path, cache_home: Path, make: Callable[[Path], object]) -> None:
    whole = np.array(open_poses([file], Conversion()).poses)
    (stamp,) = (cache_home / stamps.STAMPS).iterdir()
    _replaced(stamp, make)
    np.testing.assert_array_equal(open_poses([file], Conversion()).poses, whole)
    shutil.rmtree(cache_home / stamps.STAMPS)
    make(cache_home / stamps.STAMPS)
    np.testing.assert_array_equal(open_poses([file], Conversion()).poses, whole)
    main(["list"])
    main(["clear"])
    assert not entries(cache_home)


def test_a_stamp_of_an_entry_that_is_not_there_counts_for_nothing(file: Path, cache_home: Path) -> None:
    whole = np.array(open_poses([file], Conversion()).poses)
    (stamp,) = (cache_home / stamps.STAMPS).iterdir()
    right = stamp.read_text()
    stamp.write_text("0" * 32)
    np.testing.assert_array_equal(open_poses([file], Conversion()).poses, whole)
    assert stamp.read_text() == right
    assert [entry.path.name for entry in entries(cache_home)] == [right]


def test_a_damaged_cache_that_may_not_be_written_to_is_one_line(file: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_poses([file], Conversion())
    (entries(cache_home)[0].path / INDEX).unlink()
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    with pytest.raises(UserError, match=r"cannot write the pose cache in .*Read-only file system.*data\.cache_dir"):
        open_poses([file], Conversion())


def _open_when_told(file: Path, root: Path, barrier, queue) -> None:
    torch.set_num_threads(1)  # a fork does not inherit the threads of OpenMP
    barrier.wait()
    queue.put(open_poses([file], Conversion(), root).poses[:].sum().item())


def test_several_processes_may_mend_one_entry_at_once(file: Path, tmp_path: Path, random_rows: Rows) -> None:
    root = tmp_path / "c"
    whole = open_poses([file], Conversion(), root).poses[:].sum().item()
    _cut(entries(root)[0].path / POSES)
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_open_when_told, args=(file, root, barrier, queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    sums = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sums == [whole] * 4
    assert len(entries(root)) == 1
    assert not list(root.glob(f"{PREFIX}*"))


# ---- a cache among the data


@pytest.mark.parametrize("where", ["data", "data/cache", "."])
def test_a_cache_among_the_data_is_no_data(tmp_path: Path, random_rows: Rows, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    np.save("data/a.npy", random_rows(40, 63))
    config = DataConfig(path="data" if where != "." else "*", cache_dir=where)
    first = PoseDataModule(config, batch_size=8, seed=0)
    first.setup()
    (tmp_path / where / f"{PREFIX}1@elsewhere-00000000").mkdir()
    np.save(tmp_path / where / f"{PREFIX}1@elsewhere-00000000" / POSES, random_rows(9, 165))
    for other in (config, DataConfig(path=config.path)):  # also where another run has left it
        again = PoseDataModule(other, batch_size=8, seed=0)
        again.setup()
        assert again.fingerprint == first.fingerprint
        assert again.summary() == first.summary()
        assert again.summary()["files"] == 1
    assert len(entries(tmp_path / where)) == 1
    assert [source.name for source in find_sources(tmp_path / "data", tmp_path / "out")] == ["a.npy"]


def test_what_only_looks_like_a_cache_is_data(tmp_path: Path, random_rows: Rows) -> None:
    (tmp_path / ("0" * 32)).mkdir()
    np.save(tmp_path / ("0" * 32) / POSES, random_rows(9, 63))
    assert len(find_files(str(tmp_path))) == 1
    assert len(entries(tmp_path)) == 1
    np.save(tmp_path / ("0" * 32) / "more.npy", random_rows(9, 63))
    assert not entries(tmp_path)  # so that clearing leaves it
    (tmp_path / "sequence").mkdir()
    for name in (POSES, HASHES):
        np.save(tmp_path / "sequence" / name, random_rows(9, 63))
    assert len(find_files(str(tmp_path / "sequence"))) == 2


def test_an_entry_that_is_named_is_meant_and_a_folder_of_nothing_else_is_said(tmp_path: Path, file: Path, cache_home: Path) -> None:
    first = load_poses(str(file))
    entry = entries(cache_home)[0].path
    np.testing.assert_array_equal(load_poses(str(entry / POSES))[:], first[:])
    np.testing.assert_array_equal(load_poses(str(entry))[:], first[:])
    for pattern in (str(cache_home), f"{cache_home}/*/*.npy"):
        with pytest.raises(UserError, match="with nothing but a cache of converted poses"):
            find_files(pattern)


def test_a_cache_folder_that_cannot_be_is_one_line(file: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    for name in ("a\0b", "x" * 300, str(tmp_path / "taken"), str(tmp_path / "taken" / "below")):
        with pytest.raises(UserError, match=r"data\.cache_dir"):
            load_poses(str(file), DataConfig(cache_dir=name))


# ---- anything at all


@volume
def test_changed_entries(file: Path, tmp_path: Path) -> None:
    whole = np.array(open_poses([file], Conversion(), tmp_path / "first").poses)
    (entry,) = entries(tmp_path / "first")
    (stamp,) = (tmp_path / "first" / stamps.STAMPS).iterdir()
    index = json.loads((entry.path / INDEX).read_text())

    def trial(rng: random.Random, scratch: Path) -> None:
        root = scratch / "cache"
        shutil.copytree(tmp_path / "first", root)
        names = [*(f"{entry.path.name}/{name}" for name in (POSES, HASHES, INDEX)), f"{stamps.STAMPS}/{stamp.name}"]
        for path in (root / name for name in rng.sample(names, rng.choice([1, 1, 2]))):
            kind, data = rng.random(), path.read_bytes()
            path.unlink()
            if kind < 0.4:
                path.write_bytes(damaged(rng, data))
            elif kind < 0.6:
                if path.name == INDEX:
                    path.write_text(json.dumps(changes(rng, index), default=repr, skipkeys=True))
                else:
                    np.save(path.open("wb"), changed_array(rng, whole))
            elif kind < 0.7:
                path.write_text(repr(anything(rng)), errors="replace")
            else:
                rng.choice([lambda _: None, Path.mkdir, os.mkfifo, lambda p: p.symlink_to(rng.choice([p, p.parent, file]))])(path)
        with redirect_stdout(StringIO()):
            main([rng.choice(["list", "list", "clear"]), "--cache-dir", str(root)])
        for _ in range(2):
            np.testing.assert_array_equal(open_poses([file], Conversion(), root).poses, whole)

    survives(trial, tmp_path, num_inputs=NUM_INPUTS // 16)
