"""Tables in CSV that a spreadsheet shows and does not run: text that it would take for a formula is quoted by an apostrophe."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pose_priors.configs.writing import written_aside

_RUN = tuple("=+-@\t\r\n")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a header and a row for each mapping; the file appears whole or not at all. Names of files that are no text
    are told by their bytes' codes. Raises `OSError` if it cannot be written."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        table = csv.DictWriter(stream, columns)
        table.writeheader()
        table.writerows({name: quoted(value) for name, value in row.items()} for row in rows)


def quoted(value: Any) -> Any:
    """A cell as it is written: text that would run gets an apostrophe before it; numbers, and text of numbers, stay what they are."""
    return f"'{value}" if isinstance(value, str) and _would_run(value) else value


def unquoted(text: str) -> str:
    """A cell that was written so, as it was before."""
    return text[1:] if text.startswith("'") and _would_run(text) else text


def _would_run(text: str) -> bool:
    return text.lstrip("'").startswith(_RUN) and not _NUMBER.fullmatch(text)
