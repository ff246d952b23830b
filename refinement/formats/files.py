"""Reading a stage folder: numbered files, arrays under any of their names, small JSON files; each failure names file, key and cause."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.configs.base import UserError, listed, reason_of
from pose_priors.datamodules.arrays import UNNAMED, Entry, describe, open_arrays
from pose_priors.datamodules.containers.json_files import load_json

_MOST_DIGITS = 18
_MOST_WHOLE = 2**53


def numbered_files(folder: Path, suffixes: Sequence[str], prefix: str = "") -> dict[int, Path]:
    """The files of a folder whose names begin so, by the last number in their names; an absent folder holds none."""
    if not os.path.isdir(folder):  # also of a name that is too long for a file system
        return {}
    found = {}
    for path in sorted(folder.iterdir()):
        named = path.suffix in suffixes and path.name.startswith(prefix)
        if named and (digits := re.findall(r"[0-9]+", path.stem)) and len(digits[-1]) <= _MOST_DIGITS:
            found[int(digits[-1])] = path
    return found


def existing_folder(folder: Path, stage: str) -> Path:
    """The folder of a stage. Raises `UserError` if there is none."""
    if not os.path.isdir(folder):  # also of a name that is too long for a file system
        raise UserError(f"{folder}: no such folder; {stage} is needed, run it first or give the folder that holds its files")
    return folder


def existing_file(path: Path, purpose: str) -> Path:
    """A file that cannot be done without. Raises `UserError` if there is none, and lists what its folder holds."""
    if not path.exists():
        beside = sorted(p.name for p in path.parent.iterdir())[:8] if path.parent.is_dir() else []
        raise UserError(f"{path}: no such file; it holds {purpose}; beside it: {', '.join(beside) or 'nothing'}")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, empty if there is no such file. Raises `UserError` if it is not readable as an object."""
    if not path.exists():
        return {}
    content = load_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}; an object with named fields is expected")
    return content


def numbers(value: Any, source: str) -> np.ndarray:
    """An array of numbers, whole ones as they are and others as floats, of whatever a file holds.

    Args:
        value: an array of numbers, truth values or objects, or lists of numbers as JSON has them.
        source: what to call it in errors.
    Raises:
        UserError: if it is text, or holds anything but numbers, or lists of different lengths.
    """
    try:
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
        if array.dtype == object:
            array = array.astype(float)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{source} holds no numbers ({reason_of(error)})") from error
    if array.dtype.kind not in "biuf":
        raise UserError(f"{source} holds no numbers but {array.dtype}")
    return array.astype(float) if array.dtype.itemsize > 8 else array


def whole_numbers(value: Any, source: str) -> np.ndarray:
    """As `numbers`, but whole ones, int64. Raises `UserError` for fractions, NaN, and what is beyond 2**53 as well."""
    array = numbers(value, source)
    if array.size and not ((np.abs(array.astype(float)) <= _MOST_WHOLE) & (array == np.rint(array))).all():
        raise UserError(f"{source} holds {listed(array.reshape(-1).tolist(), 3)}; whole numbers are expected")
    return array.astype(np.int64)


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
        """The numbers of the first of these that the file holds, in memory, or None. Raises `UserError` if they are damaged, or none."""
        return None if (found := self._first(names)) is None else np.array(numbers(found[1], f"{self.path}: '{found[0]}'"))

    def text(self, *names: str) -> str | None:
        """The first of these that the file holds, as text; None if it holds none. Raises `UserError` if it is several, or no text."""
        if (found := self._first(names)) is None:
            return None
        value = found[1]
        if value.size != 1 or not isinstance(alone := value.reshape(-1)[0], str | bytes):
            raise UserError(f"{self.path}: '{found[0]}' is {value.dtype} of shape {value.shape}; text is expected")
        return alone.decode("latin1") if isinstance(alone, bytes) else str(alone)

    def need(self, *names: str) -> np.ndarray:
        """The numbers of the first of these that the file holds. Raises `UserError` with the keys that are there if it holds none."""
        found = self.get(*names)
        if found is None:
            raise UserError(f"{self.path}: none of the keys {', '.join(names)}; it holds {describe(self._entries)}")
        return found

    def scalar(self, *names: str) -> float | None:
        """The first of these that the file holds, as a number; None if it holds none, or an array of several numbers, or text."""
        found = self._first(names)
        return None if found is None or found[1].size != 1 or found[1].dtype.kind not in "fiub" else float(found[1].reshape(()))

    def _first(self, names: Sequence[str]) -> tuple[str, np.ndarray] | None:
        held = next((self._names[name.lower()] for name in names if name in self), None)
        return None if held is None else (held, self._entries[held].load())


def read_array(path: Path) -> np.ndarray:
    """The one array of a `.npy` file, in memory. Raises `UserError` if it cannot be read or holds named arrays."""
    return np.array(Arrays(path).need(UNNAMED))
