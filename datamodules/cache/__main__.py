"""The cache of converted poses: `pose-priors cache list` says what is in it, `pose-priors cache clear` empties it."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pose_priors.configs.base import UserError, one_line, reason_of
from pose_priors.configs.cli import Parser, run
from pose_priors.configs.temporaries import remove_stale
from pose_priors.datamodules.cache.stamps import KEY, STAMPS
from pose_priors.datamodules.cache.store import default_cache_dir

_MEGABYTE = 1e6


class Entry(NamedTuple):
    """A set of files that was converted.

    Attributes:
        path: its folder.
        num_bytes: on disk.
        written: seconds since 1970.
        about: its index; empty where that cannot be read.
    """

    path: Path
    num_bytes: int
    written: float
    about: dict[str, object]

    def in_words(self) -> str:
        """What it is in a line."""
        sources = self.about.get("sources")
        names = f": {sources}" if isinstance(sources, str) else ""
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.written))
        number = str(self.about.get("num_poses", "?"))
        return one_line(f"{self.path.name[:12]}  {number:>10} poses  {self.num_bytes / _MEGABYTE:>9,.1f} MB  {day}{names}")


def entries(root: Path) -> list[Entry]:
    """What a cache folder holds, the latest first; whatever else lies in it is not looked at."""
    found = []
    for folder in root.glob("*"):
        if KEY.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            try:
                num_bytes, written = sum(file.stat().st_size for file in folder.iterdir()), folder.stat().st_mtime
                about = json.loads((folder / "index.json").read_text())
            except FileNotFoundError:  # another process has just cleared it
                continue
            except ValueError:
                about = {}
            found.append(Entry(folder, num_bytes, written, about if isinstance(about, dict) else {}))
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
    with suppress(OSError):  # a folder of somebody else's, or not empty
        for stamp in (root / STAMPS).iterdir():
            if KEY.fullmatch(stamp.name):
                stamp.unlink()
        (root / STAMPS).rmdir()
    if root.is_dir():
        remove_stale(root)
    return gone, kept


def main(arguments: Sequence[str] | None = None) -> None:
    """Lists what the cache holds, or clears it."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("list", "clear"), nargs="?", default="list")
    parser.add_argument("--cache-dir", type=Path, help="what data.cache_dir was; ~/.cache/pose-priors if not given")
    options = parser.parse_args(arguments)
    root = (options.cache_dir or default_cache_dir()).expanduser()
    if root.exists() and not root.is_dir():
        raise UserError(f"--cache-dir={root}: is a file; give the folder that data.cache_dir named")
    kept: list[str] = []
    if options.action == "list":
        held, words = entries(root), "in"
        print("".join(f"{entry.in_words()}\n" for entry in held), end="")
    else:
        (held, kept), words = clear(root), "removed from"
    print(f"{len(held)} sets of poses, {sum(entry.num_bytes for entry in held) / _MEGABYTE:,.1f} MB, {words} {root}")
    if kept:
        raise UserError(f"{len(kept)} could not be removed, the first: {kept[0]}")


if __name__ == "__main__":
    run(main)
