"""Pose files converted once into one memory-mapped array, found again by content.

The content of a set of files and the options that shape its poses make a key; below the cache folder, `<key>/` holds `poses.npy`
(N, 55, 3) float32, `hashes.npy` (N,) and `index.json`. It is written aside and renamed as a whole, so that a reader sees all of it or
nothing, and two processes that build it at once do not disturb each other. Conversion streams: it holds a few chunks of poses and 16
bytes a row.

Files that stand as they stood need not be read to know their content: `stamps/` holds, by what the file system says of them, the key that
they had.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.configs.base import UserError
from pose_priors.configs.temporaries import remove_stale, temporary_name
from pose_priors.datamodules.cache.conversion import Conversion, Opened, Refused, convert
from pose_priors.datamodules.cache.stamps import known_key, remember, stamp_of
from pose_priors.datamodules.splits import Segment

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
"""To be raised whenever the same files would be converted differently."""
_CHUNK_ROWS = 16_384
_ROW = (NUM_JOINTS, 3)


@dataclass(frozen=True)
class PoseSet:
    """The converted poses of a set of files, exact duplicates removed.

    Args:
        poses: (N, 55, 3) float32 canonical rotation vectors, memory-mapped.
        hashes: (N,) uint64, a hash of each row; equal rows have equal hashes.
        segments: one for each file that was read.
        counts: `files`, `skipped_files` (of unknown layout), `nan_rows`, `invalid_rows`, `duplicates`.
    """

    poses: np.ndarray
    hashes: np.ndarray
    segments: tuple[Segment, ...]
    counts: dict[str, int]


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
    known = known_key(root, stamp := stamp_of(files, FORMAT_VERSION, conversion))
    key = known or _key(files, conversion)
    folder = root / key
    if not (folder / "index.json").is_file():
        try:
            root.mkdir(parents=True, exist_ok=True)
            remove_stale(root)
            (aside := root / temporary_name()).mkdir()
            try:
                _build(files, conversion, aside)
                _publish(aside, folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        except OSError as error:
            raise UserError(
                f"cannot write the pose cache in {root} ({error.strerror or error}); set data.cache_dir to another folder"
            ) from error
    if known is None:
        remember(root, stamp, key)
    index = json.loads((folder / "index.json").read_text())
    poses, hashes = (np.load(folder / name, mmap_mode="r" if index["num_poses"] else None) for name in ("poses.npy", "hashes.npy"))
    return PoseSet(poses, hashes, tuple(Segment(**segment) for segment in index["segments"]), index["counts"])


def _key(files: Sequence[Path], conversion: Conversion) -> str:
    digest = hashlib.blake2b(json.dumps([FORMAT_VERSION, asdict(conversion)]).encode(), digest_size=16)
    for file in files:
        # the suffix decides how a file is read
        digest.update(file.suffix.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).digest())
    return digest.hexdigest()


def _publish(aside: Path, folder: Path) -> None:
    try:
        aside.rename(folder)
    except OSError:
        # another process was faster; what it built from the same content is the same
        if not (folder / "index.json").is_file():
            raise


def _build(files: Sequence[Path], conversion: Conversion, folder: Path) -> None:
    counts = dict.fromkeys(("files", "skipped_files", "nan_rows", "invalid_rows", "duplicates"), 0)
    segments: list[Segment] = []
    hashes = [np.empty(0, dtype=np.uint64)]
    refusals: list[UserError] = []
    raw = folder / "poses.raw"
    stop = 0
    with raw.open("wb") as stream, closing(convert(files, conversion)) as items:
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
    _compact(raw, first_seen, folder / "poses.npy")
    np.save(folder / "hashes.npy", all_hashes[first_seen])
    bounds = [[int(np.searchsorted(first_seen, row)) for row in (segment.start, segment.stop)] for segment in segments]
    moved = [asdict(segment) | {"start": a, "stop": b} for segment, (a, b) in zip(segments, bounds, strict=True)]
    # the names are for people: what the poses are is told by the key
    sources = f"{files[0]}{f' and {len(files) - 1} more' if len(files) > 1 else ''}"
    index = {"num_poses": len(first_seen), "segments": moved, "counts": counts, "sources": sources}
    (folder / "index.json").write_text(json.dumps(index))


def _write(stream: BinaryIO, poses: np.ndarray) -> None:
    stream.write(np.ascontiguousarray(poses, dtype=np.float32).data)


def _compact(raw: Path, rows: np.ndarray, path: Path) -> None:
    """Moves the given rows of a raw file into a `.npy`, a chunk at a time."""
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (len(rows), *_ROW)})
        if len(rows):
            poses = np.memmap(raw, dtype=np.float32, mode="r").reshape(-1, *_ROW)
            for first in range(0, len(rows), _CHUNK_ROWS):
                _write(stream, poses[rows[first : first + _CHUNK_ROWS]])
    raw.unlink()
