"""Opening a file that somebody else wrote: never waits, never takes a folder or a device for a file, and tells a Git LFS pointer."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from pose_priors.configs.base import UserError

MOST_BYTES = 16 << 30
"""Read into memory at once, at most."""
_POINTER = b"version https://git-lfs"


def open_regular(path: Path) -> BinaryIO:
    """The file, for reading, from its first byte.

    Raises:
        UserError: if there is none, it cannot be opened, is no regular file, or a pointer of Git LFS in its place.
    """
    try:
        # a pipe without a writer would wait for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path}: is no regular file but a {'folder' if path.is_dir() else 'pipe or a device'}; a file is expected")
    stream = os.fdopen(descriptor, "rb")
    if stream.read(len(_POINTER)) == _POINTER:
        stream.close()
        raise UserError(f"{path}: a pointer of Git LFS, not the file itself; fetch it with: git lfs pull")
    stream.seek(0)
    return stream


def read_regular(path: Path, most: int = MOST_BYTES) -> bytes:
    """All bytes of a file.

    Raises:
        UserError: as `open_regular` does, or if there are more than `most`.
    """
    with open_regular(path) as stream:
        try:
            size = os.fstat(stream.fileno()).st_size
            data = stream.read(size + 1) if size <= most else b""
        except (OSError, MemoryError) as error:
            raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'out of memory'})") from error
    if size != len(data):
        raise UserError(f"{path}: {size:,} bytes, or it is being written; at most {most:,} are read")
    return data


def size_of(stream: BinaryIO | io.BytesIO) -> int:
    """How many bytes a stream holds; it stays where it is."""
    here = stream.tell()
    size = stream.seek(0, io.SEEK_END)
    stream.seek(here)
    return size
