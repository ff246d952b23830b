"""Temporaries whose names tell whose they are, so that those which nobody will finish can go."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path

PREFIX = ".writing-"
"""How the names of all temporaries begin."""
_NAMED = re.compile(rf"{re.escape(PREFIX)}(\d+)@(.+)-[0-9a-f]{{8}}(\.\w+)?")
_ABANDONED = 7 * 24 * 3600.0
"""Seconds without a change after which a temporary whose owner cannot be asked is nobody's."""


def machine() -> str:
    """Names where process ids mean what they mean here: the host and, in a container, the container."""
    host = re.sub(r"\W", "_", socket.gethostname())[:60]
    with suppress(OSError):
        host += f".{os.stat('/proc/self/ns/pid').st_ino}"
    return host


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def temporary_name(suffix: str = "") -> str:
    """A name that no other temporary has."""
    return f"{PREFIX}{os.getpid()}@{machine()}-{secrets.token_hex(4)}{suffix}"


def is_stale(path: Path) -> bool:
    """Whether a temporary is nobody's any more: its process has ended, or, where that cannot be asked, it was left alone for a week."""
    if (found := _NAMED.fullmatch(path.name)) and found[2] == machine():
        return not is_alive(int(found[1]))
    try:
        return time.time() - max(p.lstat().st_mtime for p in (path, *path.rglob("*"))) > _ABANDONED
    except OSError:  # going away, so somebody's
        return False


def remove_stale(folder: Path) -> None:
    """Removes from a folder the temporaries that killed processes have left."""
    for path in folder.glob(f"{PREFIX}*"):
        if is_stale(path):
            remove(path)


def remove(path: Path) -> None:
    """Removes a file, a link or a folder with all that is in it, as far as one may; what stays is stale one day."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
