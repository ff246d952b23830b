"""Trained priors and baselines on what pose priors are used for: `python -m benchmarks.priors --data PATH --checkpoints A B --output DIR`.

The baselines are fitted on the training rows in the same run. Everything is printed, and written to DIR as `tables.md` and `metrics.json`.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData, load_data, load_foreign
from pose_priors.benchmarks.priors.peers import PEERS, fit_peers
from pose_priors.benchmarks.priors.tables import ResultTable, write_tables
from pose_priors.benchmarks.priors.tasks import TASKS
from pose_priors.benchmarks.priors.trained import trained
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, finite, run
from pose_priors.configs.exchange import check_writable
from pose_priors.priors import Prior, load_prior
from pose_priors.priors.checkpoint import read_checkpoint

log = logging.getLogger("benchmark")


def main(arguments: Sequence[str] | None = None) -> list[ResultTable]:
    """Runs the tasks, and returns the tables that it prints and writes."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="a folder for tables.md and metrics.json")
    parser.add_argument("--checkpoints", nargs="*", default=[], metavar="CKPT", help="trained priors; without any, the baselines alone")
    parser.add_argument("--data", help="a folder with train, val and test files, or poses to split; without it, the built-in poses")
    parser.add_argument("--split-radius", type=finite(zero=False), help="radians, as data.split_radius, where --data is not split yet")
    parser.add_argument("--motions", help="motion files, as data.path of motions, whose joints are denoised; without it, built-in motions")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK", help=f"of {', '.join(TASKS)}; all")
    parser.add_argument("--foreign", nargs="+", default=[], metavar="PATH", help="poses of other sources, one each, for the task foreign")
    parser.add_argument("--baselines", nargs="*", choices=PEERS, default=list(PEERS), metavar="NAME", help=f"of {', '.join(PEERS)}; all")
    parser.add_argument("--smplify-gmm", type=Path, metavar="PKL", help="SMPLify's gmm_08.pkl, which takes part if it is given")
    options = parser.parse_args(arguments)
    check_writable(options.output)
    priors = _load(options.checkpoints)
    joints = next(iter(priors.values())).joint_indices if priors else None
    if "foreign" in options.tasks and not options.foreign and options.tasks != list(TASKS):
        raise UserError("--tasks: foreign scores poses of other sources; give some by --foreign")
    data = replace(load_data(options.data, options.split_radius, joints), motions=options.motions)
    data = replace(data, foreign=load_foreign(options.foreign, data.joint_indices))
    _warn_of_other_data(options.checkpoints, data)
    candidates = fit_peers(data, options.baselines, options.smplify_gmm)
    baselines = {candidate.name for candidate in candidates}
    candidates += [trained(f"{name} (trained)" if name in baselines else name, prior) for name, prior in priors.items()]
    tables, seconds = _run(candidates, data, options.tasks)
    about = {
        "data": options.data or "built-in",
        "motions": options.motions or "built-in",
        "foreign": {name: len(poses) for name, poses in data.foreign.items()},
        "fingerprint": data.fingerprint,
        "poses": {side: len(getattr(data, side)) for side in ("train", "val", "test")},
        "joints": list(data.joints),
        "checkpoints": dict(zip(priors, options.checkpoints, strict=True)),
        "seconds": seconds,
    }
    write_tables(tables, about, options.output)
    return tables


def _run(candidates: Sequence[Candidate], data: BenchmarkData, tasks: Sequence[str]) -> tuple[list[ResultTable], dict[str, float]]:
    """The tables of some tasks, printed as they come, and the seconds that each task took."""
    tables, seconds = [], {}
    for task in tasks:
        began = time.perf_counter()
        found = TASKS[task](candidates, data)
        seconds[task] = round(time.perf_counter() - began, 1)
        for table in found:
            table.show()
        tables += found
    return tables, seconds


def _load(checkpoints: Sequence[str]) -> dict[str, Prior]:
    """The priors by short names. Raises `UserError` if one is not of poses, or they score different joints."""
    priors: dict[str, Prior] = {}
    for name, path in zip(_short_names(checkpoints), checkpoints, strict=True):
        prior = load_prior(path)
        if not isinstance(prior, Prior):
            raise UserError(f"--checkpoints: {path} is a prior of motions; give priors of poses")
        priors[name] = prior
        first = next(iter(priors.values()))
        if differing := sorted(set(prior.joints) ^ set(first.joints)):
            raise UserError(
                f"--checkpoints: {path} scores {prior.num_joints} joints, {checkpoints[0]} {first.num_joints} (one of them lacks "
                f"{', '.join(differing[:6])}{', ...' if len(differing) > 6 else ''}): their scores cannot be compared; run them apart"
            )
    return priors


def _short_names(paths: Sequence[str]) -> list[str]:
    """The file's stem, or, where stems are alike as in `*/best.ckpt`, the folders' names by which the paths differ. Raises `UserError` if a
    path is given twice."""
    if len(set(paths)) < len(paths):
        raise UserError(f"--checkpoints: {next(path for path in paths if paths.count(path) > 1)} is given twice; give each once")
    parts = [Path(path).with_suffix("").parts for path in paths]
    depth = next((n for n in range(1, max(map(len, parts), default=1)) if len({part[-n:] for part in parts}) == len(parts)), None)
    shown = [part[-depth:] if depth else part for part in parts]
    while len(shown) > 1 and len({part[-1] for part in shown}) == 1 and min(map(len, shown)) > 1:
        shown = [part[:-1] for part in shown]
    if len(shown) == 1 and shown[0][-1] in ("best", "last") and len(parts[0]) > 1:
        shown = [parts[0][-2:-1]]
    return ["/".join(part) for part in shown]


def _warn_of_other_data(checkpoints: Sequence[str], data: BenchmarkData) -> None:
    """A checkpoint that was trained on other rows may have seen those that are held out here."""
    for path in checkpoints:
        if read_checkpoint(path)["prior"]["data_fingerprint"] != data.fingerprint:
            log.warning("%s was trained on another split: if that held rows that are held out here, its scores are too good", path)


if __name__ == "__main__":
    run(main)
