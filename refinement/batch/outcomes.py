"""What became of each sequence, and the table of it, `summary.csv`."""

from __future__ import annotations

import csv
import io
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pose_priors.configs.base import UserError, reason_of
from pose_priors.configs.writing import alone
from pose_priors.datamodules.containers.regular import read_regular
from pose_priors.refinement.result.tables import unquoted, write_table
from pose_priors.refinement.result.told import told_by

log = logging.getLogger("refine")

_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class SequenceOutcome:
    """What became of one sequence.

    Attributes:
        status: `success`; `skipped` where a complete result was there already, whose numbers these are; `failed`.
        reason: of a failure, one line.
        frames, people: of the clip; None where unknown, as are the others.
        iterations: of all sub-stages.
        seconds: wall time of the optimisation.
        scale: alpha, metric = alpha * stage 1.
        results: content of `refinement_results.json`, or of stage 4's `metadata.json` where no stage 5 was asked for.
    """

    sequence: str
    status: Literal["success", "skipped", "failed"]
    reason: str = ""
    frames: int | None = None
    people: int | None = None
    iterations: int | None = None
    seconds: float | None = None
    scale: float | None = None
    results: dict[str, Any] = field(default_factory=dict)


def write_summary(path: Path, outcomes: Sequence[SequenceOutcome]) -> None:
    """A table of one row per sequence, ordered by name: `sequence, frames, people, iterations, seconds, scale, status, quality, reasons`.

    Rows of other sequences that the file has already are kept, also those of tables from before there was a quality.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path):
            rows = {row["sequence"]: row for row in _rows(path)}
            rows |= {outcome.sequence: _row(outcome) for outcome in outcomes}
            write_table(path, _COLUMNS, (rows[name] for name in sorted(rows)))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); give a folder that can be in output.path") from error


_EARLIER = ("sequence", "frames", "people", "iterations", "seconds", "scale", "status")
_COLUMNS = (*_EARLIER, "quality", "reasons")


def _row(outcome: SequenceOutcome) -> dict[str, Any]:
    told = told_by(outcome.results)
    return {
        "sequence": outcome.sequence,
        "frames": outcome.frames,
        "people": outcome.people,
        "iterations": outcome.iterations,
        "seconds": None if outcome.seconds is None else f"{outcome.seconds:.2f}",
        "scale": None if outcome.scale is None else f"{outcome.scale:.6f}",
        "status": f"failed: {outcome.reason}" if outcome.status == "failed" else outcome.status,
        "quality": told.verdict,
        "reasons": "; ".join(told.reasons),
    }


def _rows(path: Path) -> list[dict[str, str]]:
    """Of an earlier summary; none where it is another table. One that is damaged is kept beside, the rows that can be read are taken."""
    if not path.exists():
        return []
    rows, fault = [], ""
    try:
        table = csv.DictReader(io.StringIO(read_regular(path, _MOST_BYTES).decode("utf-8", "replace"), newline=""))
        columns = tuple(table.fieldnames or ())
        if columns not in (_COLUMNS, _EARLIER):
            return []
        for row in table:
            # a row that was cut off has fewer cells, and one that another was written into has more
            if None in row or None in row.values():
                fault = fault or f"a row of other than {len(columns)} cells"
            else:
                rows.append({name: unquoted(row.get(name, "")) for name in _COLUMNS})
    except csv.Error as error:
        fault = reason_of(error)
    if fault:
        aside = path.with_name(f"{path.name}.damaged")
        shutil.copyfile(path, aside)
        log.warning("%s: damaged (%s); it is kept as %s, and %d rows of it are taken over", path, fault, aside, len(rows))
    return rows
