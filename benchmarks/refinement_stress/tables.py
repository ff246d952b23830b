"""Runs as a table that is printed, as Markdown, CSV and JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pose_priors.benchmarks.refinement_stress.runs import Run
from pose_priors.configs.writing import write_json, write_text
from pose_priors.datamodules.synthetic.scenes.stress.families import FAMILIES, ORDINARY
from pose_priors.refinement.result.tables import write_table

_FROM_TO = {
    "abs-MPJPE": "abs_mpjpe_mm",
    "W-MPJPE, unscaled": "w_mpjpe_rigid_mm",
    "MPJPE": "mpjpe_mm",
    "sliding": "fs_joints_mm",
    "penetration": "ground_penetration_mm",
}
_WIDTH = 200


def _between(runs: Sequence[Run], metric: str) -> str:
    return f"{_value([run.start.get(metric) for run in runs])} -> {_value([run.end.get(metric) for run in runs])}"


def _jitter(runs: Sequence[Run]) -> str:
    return f"{_between(runs, 'jitter')} ({_value([run.end.get('jitter_truth') for run in runs])})"


def _end(runs: Sequence[Run], metric: str, decimals: int = 0) -> str:
    return _value([run.end.get(metric) for run in runs], decimals)


def _value(values: Sequence[float | None], decimals: int = 0) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.{decimals}f}" if known else "-"


def _said(runs: Sequence[Run]) -> str:
    """The verdicts, how many people kept their input, and the commonest first reason."""
    counts = {verdict: sum(run.verdict == verdict for run in runs) for verdict in ("good", "check", "poor")}
    words = [f"{verdict} {count}" if len(runs) > 1 else verdict for verdict, count in counts.items() if count]
    if kept := sum(len(run.kept) for run in runs):
        words.append(f"{kept} kept")
    reasons = [run.reasons[0] for run in runs if run.reasons]
    return "; ".join([", ".join(words), *reasons[:1]])


COLUMNS: dict[str, Callable[[Sequence[Run]], str]] = {
    **{heading: lambda runs, metric=metric: _between(runs, metric) for heading, metric in _FROM_TO.items()},  # type: ignore[misc]
    "jitter (truth)": _jitter,
    "hidden": lambda runs: _end(runs, "infilled_abs_mpjpe_mm"),
    "floor deg": lambda runs: _end(runs, "floor_deg", 1),
    "floor cm": lambda runs: _end(runs, "floor_cm", 1),
    "scale %": lambda runs: _end(runs, "scale_error_percent", 1),
    "sigma": lambda runs: _end(runs, "joint_sigma_mm"),
    "within": lambda runs: _end(runs, "within_sigma", 2),
    "hidden within": lambda runs: _end(runs, "hidden_within_sigma", 2),
    "worse": lambda runs: ", ".join(sorted({name.removesuffix("_mm") for run in runs for name in run.worse})) or "-",
    "said": _said,
}
"""What stands in the table of a family's runs."""


def rows(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Cells of each family, means over its seeds, in the order of the families."""
    by_family = {name: [run for run in runs if run.family == name] for name in FAMILIES}
    return {name: [cell(found) for cell in COLUMNS.values()] for name, found in by_family.items() if found}


def summary(runs: Sequence[Run]) -> list[str]:
    """Lines on all runs: how many ended worse, and how the verdicts fit."""
    told = [run.verdict != "good" for run in runs]
    worse = [bool(run.worse) for run in runs]
    ordinary = [run.family in ORDINARY for run in runs]
    false = sum(t for t, o in zip(told, ordinary, strict=True) if o)
    bad = sum(worse)
    silent = sum(w and not t for w, t in zip(worse, told, strict=True))
    return [
        f"{bad} of {len(runs)} runs ended worse in a metric, {silent} of them without a word",
        f"false alarms: {false} of {sum(ordinary)} runs of {', '.join(ORDINARY)}",
    ]


def show(runs: Sequence[Run]) -> None:
    """Prints the table and the summary."""
    table = Table(title="start -> end; mm, jitter in 10 m/s^3, means over people and seeds")
    for heading in ("family", *COLUMNS):
        table.add_column(heading, justify="left" if heading in ("family", "worse", "said") else "right")
    for name, cells in rows(runs).items():
        table.add_row(name, *cells)
    console = Console(width=_WIDTH)
    console.print(table)
    for line in summary(runs):
        console.print(line)


def write(folder: Path, runs: Sequence[Run]) -> None:
    """Writes `table.md`, `runs.csv` and `runs.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    headings = ["", *COLUMNS]
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows(runs).items()]
    write_text(folder / "table.md", "\n".join([*lines, "", *summary(runs), ""]))
    flat = [_flat(run) for run in runs]
    write_table(folder / "runs.csv", list(dict.fromkeys(name for row in flat for name in row)), flat)
    write_json(folder / "runs.json", [asdict(run) for run in runs])


def _flat(run: Run) -> dict[str, object]:
    told = {"verdict": run.verdict, "worse": " ".join(run.worse), "kept": " ".join(map(str, run.kept)), "reasons": "; ".join(run.reasons)}
    times = {f"{name}_{when}": value for when, values in (("start", run.start), ("end", run.end)) for name, value in values.items()}
    return {"family": run.family, "seed": run.seed, **told, **times, "warnings": "; ".join(run.warnings), "cpu_seconds": run.cpu_seconds}
