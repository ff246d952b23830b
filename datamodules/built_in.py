"""The built-in poses as a source of any size: few are drawn where they are wanted, many once, block by block, onto the disk."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pose_priors.configs.progress import progress_bar
from pose_priors.datamodules.cache.entry import COUNTS, PoseSet
from pose_priors.datamodules.cache.store import made_poses
from pose_priors.datamodules.splits import Segment
from pose_priors.datamodules.synthetic.poses import synthetic_poses

log = logging.getLogger(__name__)

MOST_AT_ONCE = 100_000
"""Poses that are drawn in memory, which takes 6 s and 14 kB of memory each at its height."""
_BLOCK = 10_000
_VERSION = 1
"""To be raised whenever the same number and seed would give other poses."""


def built_in_poses(num_poses: int, seed: int, cache_dir: Path | None) -> PoseSet:
    """So many built-in poses. The same seed and number give the same.

    Args:
        num_poses: up to `MOST_AT_ONCE` those of `synthetic_poses`, in memory; more come from the cache, or are made into it.
        seed: of all of them.
        cache_dir: as of `open_poses`.
    Raises:
        UserError: if the cache is needed and cannot be written.
    """
    if num_poses <= MOST_AT_ONCE:
        poses, known_by = synthetic_poses(num_poses, seed).numpy(), [seed, num_poses]
        found = PoseSet(poses, np.empty(0, np.uint64), (Segment(0, num_poses, False, None),), {})
    else:
        name = f"{num_poses:,} built-in poses, seed {seed}, version {_VERSION}"
        found, known_by = made_poses(name, lambda: _blocks(num_poses, seed), cache_dir), [seed, num_poses, _VERSION]
    # Rows are known by seed and number, not by their bits: threaded arithmetic may round a value of one run in millions differently,
    # and a run has to find its own data again.
    hashes = np.random.default_rng(known_by).integers(2**64, size=len(found.poses), dtype=np.uint64)
    return replace(found, hashes=hashes, counts=dict.fromkeys(COUNTS, 0))


def _blocks(num_poses: int, seed: int) -> Iterator[np.ndarray]:
    """(n, 55, 3) each, of seeds of their own. A terminal shows how far it is."""
    log.info("makes %s built-in poses, once", f"{num_poses:,}")
    sizes = [min(_BLOCK, num_poses - first) for first in range(0, num_poses, _BLOCK)]
    with progress_bar(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"making {num_poses:,} built-in poses, once", total=num_poses)
        for number, size in enumerate(sizes):
            (own,) = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
            yield synthetic_poses(size, int(own) >> 1).numpy()
            bar.advance(task, size)
