"""The arrays of a data file by name, whatever the container: `.npz`, `.npy`, `.pt` or `.pkl`; of recorded skeletons, `.bvh` and `.amc`, the
poses that they are on SMPL-X's joints. Nothing is loaded before it is asked for.

A file is opened once: what was looked at is what is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pose_priors.body.pose_vectors import OF_MATRICES
from pose_priors.configs.base import UserError, reason_of
from pose_priors.datamodules.capture.as_poses import READERS, recorded_poses
from pose_priors.datamodules.capture.dialects import as_amass
from pose_priors.datamodules.containers.npy import array_of, checked_size, read_header, sound
from pose_priors.datamodules.containers.regular import open_regular
from pose_priors.datamodules.containers.zips import Zip
from pose_priors.datamodules.safe_pickle import load_pickle, load_torch, unpickle

SUFFIXES = (".npz", ".npy", ".pt", ".pkl", ".motion", *READERS)
UNNAMED = "array"
"""Name given to the only array of a file that has no names."""
_MOST_HEADER = (1 << 16) + 16
_OF_ROMP = ({"results"}, {"results", "sequence_results"})  # of an image, of a video: one object in which all is
_MOST_NESTED = 8  # lists in lists


@dataclass(frozen=True)
class Entry:
    """One array of a file: its shape, and how to get its values.

    Args:
        shape: of the array; () for scalars and for anything that is no array.
        kind: what it holds, for error messages: the dtype, or the Python type of what is no array.
        load: returns the array, memory-mapped where the container allows it; raises `UserError` if it is damaged.
        is_packed: whether it is compressed in the file.
    """

    shape: tuple[int, ...]
    kind: str
    load: Callable[[], np.ndarray]
    is_packed: bool = False


def is_of_romp(path: Path) -> bool:
    """Whether a file is an `.npz` of ROMP's, whose arrays lie in one object."""
    return path.suffix == ".npz" and set(open_npz(path)) in _OF_ROMP


def open_arrays(path: Path, *, drawn: bool = False) -> dict[str, Entry]:
    """The named arrays of a file. A file of one array without a name has the single key `UNNAMED`.

    Args:
        drawn: of recorded skeletons, whether poses are drawn from those that they may have been, see `capture.as_poses`.
    Raises:
        UserError: if the file cannot be read, names a class that is not allowed, or has another suffix than those of `SUFFIXES`.
    """
    if path.suffix == ".npz":
        entries = open_npz(path)
        if set(entries) not in _OF_ROMP:
            return entries
        return _entries(as_amass({"results": entries["results"].load()}, str(path)), path)
    if path.suffix == ".npy":
        return _open_npy(path)
    if path.suffix in (".pt", ".motion"):  # ProtoMotions' are torch's
        return _entries(as_amass(load_torch(path), str(path)), path)
    if path.suffix == ".pkl":
        return _entries(as_amass(load_pickle(path), str(path)), path)
    if path.suffix in READERS:
        return _entries(recorded_poses(path, drawn=drawn), path)
    raise UserError(f"{path}: unknown kind of file; known are {', '.join(SUFFIXES)}")


def describe(entries: Mapping[str, Entry]) -> str:
    """Keys with shapes on one line, for errors; and what to do where they are of rotation matrices."""
    text = ", ".join(f"{reason_of(name)} {entry.shape if entry.shape else entry.kind}" for name, entry in entries.items()) or "nothing"
    of_matrices = any(len(entry.shape) > 3 and entry.shape[-2:] == (3, 3) for entry in entries.values())
    return f"{text}; {OF_MATRICES}" if of_matrices else text


def _entries(content: Any, source: Path) -> dict[str, Entry]:
    if isinstance(content, np.ndarray) and content.dtype == object and content.shape == ():
        content = content.item()
    if not isinstance(content, Mapping):
        return {UNNAMED: _entry(content)}
    entries = {str(name): _entry(value) for name, value in content.items()}
    if len(entries) < len(content):
        twice = next(name for name in entries if sum(str(other) == name for other in content) > 1)
        raise UserError(f"{source}: two values named {twice!r}, one by text and one by what reads the same; one of each name is expected")
    return entries


