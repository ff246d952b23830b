"""The numbers of README, each made again by one command: `python -m benchmarks.reproduce global_flow --data reference_batch.pt`.

A row is trained, or fitted, and scored on both splits by the commands of the project, which are printed; beside what came out stands what
is stated. The exit code is 1 if one is further away than the stated standard error. Without names: all rows, which takes two hours.
"""

from __future__ import annotations

import argparse
import logging
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from pose_priors.benchmarks.reproduce.running import Command, in_a_process, likelihood, scenes
from pose_priors.benchmarks.reproduce.splits import read_batch, write_split
from pose_priors.benchmarks.reproduce.stated import SPLITS, Stated
from pose_priors.body.pose_vectors import from_poses
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, run
from pose_priors.configs.exchange import check_writable
from pose_priors.configs.load import CONFIG_DIR, load_config
from pose_priors.configs.writing import write_json
from pose_priors.datamodules.synthetic.poses import synthetic_poses

log = logging.getLogger("benchmark")

FILE = CONFIG_DIR / "reproduce" / "readme.yaml"
_SCALED_ROWS = 300


class Line(NamedTuple):
    """One number beside what is stated of it, both with their standard errors."""

    what: str
    stated: float
    stated_error: float
    found: float
    error: float
    minutes: float

    @property
    def agrees(self) -> bool:
        """Whether it is as near as the stated standard error."""
        return abs(self.found - self.stated) <= self.stated_error


def main(arguments: Sequence[str] | None = None, *, command: Command = in_a_process) -> list[Line]:
    """Makes numbers again and returns them, beside what is stated. Exits with 1 if one does not agree."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows; --list has them")
    parser.add_argument("--list", action="store_true", help="only say which rows there are, how they are made and how long that takes")
    parser.add_argument("--data", type=Path, help="DPoser-X's reference_batch.pt, which rows of poses need")
    parser.add_argument("--output", type=Path, default=Path("results/reproduce"), help="a folder for splits, checkpoints and numbers")
    parser.add_argument("--scaled-down", action="store_true", help="a few built-in poses and steps: to see that all commands work")
    options = parser.parse_args(arguments)
    stated = load_config(Stated, str(FILE))
    known = [*stated.poses, *stated.scenes]
    if strange := [name for name in options.names if name not in known]:
        raise UserError(f"{strange[0]}: no such row; there are: {', '.join(known)}")
    names = options.names or known
    if options.list:
        _show_rows(stated, names)
        return []
    output = options.output.resolve()
    check_writable(output)
    if any(name in stated.poses for name in names):
        _lay_out(options.data, output, stated.reference_batch.sha256, options.scaled_down)
    lines = [line for name in names for line in _lines(stated, name, output, command, options.scaled_down)]
    _show(lines)
    about = {"processor": _processor(), "python": platform.python_version(), "torch": torch.__version__, "scaled_down": options.scaled_down}
    write_json(output / "reproduced.json", {"about": about, "numbers": [line._asdict() for line in lines]})
    if not options.scaled_down and not all(line.agrees for line in lines):
        sys.exit(1)
    return lines


def _lay_out(data: Path | None, output: Path, sha256: str, scaled_down: bool) -> None:
    """Writes the splits, unless they are there."""
    if scaled_down:
        rows = from_poses(synthetic_poses(_SCALED_ROWS, seed=0), 63).numpy().astype(np.float32)
    elif data is None:
        raise UserError("--data: give DPoser-X's data/body_data/version1/reference_batch.pt (docs/get_the_data.md), or --scaled-down")
    else:
        rows = read_batch(data, sha256)
    for split in SPLITS:
        write_split(rows, split, output / "poses" / split)


def _lines(stated: Stated, name: str, output: Path, command: Command, scaled_down: bool) -> list[Line]:
    if name in stated.scenes:
        scene = stated.scenes[name]
        metrics = scenes(name, scene, output, command, scaled_down)
        after = [
            Line(f"{name}, {metric}", known.mean, known.error, metrics[metric].value, metrics[metric].error, metrics[metric].minutes)
            for metric, known in scene.after.items()
        ]
        before = [
            Line(f"{name}, {metric} before", known.mean, known.error, float(metrics[metric].before or 0), known.error, 0.0)
            for metric, known in scene.before.items()
        ]
        return before + after
    row, lines = stated.poses[name], []
    for split in SPLITS:
        known = row.random if split == "random" else row.far
        if known is None:
            continue
        found = likelihood(name, row, split, output / "poses" / split, output, command, scaled_down)
        lines.append(Line(f"{name}, {split}", known.nll, known.error, found.value, found.error, found.minutes))
    return lines


def _show(lines: Sequence[Line]) -> None:
    table = Table("number", "stated", "found", "apart, in stated errors", "processor minutes")
    for line in lines:
        apart = abs(line.found - line.stated) / max(line.stated_error, 1e-12)
        told = f"{line.stated:.2f} ± {line.stated_error:.2f}", f"{line.found:.2f} ± {line.error:.2f}"
        table.add_row(line.what, *told, f"{apart:.1f}{'' if line.agrees else ' !'}", f"{line.minutes:.1f}")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _show_rows(stated: Stated, names: Sequence[str]) -> None:
    table = Table("row", "what", "how", "processor minutes a split")
    for name in names:
        if name in stated.scenes:
            scene = stated.scenes[name]
            table.add_row(name, scene.title, f"refine, of {len(scene.seeds)} seeds", f"{scene.minutes:g} in all")
        else:
            row = stated.poses[name]
            way = f"benchmark priors --baselines {row.peer!r}" if row.peer else " ".join([f"train --config {row.train}", *row.override])
            table.add_row(name, row.title, way, f"{row.minutes:g}")
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _processor() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    run(main)
