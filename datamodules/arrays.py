"""The arrays of a data file by name, whatever the container: `.npz`, `.npy`, `.pt` or `.pkl`. Nothing is loaded before it is asked for."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from pose_priors.configs.base import UserError
from pose_priors.datamodules.safe_pickle import load_pickle, load_torch, unpickle

SUFFIXES = (".npz", ".npy", ".pt", ".pkl")
UNNAMED = "array"
"""Name given to the only array of a file that has no names."""


@dataclass(frozen=True)
class Entry:
    """One array of a file: its shape, and how to get its values.

    Args:
        shape: of the array; () for scalars and for anything that is no array.
        kind: what it holds, for error messages: the dtype, or the Python type of what is no array.
        load: returns the array, memory-mapped where the container allows it; raises `UserError` if it is damaged.
    """

    shape: tuple[int, ...]
    kind: str
    load: Callable[[], np.ndarray]


def open_arrays(path: Path) -> dict[str, Entry]:
    """The named arrays of a file. A file of one array without a name has the single key `UNNAMED`.

    Raises:
        UserError: if the file cannot be read, names a class that is not allowed, or has another suffix than those of `SUFFIXES`.
    """
    try:
        if path.suffix == ".npz":
            return _open_npz(path)
        if path.suffix == ".npy":
            return _open_npy(path)
        if path.suffix == ".pt":
            return _entries(load_torch(path))
        if path.suffix == ".pkl":
            return _entries(load_pickle(path))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read as {path.suffix} ({' '.join(str(error).split())})") from error
    raise UserError(f"{path}: unknown kind of file; known are {', '.join(SUFFIXES)}")


def describe(entries: Mapping[str, Entry]) -> str:
    """Keys with shapes on one line, for errors."""
    return ", ".join(f"{name} {entry.shape if entry.shape else entry.kind}" for name, entry in entries.items()) or "nothing"


def _entries(content: Any) -> dict[str, Entry]:
    if isinstance(content, np.ndarray) and content.dtype == object and content.shape == ():
        content = content.item()
    if isinstance(content, Mapping):
        return {str(name): _entry(value) for name, value in content.items()}
    return {UNNAMED: _entry(content)}


def _entry(value: Any) -> Entry:
    if isinstance(value, torch.Tensor):
        tensor = value.detach()
        return Entry(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), tensor.numpy)
    if isinstance(value, (np.ndarray, np.generic, bool, int, float, str)):
        array = np.asarray(value)
        return Entry(array.shape, array.dtype.name, lambda: array)
    return Entry((), type(value).__name__, lambda: np.asarray(np.nan))


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def _open_npy(path: Path) -> dict[str, Entry]:
    with path.open("rb") as stream:
        shape, dtype = _header(stream)
        if dtype.hasobject:
            return _entries(unpickle(stream, str(path)))
    return {UNNAMED: Entry(shape, dtype.name, _whole(path, UNNAMED, lambda: np.load(path, mmap_mode="r", allow_pickle=False)))}


def _whole(path: Path, name: str, load: Callable[[], np.ndarray]) -> Callable[[], np.ndarray]:
    """`load`, but damage that shows only when the values are read is a `UserError` too."""

    def loaded() -> np.ndarray:
        try:
            return load()
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{path}: '{name}' cannot be read ({error}); is the file complete?") from error

    return loaded


def _open_npz(path: Path) -> dict[str, Entry]:
    def load(member: str) -> np.ndarray:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            _, dtype = _header(stream)
            if dtype.hasobject:
                return np.asarray(unpickle(stream, f"{path}: {member}"))
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[member.removesuffix(".npy")]

    entries = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                with archive.open(member) as stream:
                    shape, dtype = _header(stream)
                name = member.removesuffix(".npy")
                entries[name] = Entry(shape, dtype.name, _whole(path, name, lambda member=member: load(member)))
    return entries
