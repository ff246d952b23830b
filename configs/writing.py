"""Files that appear whole or not at all. Folders: `configs.exchange`."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pose_priors.configs.base import UserError
from pose_priors.configs.temporaries import remove_stale, temporary_name


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` when the block ends, and is removed if the block fails.

    What a killed process has left there goes. Raises `UserError` if the disk is full.
    """
    remove_stale(path.parent)
    aside = path.with_name(temporary_name(path.suffix))
    try:
        with told_when_full(path):
            yield aside
            sync(aside)  # or a power failure leaves the new name without its content
            os.replace(aside, path)
            sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def told_when_full(path: Path) -> Iterator[None]:
    """Turns what a full disk raises into a `UserError` that names what could not be written."""
    try:
        yield
    except OSError as error:
        # numpy does not say why it could write only some of an array
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or (error.errno is None and "requested and" in str(error)):
            reason = os.strerror(error.errno or errno.ENOSPC)
            raise UserError(f"{path}: cannot be written ({reason}); what was there before is whole: make room, and run it again") from error
        raise


def sync(path: Path) -> None:
    """Waits until a file's content, or the names in a folder, are on the disk, as far as the file system can tell."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits until no other process is in such a block for that path, also on another machine; on a disk without locks, does not wait."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_text(path: Path, text: str) -> None:
    """A text, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(text)


def write_json(path: Path, content: Any) -> None:
    """JSON that other programs can read: NaN is refused."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_tensors(path: Path, content: dict[str, Any], before: Callable[[], None] = lambda: None) -> None:
    """What `torch.load` reads, whole or not at all, in a folder that is made. Raises `UserError` if the disk is full.

    Args:
        before: called when nothing but the disk can fail any more, and nothing on it has changed.
    """
    import torch  # here, since most of what is written needs none

    written = io.BytesIO()  # torch's own writer does not tell that a disk is full
    torch.save(content, written)
    before()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        aside.write_bytes(written.getbuffer())
