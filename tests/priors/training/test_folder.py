"""The folder of checkpoints: one owner, and nothing of an earlier run is lost."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pose_priors.configs.base import UserError
from pose_priors.configs.temporaries import machine
from pose_priors.priors.training.folder import CheckpointFolder


def filled(path: Path, **names: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in names.items():
        (path / f"{name}.ckpt").write_text(text)
    return path


def content(path: Path) -> dict[str, str]:
    return {str(p.relative_to(path).as_posix()): p.read_text() for p in path.rglob("*.ckpt")}


def test_a_second_run_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    first, second = (CheckpointFolder(tmp_path, name, None) for name in ("one", "two"))
    told = rf"{tmp_path}: another run .*the run one, process {os.getpid()} on \w+, since 20[^\n]*$"
    with first.owned(), pytest.raises(UserError, match=told), second.owned():
        pass
    with second.owned():
        pass


def test_the_lock_of_a_killed_run_is_taken_over(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from pose_priors.priors.training.folder import CheckpointFolder\n"
        "with CheckpointFolder(Path(sys.argv[1]), 'killed', None).owned():\n    print('has it', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"has it\n"
    with pytest.raises(UserError, match="the run killed"), CheckpointFolder(tmp_path, "next", None).owned():
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads((tmp_path / ".lock").read_text())["run"] == "killed"
    with CheckpointFolder(tmp_path, "next", None).owned():
        pass


@pytest.mark.parametrize(
    ("owner", "held", "ends"),
    [
        ({"host": machine(), "pid": os.getpid(), "run": "other"}, True, True),
        ({"host": machine(), "pid": os.getpid(), "run": "mine"}, True, False),
        ({"host": machine(), "pid": os.getppid(), "run": "other"}, True, False),  # what Lightning starts
        ({"host": "elsewhere", "pid": os.getppid(), "run": "other"}, True, True),
        ({"host": machine(), "pid": os.getpid(), "run": "other"}, False, False),  # of a process that was killed
    ],
)
def test_other_processes_of_a_fit_end_where_the_first_is_refused(
    owner: object, held: bool, ends: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    folder = CheckpointFolder(tmp_path, "mine", None)
    folder.follow()  # nobody is there yet
    with (tmp_path / ".lock").open("w") as lock:
        json.dump(owner, lock)
        lock.flush()
        if held:
            fcntl.flock(lock, fcntl.LOCK_EX)
        if ends:
            with pytest.raises(SystemExit) as end:
                folder.follow()
            assert end.value.code == 2
        else:
            folder.follow()


def test_a_process_that_looks_does_not_refuse_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CheckpointFolder(tmp_path, "mine", None)
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        monkeypatch.setattr(time, "sleep", lambda _: fcntl.flock(lock, fcntl.LOCK_UN))
        with folder.owned():
            pass


@pytest.mark.parametrize(
    ("owner", "age", "refused"),
    [
        ({"host": machine(), "pid": os.getpid(), "run": "other"}, 0, True),
        ({"host": machine(), "pid": 2**30, "run": "other"}, 0, False),
        ({"host": "elsewhere", "pid": 1, "run": "other"}, 0, True),
        ({"host": "elsewhere", "pid": 1, "run": "mine"}, 0, False),  # queued again on another node
        ({"host": "elsewhere", "pid": 1, "run": "other"}, 7200, False),
        ([1], 0, False),
    ],
)
def test_a_disk_without_locks(owner: object, age: float, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / ".lock").write_text(json.dumps(owner))
    os.utime(tmp_path / ".lock", (time.time() - age,) * 2)
    folder = CheckpointFolder(tmp_path, "mine", None)
    if refused:
        with pytest.raises(UserError, match="the run other"), folder.owned():
            pass
    else:
        with folder.owned():
            pass


def test_what_an_earlier_run_left_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = CheckpointFolder(filled(tmp_path, best="old", last="old"), "run", None)
    with folder.owned():
        assert content(tmp_path) == {"best.ckpt": "old", "last.ckpt": "old"}
        folder.prepare()
        assert sorted(path.rsplit("/")[-1] for path in content(tmp_path)) == ["best.ckpt", "last.ckpt"]
        assert all(path.startswith("earlier/20") for path in content(tmp_path))
        filled(tmp_path, best="new")
        folder.prepare()
        assert content(tmp_path)["best.ckpt"] == "new"
    assert caplog.text.count("of an earlier run are kept in") == 1
    again = CheckpointFolder(tmp_path, "again", None)
    with again.owned():
        again.prepare()
    assert sorted(content(tmp_path).values()) == ["new", "old", "old"]


def test_a_run_that_goes_on_keeps_its_own(tmp_path: Path) -> None:
    filled(tmp_path / "a", best="best", last="last")
    folder = CheckpointFolder(tmp_path / "a", "run", tmp_path / "a" / "last.ckpt")
    with folder.owned():
        folder.prepare()
    assert content(tmp_path) == {"a/best.ckpt": "best", "a/last.ckpt": "last"}


def test_a_run_that_goes_back_to_its_best_keeps_its_last(tmp_path: Path) -> None:
    filled(tmp_path, best="best", last="last")
    folder = CheckpointFolder(tmp_path, "run", tmp_path / "best.ckpt")
    with folder.owned():
        folder.prepare()
    found = content(tmp_path)
    assert found.pop("best.ckpt") == "best"
    assert list(found.values()) == ["last"]


def test_a_run_that_goes_on_elsewhere_takes_its_best_along(tmp_path: Path) -> None:
    filled(tmp_path / "a", best="a", last="a")
    filled(tmp_path / "b", best="b", last="b")
    folder = CheckpointFolder(tmp_path / "b", "run", tmp_path / "a" / "last.ckpt")
    with folder.owned():
        folder.prepare()
    assert content(tmp_path / "a") == {"best.ckpt": "a", "last.ckpt": "a"}
    found = content(tmp_path / "b")
    assert found.pop("best.ckpt") == "a"
    assert list(found.values()) == ["b", "b"]


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"checkpoint_dir: .*Not a directory.*give another folder"):
        CheckpointFolder(tmp_path / "file" / "ckpt", "run", None)
