"""Reading a stage folder: numbered files, arrays under any of their names, small JSON files; each failure names file, key and cause."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.datamodules.arrays import UNNAMED, Entry, describe, open_arrays


def numbered_files(folder: Path, suffixes: Sequence[str]) -> dict[int, Path]:
    """The files of a folder by the last number in their names; an absent folder holds none."""
    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in suffixes and (numbers := re.findall(r"\d+", path.stem)):
            found[int(numbers[-1])] = path
    return found


def existing_folder(folder: Path, stage: str) -> Path:
    """The folder of a stage. Raises `UserError` if there is none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {stage} is needed, run it first or give the folder that holds its files")
    return folder


def existing_file(path: Path, purpose: str) -> Path:
    """A file that cannot be done without. Raises `UserError` if there is none, and lists what its folder holds."""
    if not path.is_file():
        beside = sorted(p.name for p in path.parent.iterdir())[:8] if path.parent.is_dir() else []
        raise UserError(f"{path}: no such file; it holds {purpose}; beside it: {', '.join(beside) or 'nothing'}")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, empty if there is no such file. Raises `UserError` if it is not readable as an object."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}; an object with named fields is expected")
    return content


class Arrays:
    """The named arrays of one file, asked for by any of their names (case does not matter)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: Mapping[str, Entry] = open_arrays(path)
        self._names = {name.lower(): name for name in self._entries}

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._names

    @property
    def names(self) -> list[str]:
        return list(self._entries)

    def get(self, *names: str) -> np.ndarray | None:
        """The first of these that the file holds, in memory, or None. Raises `UserError` if it is damaged."""
        for name in names:
            if name in self:
                return np.array(self._entries[self._names[name.lower()]].load())
        return None

    def need(self, *names: str) -> np.ndarray:
        """The first of these that the file holds. Raises `UserError` with the keys that are there if it holds none."""
        found = self.get(*names)
        if found is None:
            raise UserError(f"{self.path}: none of the keys {', '.join(names)}; it holds {describe(self._entries)}")
        return found

    def scalar(self, *names: str) -> float | None:
        """The first of these that the file holds, as a number; None if it holds none, or an array of several numbers, or text."""
        found = self.get(*names)
        return None if found is None or found.size != 1 or found.dtype.kind not in "fiub" else float(found.reshape(()))


def read_array(path: Path) -> np.ndarray:
    """The one array of a `.npy` file, in memory. Raises `UserError` if it cannot be read or holds named arrays."""
    return np.array(Arrays(path).need(UNNAMED))


def listed(items: Sequence[object], most: int = 5) -> str:
    """Items for a one-line message, the first few of many."""
    shown = ", ".join(str(item) for item in items[:most])
    return shown if len(items) <= most else f"{shown}, ... ({len(items)} in all)"
