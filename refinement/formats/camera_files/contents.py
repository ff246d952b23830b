"""What a file of cameras holds, without loading the images that tools keep beside the cameras."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.configs.base import UserError, listed
from pose_priors.datamodules.arrays import Entry, describe, open_arrays
from pose_priors.refinement.formats.source import Fields, Source, described

_OBJECTS = (".pkl", ".pt", ".pth", ".npy")


class Named:
    """The named values of one file; those of an `.npz` are loaded when they are asked for.

    Raises:
        UserError: if the file cannot be read; and, by `fields` and `raw`, if a value cannot.
    """

    def __init__(self, source: Source, file: Path) -> None:
        self.file = file
        self._entries: Mapping[str, Entry] = open_arrays(file) if file.suffix == ".npz" else {}
        content = {} if self._entries or file.suffix not in _OBJECTS else source.load(file)
        self._content: Mapping[str, Any] = {str(key): value for key, value in content.items()} if isinstance(content, Mapping) else {}

    @property
    def names(self) -> set[str]:
        return {*self._entries, *self._content}

    def raw(self, name: str) -> Any:
        """The value of that name. Raises `KeyError` if there is none."""
        return self._entries[name].load() if name in self._entries else self._content[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the array of that name; () where there is none, or no array."""
        if name in self._entries:
            return self._entries[name].shape
        return tuple(getattr(self._content.get(name), "shape", ()))

    def fields(self, *names: str) -> Fields:
        """These of the values, as far as they are there."""
        return Fields({name: self.raw(name) for name in names if name in self.names}, str(self.file))

    def described(self) -> str:
        """What is in it, in a few words."""
        return describe(self._entries) if self._entries else described(self._content)


def numbers_of(value: Any) -> np.ndarray:
    """An array or tensor of numbers as it is in memory, halves included. Raises `UserError` for anything else."""
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, and types that numpy has none of
        raise UserError(f"{described(value)}; numbers are expected") from error
    if array.dtype.kind not in "fiu":
        raise UserError(f"{described(value)}; numbers are expected")
    return array


def frames_of(named: Named, num: int) -> tuple[np.ndarray, bool]:
    """The frames of `num` poses by `frame_ids` beside them, or their count; and whether they are merely counted.

    Raises:
        UserError: if there are not as many, or they do not increase.
    """
    fields = named.fields("frame_ids")
    if "frame_ids" not in fields:
        return np.arange(num), True
    return increasing(fields.whole("frame_ids", num), f"{named.file}: 'frame_ids'"), False


def increasing(frames: np.ndarray, source: str) -> np.ndarray:
    """Frame numbers as they are. Raises `UserError` if they do not increase."""
    if (np.diff(frames) <= 0).any():
        raise UserError(f"{source}: frames {listed(frames.tolist())} are expected to increase")
    return frames


def contents_of(source: Source) -> str:
    """What a path holds, in a few words."""
    if source.path.is_dir():
        return listed(sorted(entry.name for entry in source.path.iterdir()), 10) or "nothing"
    try:
        return Named(source, source.path).described() if source.path.suffix in (".npz", *_OBJECTS) else "what none of them writes"
    except UserError as error:
        return f"what cannot be read ({error})"
