"""Files that appear whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` when the block ends, and is removed if the block fails."""
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits until no other process is in such a block for that path, also on another machine; on a disk without locks, does not wait."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_json(path: Path, content: Any) -> None:
    """JSON that other programs can read: NaN is refused."""
    text = json.dumps(content, indent=1, allow_nan=False)
    with written_aside(path) as aside:
        aside.write_text(text + "\n")
