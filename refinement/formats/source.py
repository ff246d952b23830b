"""What a tool left at a path, read once however many formats look at it, and its named values, asked for by shape."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch

from pose_priors.configs.base import UserError
from pose_priors.datamodules.arrays import open_arrays, open_npz, read_npy
from pose_priors.datamodules.safe_pickle import load_pickle
from pose_priors.refinement.formats.files import listed

_PICKLES = (".pkl", ".pt", ".pth")
_MOST_KEYS = 12
_MOST = 1e12
_MOST_WHOLE = 1_000_000  # frames of nine hours; a clip has a row of arrays for each


class Source:
    """A file, or the folder that a tool wrote its files into.

    Args:
        path: of either.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: dict[Path, Any] = {}

    @property
    def folder(self) -> Path:
        """The folder, or that of the file."""
        return self.path if self.path.is_dir() else self.path.parent

    def file(self, *patterns: str) -> Path | None:
        """The path itself if it is a file with the suffix of one of these, whatever its name; else the last of those below the folder that
        match the first pattern that any matches (of results numbered by iteration, the last)."""
        if self.path.is_file():
            return self.path if any(self.path.suffix == Path(pattern).suffix for pattern in patterns) else None
        found = (sorted(self.path.glob(pattern)) for pattern in patterns)
        return next((files[-1] for files in found if files), None)

    def only(self, *patterns: str) -> Path | None:
        """As `file`, but None where several files below the folder match: of tools that put the results of many clips into one folder."""
        if self.path.is_file():
            return self.file(*patterns)
        found = {path for pattern in patterns for path in self.path.glob(pattern)}
        return found.pop() if len(found) == 1 else None

    def named(self, *patterns: str) -> bool:
        """Whether a file bears the name that its tool gives it, by one of the patterns of `file`; all that a folder holds were found so."""
        own = [Path(pattern).name for pattern in patterns]
        return self.path.is_dir() or any(fnmatch.fnmatch(self.path.name, name) for name in own if not name.startswith("*."))

    def beside(self, *patterns: str) -> Path | None:
        """The last file that matches the first pattern that any matches, from the folder."""
        found = (sorted(self.folder.glob(pattern)) for pattern in patterns)
        return next((files[-1] for files in found if files), None)

    def existing(self, file: Path | None, tool: str) -> Path:
        """A file that was looked for here. Raises `UserError` if none was found."""
        if file is None:
            raise UserError(f"{self.path}: no file, or none of its own, that {tool} writes")
        return file

    def load(self, file: Path) -> Any:
        """What the file holds: the object of a pickle or of a pickled `.npy`, the arrays of an `.npz` by name.

        Raises:
            UserError: if it cannot be read, or names anything but arrays, tensors and plain containers; each time it is asked for.
        """
        if file not in self._read:
            try:
                self._read[file] = _load(file)
            except UserError as error:
                self._read[file] = error
        if isinstance(self._read[file], UserError):
            raise self._read[file]
        return self._read[file]

    def holds(self, file: Path | None, *keys: str) -> bool:
        """Whether the file is a readable dict with all of these keys. Raises `UserError` as `load` does."""
        content = self.load(file) if file is not None else None
        return isinstance(content, Mapping) and set(keys) <= content.keys()


def _load(file: Path) -> Any:
    if file.suffix in _PICKLES:
        return load_pickle(file)
    if file.suffix == ".npy":
        return read_npy(file)
    return {name: entry.load() for name, entry in (open_npz if file.suffix == ".npz" else open_arrays)(file).items()}


