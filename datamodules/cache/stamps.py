"""The key of a set of files by what the file system says of them, so that gigabytes need not be read to find that nothing changed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from pose_priors.configs.base import UserError
from pose_priors.configs.writing import written_aside
from pose_priors.datamodules.cache.conversion import Conversion
from pose_priors.datamodules.cache.entry import KEY
from pose_priors.datamodules.capture.as_poses import read_from
from pose_priors.datamodules.containers.regular import read_regular

STAMPS = "stamps"
"""The folder of all stamps, below that of the cache."""
_MOST_BYTES = 64
_SETTLED = 60.0
"""Seconds since the last change of a file from which on its times tell a later change: clocks of file servers differ, and have ticks."""


class Stamp(NamedTuple):
    """What the file system says of a set of files.

    Attributes:
        digest: of places, sizes, times of the last change of content and of the entry itself, which no program can set back, and of the
            options of the conversion.
        settled: whether any later change will make another digest.
    """

    digest: str
    settled: bool


def stamp_of(files: Sequence[Path], version: int, conversion: Conversion) -> Stamp:
    """The stamp of files for a version of the conversion and its options."""
    now, latest = time.time(), 0.0
    digest = hashlib.blake2b(json.dumps([version, asdict(conversion)]).encode(), digest_size=16)
    for part in (part for file in files for part in read_from(file)):
        about = part.stat()
        latest = max(latest, about.st_mtime, about.st_ctime)
        place = [str(part.absolute()), about.st_dev, about.st_ino]
        digest.update(json.dumps([*place, about.st_size, about.st_mtime_ns, about.st_ctime_ns]).encode())
    return Stamp(digest.hexdigest(), latest < now - _SETTLED)


def known_key(root: Path, stamp: Stamp) -> str | None:
    """The key that files of this stamp had; None if that is not known."""
    try:
        key = read_regular(root / STAMPS / stamp.digest, _MOST_BYTES).decode()
    except (UserError, UnicodeDecodeError):
        return None
    return key if KEY.fullmatch(key) else None


def remember(root: Path, stamp: Stamp, key: str) -> None:
    """Keeps the key of a settled stamp; a cache that cannot be written to goes without."""
    if stamp.settled:
        with suppress(OSError, UserError):
            (root / STAMPS).mkdir(parents=True, exist_ok=True)
            with written_aside(root / STAMPS / stamp.digest) as aside:
                aside.write_text(key)
