"""Pose files converted once into one memory-mapped array, found again by content.

The content of a set of files and the options that shape its poses make a key; below the cache folder, `<key>/` holds `poses.npy`
(N, 55, 3) float32, `hashes.npy` (N,) and `index.json`. It is written aside and renamed as a whole, so that a reader sees all of it or
nothing, and two processes that build it at once do not disturb each other. Whoever opens it looks whether it is whole (`entry`): what is
not is made anew. Conversion streams: it holds a few chunks of poses and 16 bytes a row.

Files that stand as they stood need not be read to know their content: `stamps/` holds, by what the file system says of them, the key that
they had.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.configs.temporaries import remove, remove_stale, temporary_name
from pose_priors.configs.writing import sync
from pose_priors.datamodules.cache.conversion import Chunk, Conversion, Opened, Refused, convert, row_hashes
from pose_priors.datamodules.cache.entry import COUNTS, HASHES, INDEX, POSES, ROW, DamagedError, PoseSet, read_entry
from pose_priors.datamodules.cache.stamps import known_key, remember, stamp_of
from pose_priors.datamodules.capture.as_poses import read_from
from pose_priors.datamodules.splits import Segment

log = logging.getLogger(__name__)

FORMAT_VERSION = 4
"""To be raised whenever the same files would be converted differently."""
_CHUNK_ROWS = 16_384
_TRIES = 5
"""To put an entry where others may do the same."""
_Items = Generator[Opened | Refused | Chunk, None, None]


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/pose-priors`, with `~/.cache` where the variable is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pose-priors"


def open_poses(files: Sequence[Path], conversion: Conversion, cache_dir: Path | None = None) -> PoseSet:
    """The poses of some files, from the cache, or converted into it.

    A file of unknown layout among several is skipped with a warning; if none can be read, the first one's error is raised.

    Args:
        files: pose files, in an order that is the same for the same set.
        conversion: options of the conversion.
        cache_dir: where to keep converted poses; None for `default_cache_dir`.
    Raises:
        UserError: if no file can be read, or the cache cannot be written.
    """
    root = cache_dir or default_cache_dir()
    if "\0" in str(root):
        raise UserError("data.cache_dir holds a zero byte, which the name of no folder has; give another")
    known = known_key(root, stamp := stamp_of(files, FORMAT_VERSION, conversion))
    if known is not None and (found := _usable(root / known)) is not None:
        return found
    key = _key(files, conversion)
    if known == key or (found := _usable(root / key)) is None:
        # the names are for people: what the poses are is told by the key
        found = _built(convert(files, conversion), f"{files[0]}{f' and {len(files) - 1} more' if len(files) > 1 else ''}", root, key)
    remember(root, stamp, key)
    return found


def made_poses(name: str, blocks: Callable[[], Iterable[np.ndarray]], cache_dir: Path | None = None) -> PoseSet:
    """Poses that a program makes, from the cache, or made into it; never more than a block of them is in memory.

    Args:
        name: what they are, in words: poses of the same name are the same. People read it in the list of what the cache holds.
        blocks: makes them, (n, 55, 3) float32 canonical rotation vectors each.
        cache_dir: as of `open_poses`.
    Raises:
        UserError: if the cache cannot be written.
    """
    root = cache_dir or default_cache_dir()
    key = hashlib.blake2b(json.dumps([FORMAT_VERSION, name]).encode(), digest_size=16).hexdigest()
    return _usable(root / key) or _built(_made(blocks()), name, root, key)


def _made(blocks: Iterable[np.ndarray]) -> _Items:
    yield Opened(is_sequence=False, fps=None)
    for block in blocks:
        yield Chunk(block, row_hashes(block), 0, 0)


def _usable(folder: Path) -> PoseSet | None:
    """An entry; None where there is none, or none that can be used, which is said."""
    try:
        return read_entry(folder)
    except DamagedError as error:
        log.warning("the pose cache is damaged, and is made anew: %s", error)
        return None


def _key(files: Sequence[Path], conversion: Conversion) -> str:
    digest = hashlib.blake2b(json.dumps([FORMAT_VERSION, asdict(conversion)]).encode(), digest_size=16)
    for part in (part for file in files for part in read_from(file)):
        # the suffix decides how a file is read
        digest.update(part.suffix.encode())
        with part.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).digest())
    return digest.hexdigest()


def _built(items: _Items, sources: str, root: Path, key: str) -> PoseSet:
    """A new entry, in the place of a damaged one where there is one. Raises `UserError` if it cannot be written."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        remove_stale(root)
        (aside := root / temporary_name()).mkdir()
        try:
            _build(items, sources, aside)
            return _publish(aside, root / key)
        finally:
            remove(aside)
    except (OSError, DamagedError) as error:
        raise UserError(
            f"cannot write the pose cache in {root} ({getattr(error, 'strerror', None) or error}); set data.cache_dir to another folder"
        ) from error


