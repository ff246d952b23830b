"""One set of converted poses on the disk, read as a stranger's: what lies in a cache folder may be cut short, changed or no file at all."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.configs.base import Config, UserError, reason_of
from pose_priors.configs.temporaries import PREFIX
from pose_priors.datamodules.arrays import read_npy
from pose_priors.datamodules.cache.conversion import row_hashes
from pose_priors.datamodules.containers.json_files import load_json
from pose_priors.datamodules.splits import Segment

KEY = re.compile(r"[0-9a-f]{32}")
"""What the key of a set of files looks like, by which its folder is called."""
POSES, HASHES, INDEX = "poses.npy", "hashes.npy", "index.json"
COUNTS = ("files", "skipped_files", "nan_rows", "invalid_rows", "duplicates")
"""What is counted of a set of files."""
ROW = (NUM_JOINTS, 3)
_LOOKED_AT = 256
"""Rows whose hash is computed anew when an entry is opened: milliseconds, where all of them take minutes."""


class DamagedError(Exception):
    """An entry that cannot be used, and why."""


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


class _Rows(Config):
    """A `Segment`, as the index has it."""

    start: int = Field(ge=0)
    stop: int = Field(ge=0)
    is_sequence: bool
    fps: float | None = Field(gt=0)


class Index(Config):
    """What `index.json` holds.

    Attributes:
        num_poses: N.
        segments: the rows of each file, one after the other.
        counts: by the names in `COUNTS`.
        sources: where the poses came from, for people: what they are is told by the key.
    """

    num_poses: int = Field(ge=0)
    segments: list[_Rows]
    counts: dict[str, int]
    sources: str = ""


def read_index(folder: Path) -> Index:
    """What an entry says of itself. Raises `DamagedError` if it says nothing that can be."""
    try:
        index = Index.model_validate(load_json(folder / INDEX))
    except UserError as error:
        raise DamagedError(str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise DamagedError(f"{folder / INDEX}: {'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}") from error
    at = 0
    for segment in index.segments:
        if segment.start != at or segment.stop < at:
            raise DamagedError(f"{folder / INDEX}: segments that do not follow each other")
        at = segment.stop
    if at != index.num_poses or set(index.counts) != set(COUNTS) or min(index.counts.values()) < 0:
        raise DamagedError(f"{folder / INDEX}: numbers that contradict each other")
    return index


def read_entry(folder: Path) -> PoseSet | None:
    """The poses of an entry; None where there is none.

    Raises:
        DamagedError: if there is something, but not all of it, or it does not fit together: shapes and types against the index, and
            some rows all over it against their hashes.
    """
    if not os.path.lexists(folder):
        return None
    index = read_index(folder)
    poses = _array(folder / POSES, (index.num_poses, *ROW), np.dtype("<f4"))
    hashes = _array(folder / HASHES, (index.num_poses,), np.dtype("<u8"))
    rows = np.unique(np.linspace(0, max(index.num_poses - 1, 0), _LOOKED_AT).astype(int))[: index.num_poses]
    some = poses[rows]
    if not (np.isfinite(some).all() and np.array_equal(row_hashes(some), hashes[rows])):
        raise DamagedError(f"{folder / POSES}: other rows than {HASHES} tells")
    segments = tuple(Segment(s.start, s.stop, s.is_sequence, s.fps) for s in index.segments)
    return PoseSet(poses, hashes, segments, dict(index.counts))


def is_entry(folder: Path) -> bool:
    """Whether a folder is an entry, whole or damaged, and nothing of a user's: by its name, and by what alone may be in it."""
    if not KEY.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
        return False
    try:
        return {file.name for file in folder.iterdir()} <= {POSES, HASHES, INDEX}
    except OSError:  # another process has just cleared it
        return False


def is_of_an_entry(file: Path) -> bool:
    """Whether a file is of some cache's entry, finished or being written, and no pose file of a user's: by the names of it, of its folder,
    and of what lies beside it."""
    folder, beside = file.parent, {POSES: HASHES, HASHES: POSES}.get(file.name)
    if beside is None:
        return False
    is_written = KEY.fullmatch(folder.name) and ((folder / INDEX).is_file() or (folder / beside).is_file())
    return bool(is_written) or folder.name.startswith(PREFIX)


def _array(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A mapped array that has to be of a shape and a type, in C's order."""
    try:
        content = read_npy(path)
    except UserError as error:
        raise DamagedError(reason_of(error)) from error
    if not isinstance(content, np.ndarray) or content.dtype != dtype or content.shape != shape or not content.flags.c_contiguous:
        found = f"{content.dtype} {content.shape}" if isinstance(content, np.ndarray) else type(content).__name__
        raise DamagedError(f"{path}: {found}, where {dtype} {shape} belongs")
    return content
