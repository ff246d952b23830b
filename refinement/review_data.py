"""What the review page is about: the results below a folder, and the verdicts on them in `review.csv`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from configs.base import UserError
from configs.writing import alone, written_aside
from refinement.formats.files import existing_folder, listed
from refinement.sequences import REFINED, InputSequence, is_sequence
from refinement.write import RESULTS

VERDICTS_FILE = "review.csv"
"""Where verdicts are kept, beside the results that they are on."""

Verdict = Literal["good", "bad"]


@dataclass(frozen=True)
class Result:
    """One refined sequence.

    Attributes:
        name: of the sequence.
        refined: the folder of stage 5.
        candidates: where its input may lie, the likeliest first; none has been opened.
    """

    name: str
    refined: Path
    candidates: tuple[Path, ...]

    def source(self) -> Path | None:
        """What was refined, a folder or a tool's file; None where it is not known."""
        return next((path for path in self.candidates if is_sequence(path)), None)


def find_results(root: Path, inputs: Path | None = None) -> list[Result]:
    """The refined sequences of a folder, by name, however `refine.py` left them. Only folders are listed, no file is opened.

    They lie in `5_refinement` of each sequence's own folder, or, with `output.path`, in a folder of each sequence's name. The folder itself
    may be one sequence or one result.

    Args:
        root: sequences, or results.
        inputs: the sequences, or the one sequence, where results lie elsewhere.
    Raises:
        UserError: if there is no such folder, or no result in it.
    """
    existing_folder(root, "a folder of refined sequences")
    if inputs is not None and not inputs.exists():
        raise UserError(f"{inputs}: no such folder or file; the sequences that were refined are expected, as input.path had them")
    root = root.resolve()
    given = {} if inputs is None or inputs.is_file() else _by_name(inputs)
    inside = _by_name(root)
    results = []
    if (alone := _refined(root)) is not None:
        home = root.parent if root.name == REFINED else root
        found = (*given.get(home.name, ()), *([] if inputs is None else [inputs]), *_by_name(home.parent)[home.name])
        results.append(Result(home.name, alone, found))
    for path in sorted(path for path in root.iterdir() if path.is_dir() and path.name != REFINED and not path.name.startswith(".")):
        if (refined := _refined(path)) is not None:
            results.append(Result(path.name, refined, (*given.get(path.name, ()), *inside[path.name])))
    if not results:
        holds = listed([path.name for path in sorted(root.iterdir())]) or "nothing"
        raise UserError(f"{root}: no refined sequence, neither NAME/{REFINED}/{RESULTS} nor NAME/{RESULTS}; it holds {holds}")
    return results


def _refined(folder: Path) -> Path | None:
    """Where the result is, of a sequence's folder or of one of results."""
    return next((path for path in (folder / REFINED, folder) if (path / RESULTS).is_file()), None)


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """What lies in a folder by the name that it has as a sequence, folders before files."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name)):
        found.setdefault(InputSequence.at(path).name, []).append(path)
    return found


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
                with written_aside(self.path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
                    table = csv.DictWriter(stream, _COLUMNS)
                    table.writeheader()
                    table.writerows(asdict(marks[name]) for name in sorted(marks))
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror or error}); the verdict is not kept") from error
        self._marks = marks
        return mark


_COLUMNS = tuple(field.name for field in fields(Mark))
_NEEDED = _COLUMNS[:3]


def _read(path: Path) -> dict[str, Mark]:
    """The rows of a `review.csv` by sequence, none where there is no file; a table without the last column has no notes."""
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            table = csv.reader(stream, strict=True)
            header = tuple(next(table, ()))
            if header not in (_COLUMNS, _NEEDED):
                raise UserError(_malformed(path, 1, f"the columns are {', '.join(header) or 'none'}"))
            marks: dict[str, Mark] = {}
            for row in filter(None, table):
                if fault := _fault(row, header, marks):
                    raise UserError(_malformed(path, table.line_num, fault))
                marks[row[0]] = Mark(*row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
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
