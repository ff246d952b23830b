"""Whether a training step costs more where there is more to learn from: `python -m benchmarks.rows --output DIR --rows 10000 1000000`.

Arrays of built-in poses on the disk, mapped as those of the cache are, and a joint flow that learns from each in turn, a few steps at a
time, so that whatever else the machine does meets all of them alike. Seconds are of the processor, medians of such turns: a batch gathered
and a whole training step; what a new pass costs is spread over its steps.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose_priors.benchmarks.reporting import report
from pose_priors.benchmarks.training_speed import BODY
from pose_priors.configs.cli import Parser, at_least, run
from pose_priors.configs.exchange import check_writable
from pose_priors.datamodules.cache.entry import COUNTS, ROW, PoseSet
from pose_priors.datamodules.loader import PoseLoader
from pose_priors.datamodules.splits import Segment
from pose_priors.datamodules.synthetic import synthetic_poses
from pose_priors.datamodules.view import PoseView
from pose_priors.priors.joint_flow import JointFlowConfig
from pose_priors.priors.training.estimate import stepping

Row = dict[str, Any]

_DISTINCT = 10_000
_NOISE = 1e-3
"""Radians by which rows that come from one pose differ."""
_CHUNK = 100_000
_BATCH = 512
_A_TURN = 5
"""Steps from one array before the next one's turn."""


def write_poses(path: Path, poses: Tensor, num_rows: int) -> PoseSet:
    """So many rows on the disk, each one of some poses (N, 55, 3) with a little noise of its own, and mapped."""
    array = np.lib.format.open_memmap(path, "w+", np.float32, (num_rows, *ROW))
    generator = torch.Generator().manual_seed(0)
    for first in range(0, num_rows, _CHUNK):
        rows = poses[torch.arange(first, min(first + _CHUNK, num_rows)) % len(poses)]
        array[first : first + _CHUNK] = rows + _NOISE * torch.randn(rows.shape, generator=generator)
    array.flush()
    mapped = np.load(path, mmap_mode="r")
    return PoseSet(mapped, np.zeros(num_rows, np.uint64), (Segment(0, num_rows, False, None),), dict.fromkeys(COUNTS, 0))


def measure(folder: Path, sizes: Sequence[int], turns: int, batch_size: int = _BATCH) -> list[Row]:
    """A row a size: seconds of the processor of a step, its part that gathers, and of what a pass begins with.

    Args:
        folder: for the arrays.
        sizes: numbers of rows.
        turns: of each array, after one to warm up.
    """
    poses = synthetic_poses(min(_DISTINCT, max(sizes)), seed=0)
    steps, batches, begun = [], [], []
    for number, size in enumerate(sizes):
        pose_set = write_poses(folder / f"{number}.npy", poses, size)
        loader = PoseLoader(PoseView(pose_set, np.arange(size)), batch_size, shuffle=True, drop_last=True, seed=0)
        torch.manual_seed(0)
        prior = JointFlowConfig(kind="joint_flow").build(BODY)
        prior.fit_statistics(poses)
        steps.append(stepping(prior.train(), rate=1e-4))
        start = time.process_time()
        loader._begun(0)
        begun.append((time.process_time() - start) / loader.batches_a_pass)
        batches.append(_endless(loader))
    taken: list[list[tuple[float, float]]] = [[] for _ in sizes]
    for turn in range(turns + 1):
        for into, step, source in zip(taken, steps, batches, strict=True):
            gathering = learning = 0.0
            for _ in range(_A_TURN):
                start = time.process_time()
                batch = next(source)
                between = time.process_time()
                step(batch)
                gathering, learning = gathering + between - start, learning + time.process_time() - between
            if turn:
                into.append((gathering / _A_TURN, learning / _A_TURN))
    rows = []
    for size, values, of_pass in zip(sizes, taken, begun, strict=True):
        gathering, learning = (statistics.median(column) for column in zip(*values, strict=True))
        whole = statistics.median(sum(pair) for pair in values) + of_pass
        rows.append({"rows": size, "step": whole, "gathering": gathering, "learning": learning, "pass": of_pass})
    return rows


def _endless(loader: PoseLoader) -> Iterator[Tensor]:
    epoch = 0
    while True:
        loader.set_epoch(epoch)
        yield from loader
        epoch += 1


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown, against the first."""
    lines = ["| rows | steps a second of one core | against the first | ms: gathering | learning | of the pass |", "|---" * 6 + "|"]
    for row in rows:
        ratio = rows[0]["step"] / row["step"]
        times = " | ".join(f"{1000 * row[name]:.2f}" for name in ("gathering", "learning", "pass"))
        lines.append(f"| {row['rows']:,} | {1 / row['step']:.2f} | x {ratio:.3f} | {times} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Measures, prints and writes the table; returns its rows."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="a folder for rows.md and rows.json; the arrays lie in it meanwhile")
    parser.add_argument("--rows", type=at_least(1), nargs="+", default=[10_000, 1_000_000], help="660 bytes of disk each")
    parser.add_argument("--turns", type=at_least(1), default=20, help="of each array, of five steps")
    parser.add_argument("--batch-size", type=at_least(1), default=_BATCH)
    options = parser.parse_args(arguments)
    check_writable(options.output)
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.output) as folder:
        rows = measure(Path(folder), options.rows, options.turns, options.batch_size)
    report(options.output, "rows", table(rows), rows)
    return rows


if __name__ == "__main__":
    run(main)
