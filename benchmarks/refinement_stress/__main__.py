"""The refinement where its assumptions are broken: `python -m benchmarks.refinement_stress --output DIR`.

Makes scenes of each family, two people or so for two seconds, with one thing wrong that real pipelines get wrong and white noise is not
like, refines them, and prints for each where it starts and where it ends. Start is the same program without iterations. DIR takes
`table.md`, `runs.csv` and `runs.json`.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from pose_priors.benchmarks.refinement_stress.runs import Run, measured
from pose_priors.benchmarks.refinement_stress.tables import show, write
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, at_least, run
from pose_priors.configs.exchange import check_writable
from pose_priors.datamodules.synthetic.scenes.stress.families import FAMILIES

log = logging.getLogger("benchmark")


def main(arguments: Sequence[str] | None = None) -> list[Run]:
    """Measures, prints the table and writes it; returns the runs by family and seed."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), metavar="NAME", help="some of them; see --list")
    parser.add_argument("--seeds", nargs="+", type=at_least(0), default=[0], metavar="N", help="of people and noise; 0")
    parser.add_argument("--jobs", type=at_least(1), default=1, metavar="N", help="processes, each with one thread; 1")
    parser.add_argument("--output", type=Path, help="a folder for the tables; without it, they are printed alone")
    parser.add_argument("--scenes", type=Path, help="a folder that keeps the scenes and their truths; without it, they are thrown away")
    parser.add_argument("--list", action="store_true", help="names the families, and ends")
    options = parser.parse_args(arguments)
    if options.output is not None:
        check_writable(options.output)
    if options.list:
        width = max(map(len, FAMILIES))
        print("\n".join(f"{name:{width}s}  {recipe.about}" for name, recipe in FAMILIES.items()))
        return []
    if unknown := [name for name in options.families if name not in FAMILIES]:
        raise UserError(f"--families {unknown[0]}: no such family; there are {', '.join(FAMILIES)}")
    asked = [(family, seed) for family in dict.fromkeys(options.families) for seed in sorted(set(options.seeds))]
    runs = _all(asked, options.scenes, options.jobs)
    show(runs)
    if options.output is not None:
        try:
            write(options.output, runs)
        except OSError as error:
            raise UserError(f"--output {options.output}: cannot be written ({error.strerror or error}); give another folder") from error
    return runs


def _all(asked: Sequence[tuple[str, int]], scenes: Path | None, jobs: int) -> list[Run]:
    """The runs, in the order in which they are asked for."""
    if jobs == 1:
        torch.set_num_threads(1)
        return [_told(measured(family, seed, scenes)) for family, seed in asked]
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        waiting = {pool.submit(measured, family, seed, scenes): (family, seed) for family, seed in asked}
        found = {waiting[future]: _told(future.result()) for future in as_completed(waiting)}
    return [found[key] for key in asked]


def _told(done: Run) -> Run:
    log.info("%s, seed %d: abs-MPJPE %.0f -> %.0f mm", done.family, done.seed, done.start["abs_mpjpe_mm"], done.end["abs_mpjpe_mm"])
    return done


if __name__ == "__main__":
    run(main)
