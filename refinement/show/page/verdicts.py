"""The verdicts of a review, in `review.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Literal, cast, get_args

from pose_priors.configs.base import UserError
from pose_priors.configs.writing import alone
from pose_priors.datamodules.containers.regular import read_regular
from pose_priors.refinement.result.tables import unquoted, write_table

VERDICTS_FILE = "review.csv"
"""Where verdicts are kept, beside the results that they are on."""

Verdict = Literal["good", "bad"]


@dataclass(frozen=True)
class Mark:
    """A row of `review.csv`.

    Attributes:
        sequence: its name.
        verdict: `good` or `bad`.
        time: when it was given, ISO 8601 with the offset from UTC, to the second.
        note: the reviewer's words, may be empty.
    """

    sequence: str
    verdict: Verdict
    time: str
    note: str = ""


class Verdicts:
    """The verdicts in a `review.csv`, one row per sequence by name; each is on disk when `mark` returns.

    Args:
        path: of the file; it need not exist.
    Raises:
        UserError: if it is no such table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._marks = _read(path)

    def of(self, sequence: str) -> Mark | None:
        """The verdict on a sequence, None if there is none."""
        return self._marks.get(sequence)

    def mark(self, sequence: str, verdict: Verdict, note: str = "") -> Mark:
        """Gives a sequence a verdict, in place of an earlier one; rows that others wrote meanwhile are kept.

        Raises:
            UserError: if the file has become malformed meanwhile, or cannot be written; nothing changes then.
        """
        mark = Mark(sequence, verdict, datetime.now().astimezone().isoformat(timespec="seconds"), " ".join(note.split()))
        try:
            with alone(self.path):
                marks = _read(self.path) | {sequence: mark}
                write_table(self.path, _COLUMNS, (asdict(marks[name]) for name in sorted(marks)))
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror or error}); the verdict is not kept") from error
        self._marks = marks
        return mark


_COLUMNS = tuple(field.name for field in fields(Mark))
_NEEDED = _COLUMNS[:3]
_MOST_BYTES = 64 << 20


def _read(path: Path) -> dict[str, Mark]:
    """The rows of a `review.csv` by sequence, none where there is no file; a table without the last column has no notes."""
    if not path.exists():
        return {}
    try:
        with io.StringIO(read_regular(path, _MOST_BYTES).decode(), newline="") as stream:
            table = csv.reader(stream, strict=True)
            header = tuple(next(table, ()))
            if header not in (_COLUMNS, _NEEDED):
                raise UserError(_malformed(path, 1, f"the columns are {', '.join(header) or 'none'}"))
            marks: dict[str, Mark] = {}
            for row in ([unquoted(cell) for cell in cells] for cells in filter(None, table)):
                if fault := _fault(row, header, marks):
                    raise UserError(_malformed(path, table.line_num, fault))
                marks[row[0]] = Mark(row[0], cast(Verdict, row[1]), *row[2:])  # `_fault` has looked at it
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not readable as a table ({error}); mend it, or move it away to start anew") from error
    return marks


def _fault(row: Sequence[str], header: Sequence[str], marks: dict[str, Mark]) -> str | None:
    if len(row) != len(header):
        return f"{len(row)} values for {len(header)} columns"
    if row[0] in marks:
        return f"a second row of {row[0]}"
    if row[1] not in get_args(Verdict):
        return f"the verdict {row[1]!r}, where {' or '.join(get_args(Verdict))} is allowed"
    try:
        datetime.fromisoformat(row[2])
    except ValueError:
        return f"the time {row[2]!r}, where one like 2026-01-31T12:00:00+00:00 is expected"
    return None if row[0] else "a row without a sequence"


def _malformed(path: Path, line: int, found: str) -> str:
    return f"{path}, line {line}: {found}; {','.join(_COLUMNS)} is expected, one row per sequence; mend it, or move it away to start anew"