class Fields:
    """The values of one dict in a tool's file.

    Attributes:
        content: the dict.
        source: file, and where in it, for messages.
        sizes: the sizes that letters stand for in `array`, as far as they are known.
    Raises:
        UserError: if it is no dict.
    """

    def __init__(self, content: Any, source: str) -> None:
        if not isinstance(content, Mapping):
            raise UserError(f"{source}: holds {described(content)}; named values are expected")
        self.content, self.source = content, source
        self.sizes: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return self.content.get(name) is not None

    def within(self, name: str) -> Fields:
        """The dict of that name. Raises `UserError` if there is none."""
        return Fields(self.raw(name), f"{self.source}: '{name}'")

    def raw(self, name: str) -> Any:
        """The value of that name as it is. Raises `UserError` with the names that are there if there is none."""
        if name not in self:
            raise UserError(f"{self.source}: no '{name}'; it holds {described(self.content)}")
        return self.content[name]

    def array(self, name: str, *shape: int | str | None) -> np.ndarray:
        """The numbers of that name as float64; those beyond 1e12, which no unit explains, say nothing and are NaN.

        Args:
            shape: what is expected; a letter stands for a size that must be the same wherever it is asked for, None for any size. No shape
                at all takes any.
        Raises:
            UserError: if there is no such value, it holds no numbers, it is empty, or it has another shape.
        """
        value = self.raw(name)
        try:
            value = value.detach().cpu().double().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
            if value.dtype.kind in "SUVcmM":
                raise ValueError("text, or what is no real number")
            value = value.astype(float)
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{self.source}: '{name}' is {described(value)}; numbers are expected") from error
        value = np.where(np.abs(value) < _MOST, value, np.nan)
        if not value.size:
            raise UserError(f"{self.source}: '{name}' is empty, of shape {value.shape}")
        if shape and not self._fits(value.shape, shape):
            expected = ", ".join("any" if size is None else str(size) for size in shape)
            known = ", ".join(f"{name} = {size}" for name, size in self.sizes.items() if name in shape)
            raise UserError(
                f"{self.source}: '{name}' has shape {value.shape}; ({expected}{',' * (len(shape) == 1)}) is expected"
                + (f" with {known}" if known else "")
            )
        return value

    def number(self, name: str) -> float:
        """The one number of that name, finite. Raises `UserError` as `array` does, or if there are more or none."""
        value = self.array(name)
        if value.size != 1 or not np.isfinite(value).all():
            found = "is not finite" if value.size == 1 else f"has shape {value.shape}"
            raise UserError(f"{self.source}: '{name}' {found}; one number is expected")
        return float(value.reshape(()))

    def whole(self, name: str, *shape: int | str | None) -> np.ndarray:
        """Numbers of frames or pixels, int64. Raises `UserError` as `array` does, or if one is no whole number from 0 to a million."""
        value = self.array(name, *shape)
        if not ((value >= 0) & (value < _MOST_WHOLE) & (value == np.rint(value))).all():
            raise UserError(f"{self.source}: '{name}' holds others than whole numbers from 0 to {_MOST_WHOLE - 1:,}")
        return value.astype(np.int64)

    def _fits(self, found: tuple[int, ...], shape: tuple[int | str | None, ...]) -> bool:
        if len(found) != len(shape):
            return False
        sizes = dict(self.sizes)
        for size, wanted in zip(found, shape, strict=True):
            if wanted is not None and size != (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted):
                return False
        self.sizes = sizes
        return True


def described(content: Any) -> str:
    """What a value is, in a few words, for errors: the keys of a dict with the shapes of their values."""
    if isinstance(content, Mapping):
        return listed([f"{key} {_short(value)}" for key, value in content.items()], _MOST_KEYS) or "an empty dict"
    return _short(content)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{listed([str(key) for key in value], 6)}}}"
    if isinstance(value, np.ndarray) and value.dtype == object and value.shape == ():
        return _short(value.item())
    if hasattr(value, "shape"):
        return f"{tuple(value.shape)}"
    return f"({type(value).__name__}{f' of {len(value)}' if isinstance(value, list | tuple) else ''})"


def rotvecs(rotmat: np.ndarray, source: str) -> np.ndarray:
    """Rotation vectors (..., 3) of matrices (..., 3, 3) of any float precision, nan where a matrix is not finite.

    Raises:
        UserError: if one is no rotation.
    """
    matrix = torch.from_numpy(np.asarray(rotmat, float))
    finite = torch.isfinite(matrix).all(-1).all(-1)
    known = matrix[finite]
    off = (known @ known.transpose(-1, -2) - torch.eye(3, dtype=known.dtype)).abs()
    if len(known) and (off.max() > 0.01 or torch.linalg.det(known).min() < 0):
        raise UserError(f"{source} holds matrices that are no rotations (off by {float(off.max()):.2g}); are they transposed or scaled?")
    out = torch.full(matrix.shape[:-1], torch.nan, dtype=matrix.dtype)
    if len(known):
        out[finite] = roma.rotmat_to_rotvec(roma.special_procrustes(known))
    return out.numpy()
