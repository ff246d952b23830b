"""What a benchmark hands over: its table, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pose_priors.configs.writing import write_json, write_text


def report(folder: Path, name: str, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes `<name>.md` and `<name>.json` into a folder, which is made where there is none, and prints the table."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.md", table)
    write_json(folder / f"{name}.json", rows)
    print(table)
