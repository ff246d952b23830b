"""Training, validation and test rows that do not leak into each other.

Frames of one motion resemble their neighbours, so a motion is never split by shuffled frames: whole files go to one split, or, where there
are few files, contiguous blocks with a gap between them. Files of shuffled frames are split by row, or, with a radius, by near twins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pose_priors.body.motion_state import FPS
from pose_priors.configs.base import UserError

MAX_RADIUS_ROWS = 100_000
"""Rows up to which all pairs of poses can be compared in a few minutes."""
_PAIRS_AT_ONCE = 4_000_000
_GAP_SECONDS = 0.5


@dataclass(frozen=True)
class Segment:
    """The rows [start, stop) that came from one file.

    Args:
        is_sequence: whether they are frames in order.
        fps: frames a second, or None if not known.
    """

    start: int
    stop: int
    is_sequence: bool
    fps: float | None


@dataclass(frozen=True)
class SplitRows:
    """Row numbers of each split, ascending and disjoint; rows of the gaps between blocks are in none."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def split_rows(segments: Sequence[Segment], val_fraction: float, test_fraction: float, seed: int) -> SplitRows:
    """Splits by file, by contiguous block of a sequence when there are too few files, and by row for files of shuffled frames.

    Args:
        segments: the files, which together cover the rows.
        val_fraction, test_fraction: shares of the rows; 0 leaves that split empty.
        seed: of the assignment.
    """
    generator = np.random.default_rng(seed)
    sequences = [segment for segment in segments if segment.is_sequence and segment.stop > segment.start]
    splits: tuple[list[np.ndarray], ...] = ([], [], [])
    wanted = [fraction for fraction in (val_fraction, test_fraction) if fraction > 0]
    if wanted and len(sequences) * min(wanted) >= 1:
        assigned = assign([segment.stop - segment.start for segment in sequences], val_fraction, test_fraction, generator)
        for segment, split in zip(sequences, assigned, strict=True):
            splits[split].append(np.arange(segment.start, segment.stop))
    else:
        for segment in sequences:
            for split, rows in enumerate(_blocks(segment, val_fraction, test_fraction, generator)):
                splits[split].append(rows)
    loose = [np.arange(segment.start, segment.stop) for segment in segments if not segment.is_sequence]
    if loose:
        rows = generator.permutation(np.concatenate(loose))
        num_test, num_val = round(test_fraction * len(rows)), round(val_fraction * len(rows))
        for split, part in enumerate(np.split(rows, [len(rows) - num_val - num_test, len(rows) - num_test])):
            splits[split].append(part)
    return SplitRows(*(np.sort(np.concatenate([*split, np.empty(0, dtype=np.int64)])).astype(np.int64) for split in splits))


def assign(sizes: Sequence[int] | np.ndarray, val_fraction: float, test_fraction: float, generator: np.random.Generator) -> np.ndarray:
    """A split (0 train, 1 validation, 2 test) for each group, in random order: test if it fits, else validation if it fits, else train.

    A group fits if it overshoots the wanted number of rows by less than half of itself, so that groups larger than a split go to train.
    """
    wanted = np.array([0.0, val_fraction, test_fraction]) * np.sum(sizes)
    have = np.zeros(3)
    assigned = np.zeros(len(sizes), dtype=np.int64)
    for group in generator.permutation(len(sizes)):
        split = next((split for split in (2, 1) if wanted[split] > 0 and have[split] + sizes[group] / 2 <= wanted[split]), 0)
        assigned[group] = split
        have[split] += sizes[group]
    return assigned


def split_by_radius(
    poses: np.ndarray, joints: Sequence[int], radius: float, val_fraction: float, test_fraction: float, seed: int
) -> SplitRows:
    """Splits rows so that any two within `radius` of each other are in one split.

    Args:
        poses: (N, 55, 3) canonical rotation vectors.
        joints: those to compare; the distance is the Euclidean one of their rotation vectors.
        radius: in radians.
        val_fraction, test_fraction, seed: as `split_rows`.
    Raises:
        UserError: above `MAX_RADIUS_ROWS` rows.
    """
    if len(poses) > MAX_RADIUS_ROWS:
        raise UserError(
            f"data.split_radius compares all pairs of poses, which is feasible up to {MAX_RADIUS_ROWS:,}; there are {len(poses):,}: "
            "leave it out (files are then kept whole), thin the data with data.subsample_fps, or give data.train, data.val and data.test"
        )
    groups = radius_components(poses[:, list(joints)].reshape(len(poses), -1), radius)
    assigned = assign(np.bincount(groups), val_fraction, test_fraction, np.random.default_rng(seed))[groups]
    return SplitRows(*(np.flatnonzero(assigned == split) for split in range(3)))


def radius_components(vectors: np.ndarray, radius: float) -> np.ndarray:
    """Connected components of the graph that joins vectors within `radius`: (N, D) -> (N,) labels 0, 1, ...; memory is linear in N."""
    vectors = np.asarray(vectors, dtype=np.float64)
    squares = (vectors**2).sum(1)
    labels = np.arange(len(vectors))
    step = max(1, _PAIRS_AT_ONCE // max(1, len(vectors)))
    for first in range(0, len(vectors), step):
        block = vectors[first : first + step]
        # only pairs with later rows; earlier blocks have seen the others
        distances = squares[first : first + step, None] + squares[None, first:] - 2 * block @ vectors[first:].T
        near, other = np.nonzero(distances <= radius**2)
        graph = coo_array((np.ones(len(near), dtype=bool), (labels[first + near], labels[first + other])), shape=(len(vectors),) * 2)
        labels = connected_components(graph, directed=False)[1][labels]
    return np.unique(labels, return_inverse=True)[1]


def _blocks(segment: Segment, val_fraction: float, test_fraction: float, generator: np.random.Generator) -> list[np.ndarray]:
    """One contiguous block a split, in random order, each but the first without its first frames: the gap to the block before."""
    length = segment.stop - segment.start
    sizes = np.array([0, round(val_fraction * length), round(test_fraction * length)])
    sizes[0] = length - sizes.sum()
    gap = min(round(_GAP_SECONDS * (segment.fps or FPS)), int(sizes[sizes > 0].min()) // 4)
    blocks = [np.empty(0, dtype=np.int64)] * 3
    first = segment.start
    for split in generator.permutation(3):
        if sizes[split]:
            blocks[split] = np.arange(first + (gap if first > segment.start else 0), first + sizes[split])
            first += sizes[split]
    return blocks
