"""What the tasks find: tables that are printed, and written as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pose_priors.configs.writing import write_json, written_aside

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
    """

    key: str
    title: str
    rows: Mapping[str, Mapping[str, float | None]]
    lower_is_better: tuple[str, ...] = ()
    higher_is_better: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

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
        """The rows as text, the candidate's name first; the best of each column in Markdown's bold."""
        best = {column: self.best(column) for column in self.columns}
        return [[name, *(_cell(row.get(column), best[column]) for column in self.columns)] for name, row in self.rows.items()]

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
    with written_aside(output / "tables.md") as aside:
        aside.write_text("\n".join(table.markdown() for table in tables))


def _cell(value: float | None, best: float | None) -> str:
    if value is None:
        return "-"
    text = str(value) if isinstance(value, int) else f"{value:.{_digits(value)}f}"
    return f"**{text}**" if value == best else text


def _digits(value: float) -> int:
    return 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3
