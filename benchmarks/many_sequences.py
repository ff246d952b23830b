"""What one process for many sequences saves: `python -m benchmarks.many_sequences --scenes DIR --output DIR`.

`refine.py` runs once on all sequences in DIR and once on each of them, on as many threads as `--threads` says. Printed are wall and CPU
seconds of both and their ratio, the cost of padding, and whether the results are the same to the last bit.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, at_least, run
from pose_priors.configs.exchange import check_writable
from pose_priors.refinement.batch.sequences import find_sequences

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Cost:
    """Seconds that processes took, on the clock and of the CPU; the latter is what other users of the machine do not change."""

    wall: float
    cpu: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.cpu + other.cpu)


def refine(path: Path, output: Path, threads: int, overrides: Sequence[str]) -> Cost:
    """Runs `refine.py` in a process of its own. Raises `UserError` if it fails."""
    options = [f"input.path={path}", f"output.path={output}", "trainer.enable_progress_bar=false", *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "refine.py", "--config", "refinement", "--override", *options]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise UserError(f"{path}: refine.py failed: {done.stderr.strip().splitlines()[-1]}")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def differing(one: Path, other: Path) -> list[str]:
    """Result arrays that are not the same to the last bit, or are in one of the folders only."""
    files = {path.relative_to(folder) for folder in (one, other) for path in folder.rglob("person_*/*.npz")}
    found = []
    for file in sorted(files):
        if not ((one / file).is_file() and (other / file).is_file()):
            found.append(str(file))
            continue
        with np.load(one / file) as a, np.load(other / file) as b:
            found += [f"{file}: {key}" for key in {*a, *b} if key not in a or key not in b or a[key].tobytes() != b[key].tobytes()]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and prints the table."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, required=True, help="a folder of sequences")
    parser.add_argument("--output", type=Path, required=True, help="an empty folder for the results")
    parser.add_argument("--threads", type=at_least(1), default=1)
    parser.add_argument("--pad-frames", type=at_least(1), help="also compare with clips at multiples of so many frames")
    parser.add_argument("--override", nargs="*", default=[], metavar="KEY=VALUE", help="for refine.py, as prior.body=...")
    options = parser.parse_args(arguments)
    check_writable(options.output)
    table = Table(title=f"{options.scenes}, {options.threads} thread(s)")
    for heading in ("", "one process: wall s", "CPU s", "one each: wall s", "CPU s", "ratio of wall", "of CPU", "arrays that differ"):
        table.add_column(heading, justify="right" if heading else "left")
    for padding in [None, *([options.pad_frames] if options.pad_frames else [])]:
        overrides = [*options.override, f"refinement.pad_frames={padding or 'null'}"]
        folder = options.output / (f"padded_{padding}" if padding else "own_length")
        each = Cost(0.0, 0.0)
        for sequence in (sequences := find_sequences(options.scenes)):
            each += refine(sequence, folder / "each" / sequence.name, options.threads, overrides)
        together = refine(options.scenes, folder / "together", options.threads, overrides)
        numbers = (together.wall, together.cpu, each.wall, each.cpu)
        ratios = (together.wall / each.wall, together.cpu / each.cpu)
        different = differing(folder / "together", folder / "each")
        label = f"{len(sequences)} sequences" + (f", multiples of {padding} frames" if padding else "")
        table.add_row(label, *(f"{value:.1f}" for value in numbers), *(f"{ratio:.2f}" for ratio in ratios), ", ".join(different) or "none")
    Console(width=170).print(table)


if __name__ == "__main__":
    run(main)
