"""Files and folders that are exchanged: killed at every step, the old or the new is whole, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import takewhile
from pathlib import Path

import pytest
from kills import CHANGES, killed_at

from pose_priors.configs import exchange, temporaries
from pose_priors.configs.base import UserError
from pose_priors.configs.exchange import finish_exchanges, written_beside, written_folder
from pose_priors.configs.temporaries import is_stale, machine, temporary_name
from pose_priors.configs.writing import write_json, written_aside

NAMES = ("person_001", "person_002", "metrics.json", "results.json")


def fill(folder: Path, text: str, names: tuple[str, ...] = NAMES) -> None:
    for name in names:
        path = folder / name / "file" if name.startswith("person") else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def content(folder: Path) -> dict[str, str]:
    paths = (p for p in folder.rglob("*") if p.is_file() and not any(part.startswith(".writing-") for part in p.parts))
    return {str(p.relative_to(folder)): p.read_text() for p in paths}


def replace_result(target: Path) -> None:
    with written_folder(target, lambda name: name.startswith("person_") or name in NAMES) as new:
        fill(new, "new", ("person_001", "metrics.json", "results.json"))


OTHERS = {"logs/deep/events": "kept", "notes.txt": "kept"}
OLD = {"person_001/file": "old", "person_002/file": "old", "metrics.json": "old", "results.json": "old"} | OTHERS
NEW = {"person_001/file": "new", "metrics.json": "new", "results.json": "new"} | OTHERS


def made(target: Path) -> Path:
    fill(target, "old")
    (target / "logs" / "deep").mkdir(parents=True)
    for name, text in OTHERS.items():
        (target / name).write_text(text)
    return target


def test_a_kill_at_any_step_leaves_all_of_the_old_or_all_of_the_new(tmp_path: Path) -> None:
    step, seen = 0, set()
    while True:
        target = made(tmp_path / f"{(step := step + 1)}" / "out")
        killed = killed_at(step, lambda target=target: replace_result(target), CHANGES)
        assert content(target) in (OLD, NEW), step
        seen.add(content(target) == NEW)
        if not killed:
            break
        replace_result(target)
        assert content(target) == NEW
        assert {p.name for p in target.parent.iterdir()} == {"out"}
        assert not list(target.glob(".*"))
    assert seen == {True, False}
    assert step > 8


def test_where_folders_cannot_be_exchanged_the_next_finishes_what_a_killed_one_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impossible(a: Path, b: Path) -> None:
        raise OSError(errno.EINVAL, "not on this file system")

    monkeypatch.setattr(exchange, "_swap", impossible)
    step = 0
    while True:
        target = made(tmp_path / f"{(step := step + 1)}" / "out")
        killed = killed_at(step, lambda target=target: replace_result(target), CHANGES)
        finish_exchanges(target)
        assert content(target) in (OLD, NEW), step
        if not killed:
            break
        replace_result(target)
        assert content(target) == NEW
        assert {p.name for p in target.parent.iterdir()} == {"out"}
        assert not list(target.glob(".*"))
    assert step > 12


def test_the_folder_that_one_works_in_stays_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    replace_result(Path())
    assert content(Path.cwd()) == NEW
    assert Path("results.json").read_text() == "new"


def test_a_parent_that_cannot_be_written_to(tmp_path: Path) -> None:
    target = made(tmp_path / "read_only" / "out")
    for path in takewhile(lambda path: not path.stat().st_mode & 0o001, (tmp_path, *tmp_path.parents)):
        path.chmod(0o755)
    for path in (target, *target.rglob("*")):
        path.chmod(0o777)
    target.parent.chmod(0o555)
    pid = os.fork()
    if not pid:
        try:
            if not os.getuid():
                os.setuid(65534)
            replace_result(target)
            os._exit(0)
        finally:
            os._exit(1)  # no second run of the tests, as nobody
    assert os.waitpid(pid, 0)[1] == 0
    assert content(target) == NEW


def test_an_error_changes_nothing(tmp_path: Path) -> None:
    target = made(tmp_path / "out")

    def failing() -> None:
        with written_folder(target) as new:
            fill(new, "new")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match=r"out: cannot be written .No space left on device.; what was there before is whole"):
        failing()
    assert content(target) == OLD
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("written", [written_folder, written_beside])
def test_a_folder_that_an_error_leaves_empty_is_not_left(written: Callable[[Path], AbstractContextManager[Path]], tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()

    def failing(target: Path) -> None:
        with written(target) as new:
            (new / "file").touch()
            raise ArithmeticError

    for target in (tmp_path / "there", tmp_path / "one" / "of" / "several"):
        with pytest.raises(ArithmeticError):
            failing(target)
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_what_others_are_making_meanwhile_is_left_to_them(tmp_path: Path) -> None:
    target = made(tmp_path / "out")
    with written_folder(target, lambda name: name in NAMES) as first:
        fill(first, "first")
        replace_result(target)
        assert content(target) == NEW
        (target / "late").write_text("late")
    assert content(target) == {f"{n}/file" if n.startswith("person") else n: "first" for n in NAMES} | OTHERS | {"late": "late"}


def test_files_of_other_names_stay(tmp_path: Path) -> None:
    fill(tmp_path / "out", "old")
    with written_beside(tmp_path / "out") as new:
        (new / "metrics.json").write_text("new")
    assert content(tmp_path / "out") == {"person_001/file": "old", "person_002/file": "old", "metrics.json": "new", "results.json": "old"}
    (tmp_path / "file").touch()

    def refused() -> None:
        with written_beside(tmp_path / "file" / "out"):
            pass

    with pytest.raises(UserError, match=r"file/out: cannot be written \(Not a directory\)"):
        refused()


def test_a_file_killed_at_any_step_is_old_or_new(tmp_path: Path) -> None:
    path, step = tmp_path / "a.json", 0
    while True:
        write_json(path, "old")
        killed = killed_at(step := step + 1, lambda: write_json(path, "new"), CHANGES)
        assert path.read_text() in ('"old"\n', '"new"\n')
        if not killed:
            break
    write_json(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    def full() -> None:
        with written_aside(tmp_path / "a.npy") as aside:
            aside.write_text("half")
            raise OSError("12 requested and 0 written")

    with pytest.raises(UserError, match=r"a\.npy: cannot be written \(No space left on device\)"):
        full()
    assert not list(tmp_path.iterdir())


def test_temporaries_of_the_living_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine, dead = tmp_path / temporary_name(".npz"), tmp_path / f".writing-{ended.pid}@{machine()}-01234567.npz"
    elsewhere, unnamed = tmp_path / f".writing-{ended.pid}@other.1-01234567", tmp_path / ".writing-abc"
    for path in (mine, dead, unnamed):
        path.touch()
    elsewhere.mkdir()
    assert [is_stale(path) for path in (mine, dead, elsewhere, unnamed)] == [False, True, False, False]
    for path in (mine, elsewhere, unnamed):
        os.utime(path, (0, 0))
    assert [is_stale(path) for path in (mine, elsewhere, unnamed)] == [False, True, True]
    temporaries.remove_stale(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]
