"""The folder of a run's checkpoints: one run writes to it at a time, and what earlier ones have left is kept."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pose_priors.configs.base import UserError
from pose_priors.configs.temporaries import is_alive, machine
from pose_priors.configs.writing import written_aside

BEST, LAST, CARD = "best.ckpt", "last.ckpt", "best.md"
"""The checkpoint of the least validation loss, the latest, and what the former is in words."""
_EARLIER = "earlier"
_LOCK = ".lock"
_TRIES, _PAUSE_S = 10, 0.2
"""How often, and how many seconds apart, a lock that is held is tried: other processes of a fit hold it for a moment when they look."""
_SILENT = 3600.0
"""Seconds without a checkpoint after which a run on another machine is taken for dead, on a disk without locks."""

log = logging.getLogger(__name__)


class CheckpointFolder:
    """Where a run leaves `best.ckpt` and `last.ckpt`.

    Args:
        path: made if it does not exist.
        run: what the run is called, for others that find it there; the same in all processes of a fit that others have started.
        resumed: the checkpoint that the run goes on from, or None.
    Raises:
        UserError: if the folder cannot be written to.
    """

    def __init__(self, path: Path, run: str, resumed: Path | None) -> None:
        self.path, self.run, self.resumed = path, run, resumed
        self._prepared = False
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"logging.checkpoint_dir: {path} cannot be written to ({error.strerror}); give another folder") from error

    @property
    def last(self) -> Path:
        """The latest checkpoint, whether or not it is there."""
        return self.path / LAST

    @property
    def has_saved(self) -> bool:
        """Whether the run has written a checkpoint."""
        return self._prepared and self.last.is_file()

    @contextmanager
    def owned(self) -> Iterator[None]:
        """A block in which no other run writes here. Raises `UserError` that names the other one."""
        try:
            descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UserError(f"logging.checkpoint_dir: {self.path} cannot be written to ({error.strerror}); give another folder") from error
        try:
            try:
                for _ in range(_TRIES):
                    if taken := _locked(descriptor, fcntl.LOCK_EX):
                        break
                    time.sleep(_PAUSE_S)
                if not taken:
                    raise self._refusal(self._owner())
            except OSError:  # no locks on this disk: what is written there has to do
                if self._lives(owner := self._owner()):
                    raise self._refusal(owner) from None
            started = time.strftime("%Y-%m-%d %H:%M:%S")
            text = json.dumps({"host": machine(), "pid": os.getpid(), "run": self.run, "started": started})
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text.encode(), 0)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def follow(self) -> None:
        """To be called by the processes of a fit that do not write: where another run owns the folder, the first process is refused and
        says so, and these end as it does, without a word, rather than wait for it."""
        try:
            descriptor = os.open(self.path / _LOCK, os.O_RDONLY)
        except OSError:  # nobody has been here
            return
        try:
            for _ in range(_TRIES):
                if self._is_ours(owner := self._owner()):
                    return
                try:
                    if _locked(descriptor, fcntl.LOCK_SH):
                        return
                except OSError:
                    if not self._lives(owner):
                        return
                time.sleep(_PAUSE_S)
        finally:
            os.close(descriptor)
        raise SystemExit(2)

    def prepare(self) -> None:
        """Keeps the checkpoints of an earlier run aside; to be called before the first of this run is written."""
        if self._prepared:
            os.utime(self.path / _LOCK)  # says that the run lives, to machines that cannot ask
            return
        self._prepared = True
        if self.resumed is None:
            self._keep_aside(BEST, LAST, CARD)
        elif self.resumed.resolve() != self.last.resolve():
            inside = self.resumed.resolve().parent == self.path.resolve()
            self._keep_aside(*([LAST] if inside else [BEST, LAST, CARD]))
            best = self.resumed.with_name(BEST)
            if not inside and best.is_file():
                with written_aside(self.path / BEST) as aside:
                    shutil.copyfile(best, aside)

    def _keep_aside(self, *names: str) -> None:
        found = [self.path / name for name in names if (self.path / name).is_file()]
        if not found:
            return
        made = time.strftime("%Y-%m-%dT%H-%M-%S", time.localtime(found[0].stat().st_mtime))
        aside, number = self.path / _EARLIER / made, 1
        while aside.exists():
            aside, number = aside.with_name(f"{made}-{number}"), number + 1
        aside.mkdir(parents=True)
        for path in found:
            path.rename(aside / path.name)
        log.warning("%s: %s of an earlier run are kept in %s", self.path, " and ".join(path.name for path in found), aside)

    def _owner(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            content = json.loads((self.path / _LOCK).read_text())
            if isinstance(content, dict):
                return content
        return {}

    def _is_ours(self, owner: dict[str, Any]) -> bool:
        """Whether the owner is the first process of this fit, which has the same name of the run, or has started this one."""
        return owner.get("run") == self.run or (owner.get("host") == machine() and owner.get("pid") == os.getppid())

    def _lives(self, owner: dict[str, Any]) -> bool:
        if not owner or owner.get("run") == self.run:
            return False
        if owner.get("host") == machine():
            return isinstance(owner.get("pid"), int) and is_alive(owner["pid"])
        return time.time() - (self.path / _LOCK).stat().st_mtime < _SILENT

    def _refusal(self, owner: dict[str, Any]) -> UserError:
        host = str(owner.get("host", "another host")).split(".")[0]
        who = f"the run {owner.get('run', '?')}, process {owner.get('pid', '?')} on {host}, since {owner.get('started', '?')}"
        return UserError(
            f"{self.path}: another run writes its checkpoints there ({who}); wait for it, or give another logging.checkpoint_dir"
        )


def _locked(descriptor: int, kind: int) -> bool:
    """Whether a lock could be had without waiting. Raises `OSError` on a disk without locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
