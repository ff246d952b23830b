"""What the tasks find: tables that are printed, and written as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import Tensor

from pose_priors.benchmarks.priors.significance import SURE, Lead, lead, standard_error
from pose_priors.configs.writing import write_json, write_text

_AHEAD = "best ahead of second"
_OF_SCORES = (
    f"±: the standard error over poses. Bold: ahead of every other row by Student's test of the differences pose by pose "
    f"({100 * SURE:g} %); the last row has the difference to the second."
)
_MIN_WIDTH = 160


@dataclass(frozen=True)
class ResultTable:
    """One table.

    Args:
        key: its name in `metrics.json`.
        title: what is measured, on what, in which unit, in one line.
        rows: for each candidate, by its name, the value of each column; None where there is no such number, which is shown as a dash.
        lower_is_better: columns in which the smallest value is the best; the largest is in `higher_is_better`; others have no best.
        higher_is_better: see there.
        notes: what a reader has to know, such as why a number is missing.
        errors: standard errors of the values that have one.
        leads: of columns that were compared pose by pose, how far the best is ahead: it is marked only if that is sure.
    """

    key: str
    title: str
    rows: Mapping[str, Mapping[str, float | None]]
    lower_is_better: tuple[str, ...] = ()
    higher_is_better: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    leads: Mapping[str, Lead] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """All columns, in the order of their first appearance."""
        return list(dict.fromkeys(column for row in self.rows.values() for column in row))

    def best(self, column: str) -> float | None:
        """The best value of a column, or None if it has none."""
        values = [value for row in self.rows.values() if (value := row.get(column)) is not None]
        if not values or column not in self.lower_is_better + self.higher_is_better:
            return None
        return min(values) if column in self.lower_is_better else max(values)

    def cells(self) -> list[list[str]]:
        """The rows as text, the candidate's name first; the best of each column in Markdown's bold. A last row tells how far they lead,
        where that is known."""
        rows = [[name, *(self._cell(name, column) for column in self.columns)] for name in self.rows]
        if self.leads:
            rows.append([_AHEAD, *(_ahead(self.leads.get(column)) for column in self.columns)])
        return rows

    def _cell(self, name: str, column: str) -> str:
        value, error = self.rows[name].get(column), self.errors.get(name, {}).get(column)
        if value is None:
            return "-"
        text = str(value) if isinstance(value, int) else f"{value:.{_digits(value)}f}"
        if error is not None:
            text += f" ± {error:.{_digits(value)}f}"
        found = self.leads.get(column)
        is_marked = value == self.best(column) if found is None else found.is_sure and found.first == name
        return f"**{text}**" if is_marked else text

    def markdown(self) -> str:
        """Title, table and notes."""
        lines = [f"### {self.title}", "", f"| | {' | '.join(self.columns)} |", "|---" * (len(self.columns) + 1) + "|"]
        lines += [f"| {' | '.join(cells)} |" for cells in self.cells()]
        return "\n".join([*lines, *(line for note in self.notes for line in ("", note)), ""])

    def show(self) -> None:
        """Prints it."""
        table = Table(title=self.title)
        table.add_column("", no_wrap=True)
        for column in self.columns:
            table.add_column(column, justify="right")
        for cells in self.cells():
            table.add_row(*(cell.replace("**", "") for cell in cells))
        console = Console()
        console = Console(width=None if console.is_terminal else max(console.width, _MIN_WIDTH), markup=False)
        console.print(table, *self.notes, sep="\n")


def write_tables(tables: Sequence[ResultTable], about: Mapping[str, Any], output: Path) -> None:
    """Writes `metrics.json` (`about`, and the tables by their key) and `tables.md` into a folder, which is made."""
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "metrics.json", {"about": about, "tables": {table.key: asdict(table) for table in tables}})
    write_text(output / "tables.md", "\n".join(table.markdown() for table in tables))


def table_of_scores(
    key: str,
    title: str,
    scores: Mapping[str, Mapping[str, Tensor | None]],
    *notes: str,
    higher_is_better: bool = False,
    more: Mapping[str, Mapping[str, float | None]] | None = None,
) -> ResultTable:
    """A table of means over poses, with standard errors and the lead of the best in each column.

    Args:
        key, title, notes: as `ResultTable`.
        scores: for each candidate, by its name, what each of the N poses scores in each column, (N,); None where it has no such score.
        higher_is_better: in all columns.
        more: further columns by candidate, which are not compared.
    """
    columns = tuple(dict.fromkeys(column for row in scores.values() for column in row))
    rows: dict[str, dict[str, float | None]] = {}
    errors: dict[str, dict[str, float]] = {}
    for name, row in scores.items():
        known = {column: values for column, values in row.items() if values is not None}
        rows[name] = dict.fromkeys(row) | {column: float(values.mean()) for column, values in known.items()}
        rows[name] |= (more or {}).get(name, {})
        errors[name] = {column: standard_error(values) for column, values in known.items() if len(values) > 1}
    leads = {}
    for column in columns:
        compared = {name: values for name, row in scores.items() if (values := row.get(column)) is not None}
        if found := lead(compared, not higher_is_better):
            leads[column] = found
    compared_columns = tuple(leads)
    lower, higher = ((), compared_columns) if higher_is_better else (compared_columns, ())
    return ResultTable(key, title, rows, lower, higher, (*notes, _OF_SCORES), errors, leads)


def _ahead(found: Lead | None) -> str:
    if found is None:
        return "-"
    digits = _digits(found.by)
    return f"{found.by:.{digits}f} ± {found.error:.{digits}f}"


def _digits(value: float) -> int:
    return 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3
