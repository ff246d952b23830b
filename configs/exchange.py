"""Several files that take the places of earlier ones in one step: whoever looks, or is killed, finds all of the old or all of the new.

The new files are made in a folder of their own, which gets a link to whatever else lies in the target; then the two folders change names in
one call of the system. Where that cannot be (NFS, a mount point, the folder that a shell is in), the files are moved one by one, and a
journal lets the next process that looks finish what was begun.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pose_priors.configs.base import UserError
from pose_priors.configs.temporaries import PREFIX, is_stale, remove_stale, temporary_name
from pose_priors.configs.writing import sync, told_when_full, written_aside

_JOURNAL = "journal.json"
# what a system says that cannot exchange these two folders
_IMPOSSIBLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV, errno.EBUSY, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK}


@contextmanager
def written_folder(target: Path, leaves: Callable[[str], object] = lambda name: True) -> Iterator[Path]:
    """A folder to write to. When the block ends, what lies in it takes its place in `target`, all at once; if the block fails, nothing
    changes. See `staged` and `exchange`."""
    with staged(target) as (new, old):
        yield new
        exchange(new, old, target, leaves)


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """As `written_folder`, beside what else lies in `target`: only files of the same names go. Raises `UserError` if nothing can be
    written there."""
    try:
        with staged(target) as (new, old):
            yield new
            exchange(new, old, target, lambda name: False)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error}); give another folder") from error


def check_writable(target: Path) -> None:
    """Raises `UserError` if nothing could be written below a folder, which need not be there: better now than after the work. It is not
    made."""
    there = target.absolute()
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    probe = there / temporary_name()
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error}); give another folder") from error


@contextmanager
def staged(target: Path) -> Iterator[tuple[Path, Path]]:
    """Two empty folders on the file system of `target`, for what comes into it and what goes; removed when the block ends.

    `target` is made if it does not exist, and gone again if the block fails and nothing has come into it. What killed processes have left
    there is finished or removed. Raises `UserError` if the disk is full.
    """
    target = target.resolve()
    with told_when_full(target), _gone_if_empty([folder for folder in (target, *target.parents) if not folder.exists()]):
        target.mkdir(parents=True, exist_ok=True)
        finish_exchanges(target)
        for folder in (target, target.parent):
            remove_stale(folder)
        aside = _aside(target)
        try:
            for folder in (new := aside / "new", old := aside / "old"):
                folder.mkdir()
            yield new, old
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _gone_if_empty(folders: Sequence[Path]) -> Iterator[None]:
    """If the block fails, folders in which nothing is, the innermost first, are removed."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for folder in folders:
                folder.rmdir()
        raise


def exchange(new: Path, old: Path, target: Path, leaves: Callable[[str], object]) -> None:
    """Moves what lies in `new` into `target`, and what it replaces, or `leaves` names, out of it. What else lies there stays. If it fails,
    nothing has changed.

    Args:
        new, old: as `staged` gives them; both are gone or of no use afterwards.
        target: a folder.
        leaves: which of the names in `target` go, beside those that come anew.
    """
    target = target.resolve()
    for path in new.rglob("*"):
        sync(path)
    with _alone_in(target.parent):
        if not _in_use(target) and _exchange_folders(new, target, leaves):
            return
        _move(new, old, target, leaves)


def finish_exchanges(target: Path) -> None:
    """Finishes what a process began to move into a folder before it was killed."""
    for journal in (path for folder in (target, target.parent) for path in folder.glob(f"{PREFIX}*/{_JOURNAL}")):
        if not is_stale(journal.parent):
            continue
        try:
            begun = json.loads(journal.read_text())
            coming, leaving = ([name for name in begun[key] if Path(name).name == name] for key in ("coming", "leaving"))
            if begun["target"] != target.name:
                continue
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        new, old = journal.parent / "new", journal.parent / "old"
        with suppress(OSError):
            for name in leaving:
                if os.path.lexists(target / name) and (name not in coming or os.path.lexists(new / name)):
                    os.replace(target / name, old / name)
            for name in coming:
                if os.path.lexists(new / name):
                    os.replace(new / name, target / name)
            shutil.rmtree(journal.parent, ignore_errors=True)


def _exchange_folders(new: Path, target: Path, leaves: Callable[[str], object]) -> bool:
    """Whether the two folders could change names."""
    coming = {path.name for path in new.iterdir()}
    staying = [path for path in target.iterdir() if path.name not in coming and not leaves(path.name) and not path.name.startswith(PREFIX)]
    made, linked = new, []
    try:
        if target in new.parents:
            made = target.with_name(temporary_name())
            os.replace(new, made)
        for path in staying:
            linked.append(made / path.name)
            if path.is_dir() and not path.is_symlink():
                shutil.copytree(path, linked[-1], symlinks=True, copy_function=os.link)
            else:
                os.link(path, linked[-1], follow_symlinks=False)
        shutil.copystat(target, made)
        _swap(made, target)
    except OSError as error:
        for path in linked:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if made != new and made.exists():
            os.replace(made, new)
        # copytree gathers what went wrong in it and gives it no number
        if error.errno in _IMPOSSIBLE or isinstance(error, shutil.Error):
            return False
        raise
    sync(target.parent)
    for path in made.iterdir():  # what has come meanwhile, such as what another process is making
        if not leaves(path.name) and path.name not in coming and not os.path.lexists(target / path.name):
            os.replace(path, target / path.name)
    shutil.rmtree(made, ignore_errors=True)
    return True


def _move(new: Path, old: Path, target: Path, leaves: Callable[[str], object]) -> None:
    """One by one; an error brings back what was there, and after a kill the journal tells how to go on."""
    coming = sorted(path.name for path in new.iterdir())
    leaving = [p.name for p in target.iterdir() if (p.name in coming or leaves(p.name)) and not p.name.startswith(PREFIX)]
    moved: list[tuple[Path, Path]] = []
    try:
        with written_aside(new.parent / _JOURNAL) as aside:
            aside.write_text(json.dumps({"target": target.name, "coming": coming, "leaving": leaving}))
        for name, source, goal in [*((n, target, old) for n in leaving), *((n, new, target) for n in coming)]:
            os.replace(source / name, goal / name)
            moved.append((source / name, goal / name))
        (new.parent / _JOURNAL).unlink()
    except BaseException:
        for origin, place in reversed(moved):
            os.replace(place, origin)
        (new.parent / _JOURNAL).unlink(missing_ok=True)
        raise


def _swap(a: Path, b: Path) -> None:
    """Lets two names change what they name, in one step."""
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        failed = libc.renamex_np(os.fsencode(a), os.fsencode(b), 2)
    elif hasattr(libc, "renameat2"):
        here = -100
        failed = libc.renameat2(here, os.fsencode(a), here, os.fsencode(b), 2)
    else:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(b))


def _aside(target: Path) -> Path:
    """A new folder on the file system of a folder: beside it where that may be, or in it."""
    beside = target.with_name(temporary_name())
    with suppress(OSError):
        beside.mkdir()
        if beside.stat().st_dev == target.stat().st_dev:
            return beside
        beside.rmdir()
    inside = target / temporary_name()
    inside.mkdir()
    return inside


def _in_use(folder: Path) -> bool:
    """Whether this process works in a folder, and would be left in the old one."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return False
    return folder == here or folder in here.parents


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Waits until no other process exchanges something in a folder; on a disk without locks, does not wait."""
    descriptor = -1
    try:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)
