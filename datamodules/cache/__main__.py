"""The cache of converted poses: `pose-priors cache list` says what is in it, `pose-priors cache clear` empties it."""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pose_priors.configs.base import UserError, counted, one_line, reason_of
from pose_priors.configs.cli import Parser, run
from pose_priors.configs.temporaries import remove_stale
from pose_priors.datamodules.cache.entry import KEY, DamagedError, Index, is_entry, read_index
from pose_priors.datamodules.cache.stamps import STAMPS
from pose_priors.datamodules.cache.store import default_cache_dir

_MEGABYTE = 1e6


class Entry(NamedTuple):
    """A set of files that was converted.

    Attributes:
        path: its folder.
        num_bytes: on disk.
        written: seconds since 1970.
        about: its index; None where that cannot be read.
    """

    path: Path
    num_bytes: int
    written: float
    about: Index | None

    def in_words(self) -> str:
        """What it is in a line."""
        number, sources = (self.about.num_poses, self.about.sources) if self.about else ("?", "damaged: made anew when it is needed")
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.written))
        line = f"{self.path.name[:12]}  {number:>10} poses  {self.num_bytes / _MEGABYTE:>9,.1f} MB  {day}"
        return one_line(f"{line}: {sources}" if sources else line)


def entries(root: Path) -> list[Entry]:
    """What a cache folder holds, the latest first; whatever else lies in it is not looked at."""
    found = []
    for folder in root.glob("*"):
        if is_entry(folder):
            try:
                num_bytes, written = sum(file.lstat().st_size for file in folder.rglob("*")), folder.lstat().st_mtime
            except FileNotFoundError:  # another process has just cleared it
                continue
            try:
                about = read_index(folder)
            except DamagedError:
                about = None
            found.append(Entry(folder, num_bytes, written, about))
    return sorted(found, key=lambda entry: -entry.written)


def clear(root: Path) -> tuple[list[Entry], list[str]]:
    """Removes what a cache folder holds, and temporaries that nobody will finish; returns what is gone, and why what is not is not."""
    gone, kept = [], []
    for entry in entries(root):
        try:
            shutil.rmtree(entry.path)
            gone.append(entry)
        except OSError as error:
            kept.append(f"{entry.path}: {reason_of(error)}")
    stamps = root / STAMPS
    if stamps.is_dir():
        for stamp in stamps.glob("*"):
            if KEY.fullmatch(stamp.name):
                with suppress(OSError):  # a folder: no stamp
                    stamp.unlink()
        with suppress(OSError):  # not empty, or a link
            stamps.rmdir()
    if root.is_dir():
        remove_stale(root)
    return gone, kept


def main(arguments: Sequence[str] | None = None) -> None:
    """Lists what the cache holds, or clears it."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("list", "clear"), nargs="?", default="list")
    parser.add_argument("--cache-dir", type=Path, help="what data.cache_dir was; ~/.cache/pose-priors if not given")
    options = parser.parse_args(arguments)
    root = Path(os.path.expanduser(options.cache_dir or default_cache_dir()))
    if root.exists() and not root.is_dir():
        raise UserError(f"--cache-dir={root}: is a file; give the folder that data.cache_dir named")
    kept: list[str] = []
    if options.action == "list":
        held, words = entries(root), "in"
        print("".join(f"{entry.in_words()}\n" for entry in held), end="")
    else:
        (held, kept), words = clear(root), "removed from"
    print(f"{counted(len(held), 'set')} of poses, {sum(entry.num_bytes for entry in held) / _MEGABYTE:,.1f} MB, {words} {root}")
    if kept:
        raise UserError(f"{len(kept)} could not be removed, the first: {kept[0]}")


if __name__ == "__main__":
    run(main)
