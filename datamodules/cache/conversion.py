"""Pose files converted chunk by chunk, by as many threads as there are cores, in order.

Unpacking, arithmetic and hashing leave Python's lock to others for most of their time. Threads and not processes, so that
nothing of a caller's program is run again in them.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pose_priors.configs.base import UserError, counted
from pose_priors.configs.progress import progress_bar
from pose_priors.configs.threads.cores import num_cores
from pose_priors.datamodules.formats import HandConvention, PoseSource

log = logging.getLogger(__name__)

_CHUNK_ROWS = 16_384
_TRIM = 0.1
_MOST_THREADS = 8
"""What is not unpacking or arithmetic runs in one thread at a time: more would wait for each other."""
_WAITING = 2
"""Chunks for each thread that may lie converted, or wait to be, before the first is taken away."""


@dataclass(frozen=True)
class Conversion:
    """The options that shape the poses of a set of files.

    Args:
        hand_convention: as `formats.read_poses`.
        subsample_fps: frames a second to keep of sequences that have more; None keeps all.
        trim: whether to keep only the middle 80 % of each sequence, free of T-poses and calibration.
    """

    hand_convention: HandConvention = "absolute"
    subsample_fps: float | None = None
    trim: bool = False


class Chunk(NamedTuple):
    """Rows of a file that follow each other.

    Attributes:
        poses: (N, 55, 3) float32 canonical rotation vectors.
        hashes: (N,) uint64, of the rows.
        num_nan_rows: rows that were dropped since they are not finite.
        num_invalid_rows: rows that were dropped since a hand was not tracked, or a rotation vector is none.
    """

    poses: np.ndarray
    hashes: np.ndarray
    num_nan_rows: int
    num_invalid_rows: int


class Opened(NamedTuple):
    """A file of a known layout.

    Attributes:
        is_sequence: whether its rows are the frames of a motion in order.
        fps: frames a second of the rows that are kept, or None.
    """

    is_sequence: bool
    fps: float | None


class Refused(NamedTuple):
    """A file of no known layout, and why."""

    error: UserError


def row_hashes(poses: np.ndarray) -> np.ndarray:
    """64-bit hashes of rows, (N, 55, 3) -> (N,) uint64. Among ten million rows two different ones collide with probability 3e-6."""
    rows = np.ascontiguousarray(poses, dtype=np.float32) + np.float32(0)  # -0 becomes 0
    digests = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, dtype=np.uint64)


def convert(files: Sequence[Path], conversion: Conversion) -> Generator[Opened | Refused | Chunk, None, None]:
    """What is in files, in their order: each as `Refused`, or as `Opened` and the `Chunk`s of its rows in order.

    A few chunks for each thread are in memory at a time. A terminal shows how far it is.

    Raises:
        UserError: if a file of a known layout cannot be read.
    """
    num_threads = min(_MOST_THREADS, num_cores())
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="convert")
    waiting: deque[Opened | Refused | Future[Chunk]] = deque()
    num_chunks = 0
    try:
        with progress_bar(disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task(f"converting {counted(len(files), 'pose file')}, once", total=len(files))
            for file in files:
                for item in _items(file, conversion, pool):
                    waiting.append(item)
                    num_chunks += isinstance(item, Future)
                    while num_chunks > _WAITING * num_threads:
                        done = waiting.popleft()
                        num_chunks -= isinstance(done, Future)
                        yield _result(done)
                bar.advance(task)
            while waiting:
                yield _result(waiting.popleft())
    finally:
        # also where the caller goes away in the middle: what has not begun never will
        pool.shutdown(cancel_futures=True)


def _items(file: Path, conversion: Conversion, pool: ThreadPoolExecutor) -> Iterator[Opened | Refused | Future[Chunk]]:
    try:
        source = PoseSource(file, hand_convention=conversion.hand_convention, drawn=True)
    except UserError as error:
        yield Refused(error)
        return
    yield Opened(source.is_sequence, _kept_fps(source, conversion))
    rows = _selected_rows(source, conversion)
    for first in range(0, len(rows), _CHUNK_ROWS):
        yield pool.submit(partial(_chunk, source, rows[first : first + _CHUNK_ROWS]))


def _result(item: Opened | Refused | Future[Chunk]) -> Opened | Refused | Chunk:
    return item.result() if isinstance(item, Future) else item


def _chunk(source: PoseSource, rows: np.ndarray) -> Chunk:
    poses, num_nan, num_invalid = source.read(rows)
    return Chunk(poses, row_hashes(poses), num_nan, num_invalid)


def _selected_rows(source: PoseSource, conversion: Conversion) -> np.ndarray:
    if not source.is_sequence:
        return np.arange(source.num_rows)
    cut = round(_TRIM * source.num_rows) if conversion.trim else 0
    step = 1.0
    if conversion.subsample_fps is not None:
        if source.fps is None:
            reason = f", {source.wrong_rate}" if source.wrong_rate else ""
            log.warning("%s does not state its frame rate%s: all frames kept despite data.subsample_fps", source.path, reason)
        else:
            step = max(1.0, source.fps / conversion.subsample_fps)
    rows: np.ndarray = np.floor(np.arange(cut, source.num_rows - cut, step)).astype(np.int64)
    return rows


def _kept_fps(source: PoseSource, conversion: Conversion) -> float | None:
    if source.fps is None or conversion.subsample_fps is None:
        return source.fps
    return min(source.fps, conversion.subsample_fps)