def _entry(value: Any) -> Entry:
    if isinstance(value, torch.Tensor):
        tensor = value.detach()
        name = str(tensor.dtype).removeprefix("torch.")
        return Entry(tuple(tensor.shape), name, tensor.float().numpy if tensor.dtype == torch.bfloat16 else tensor.numpy)
    if isinstance(value, list | tuple) and _holds_numbers(value):
        with suppress(ValueError, OverflowError):  # of lists of unequal lengths
            value = np.asarray(value)
    if isinstance(value, (np.ndarray, np.generic, bool, int, float, str, bytes)):
        array = np.asarray(value) if not isinstance(value, int) or abs(value) < 1 << 63 else np.asarray(float(value))
        return Entry(array.shape, array.dtype.name, lambda: array)
    return Entry((), type(value).__name__, lambda: np.asarray(np.nan))


def _holds_numbers(value: Any) -> bool:
    """Whether the first thing in lists of lists is a number."""
    for _ in range(_MOST_NESTED):
        if not isinstance(value, list | tuple) or not value:
            break
        value = value[0]
    return isinstance(value, int | float)


def read_npy(path: Path) -> Any:
    """What a `.npy` file holds: its array, memory-mapped, or the object that is pickled in it.

    Raises:
        UserError: if it cannot be read, or its pickle names what is not allowed.
    """
    stream = open_regular(path)
    try:
        shape, fortran, dtype = read_header(stream)
        if dtype.hasobject:
            content = unpickle(stream, str(path))
            return content.item() if isinstance(content, np.ndarray) and content.shape == () else content
        here = stream.tell()
        checked_size(dtype, shape, os.fstat(stream.fileno()).st_size - here, at_least=True)
        if not np.prod(shape):
            return np.zeros(shape, dtype)
        return sound(np.memmap(stream, dtype, "r", here, shape, "F" if fortran else "C"))
    except UserError:
        raise
    except Exception as error:  # numpy's own reader of headers
        raise UserError(f"{path}: cannot be read as .npy ({reason_of(error)})") from error
    finally:
        stream.close()


def _open_npy(path: Path) -> dict[str, Entry]:
    content = read_npy(path)
    return (
        {UNNAMED: Entry(content.shape, content.dtype.name, lambda: content)} if isinstance(content, np.memmap) else _entries(content, path)
    )


def open_npz(path: Path) -> dict[str, Entry]:
    """The arrays of an `.npz` as they are named there; one that holds an object is an array of it. Raises `UserError` as `open_arrays`."""
    archive = Zip(path)
    entries = {}
    for member in archive.names:
        if member.endswith(".npy"):
            name = member.removesuffix(".npy")
            try:
                stream = BytesIO(archive.read(member, _MOST_HEADER))
                shape, _, dtype = read_header(stream)
                if not dtype.hasobject:
                    checked_size(dtype, shape, archive.size(member) - stream.tell())
            except ValueError as error:
                raise UserError(f"{path}: '{name}' cannot be read ({reason_of(error)}); is the file complete?") from error
            entries[name] = Entry(shape, dtype.name, _loader(archive, member, stream.tell()), archive.is_packed(member))
    return entries


def _loader(archive: Zip, member: str, start: int) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        data = archive.read(member)
        shape, fortran, dtype = read_header(BytesIO(data[:start]))
        if not dtype.hasobject:
            try:
                return array_of(memoryview(data)[start:], dtype, shape, fortran)
            except ValueError as error:
                raise UserError(f"{archive.origin}: '{member.removesuffix('.npy')}' cannot be read ({reason_of(error)})") from error
        content = unpickle(data[start:], f"{archive.origin}: {member}")
        if isinstance(content, np.ndarray):
            return content
        alone = np.empty((), dtype=object)
        alone[()] = content
        return alone

    return load