def _publish(aside: Path, folder: Path) -> PoseSet:
    if (built := read_entry(aside)) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(aside))
    for _ in range(_TRIES):
        try:
            aside.rename(folder)
            return built  # mapped: whoever replaces the folder leaves us what we have
        except OSError as error:
            refused = error
        with suppress(DamagedError):
            if (theirs := read_entry(folder)) is not None:
                return theirs  # another process was faster; what it built from the same content is the same
        with suppress(FileNotFoundError):  # which another process has moved away just now
            folder.rename(damaged := folder.with_name(temporary_name()))
            remove(damaged)
    raise refused


def _build(items: _Items, sources: str, folder: Path) -> None:
    counts = dict.fromkeys(COUNTS, 0)
    segments: list[Segment] = []
    hashes = [np.empty(0, dtype=np.uint64)]
    refusals: list[UserError] = []
    raw = folder / "poses.raw"
    stop = 0
    with raw.open("wb") as stream, closing(items):
        for item in items:
            if isinstance(item, Refused):
                refusals.append(item.error)
                counts["skipped_files"] += 1
            elif isinstance(item, Opened):
                counts["files"] += 1
                segments.append(Segment(stop, stop, item.is_sequence, item.fps))
            else:
                counts["nan_rows"] += item.num_nan_rows
                counts["invalid_rows"] += item.num_invalid_rows
                _write(stream, item.poses)
                hashes.append(item.hashes)
                stop += len(item.poses)
                segments[-1] = replace(segments[-1], stop=stop)
    if refusals and not counts["files"]:
        raise refusals[0]
    for refusal in refusals:
        log.warning("skipped: %s", refusal)
    all_hashes = np.concatenate(hashes)
    first_seen = np.sort(np.unique(all_hashes, return_index=True)[1])
    counts["duplicates"] = len(all_hashes) - len(first_seen)
    _compact(raw, first_seen, folder / POSES)
    np.save(folder / HASHES, all_hashes[first_seen])
    bounds = [[int(np.searchsorted(first_seen, row)) for row in (segment.start, segment.stop)] for segment in segments]
    moved = [asdict(segment) | {"start": a, "stop": b} for segment, (a, b) in zip(segments, bounds, strict=True)]
    index = {"num_poses": len(first_seen), "segments": moved, "counts": counts, "sources": sources}
    (folder / INDEX).write_text(json.dumps(index))
    for name in (POSES, HASHES, INDEX):
        sync(folder / name)


def _write(stream: BinaryIO, poses: np.ndarray) -> None:
    stream.write(np.ascontiguousarray(poses, dtype=np.float32).data)


def _compact(raw: Path, rows: np.ndarray, path: Path) -> None:
    """Moves the given rows of a raw file into a `.npy`, a chunk at a time."""
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (len(rows), *ROW)})
        if len(rows):
            poses = np.memmap(raw, dtype=np.float32, mode="r").reshape(-1, *ROW)
            for first in range(0, len(rows), _CHUNK_ROWS):
                _write(stream, poses[rows[first : first + _CHUNK_ROWS]])
    raw.unlink()
