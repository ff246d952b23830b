"""What a tool left at a path, read once however many formats look at it, and its named values, asked for by shape."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pose_priors.body import conversions
from pose_priors.configs.base import UserError
from pose_priors.datamodules.arrays import open_arrays, open_npz, read_npy
from pose_priors.datamodules.containers.fields import Fields as Fields  # with `Source` all that a format of another package needs
from pose_priors.datamodules.containers.fields import described as described
from pose_priors.datamodules.safe_pickle import load_pickle

_PICKLES = (".pkl", ".pt", ".pth")


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
        out[finite] = conversions.rotmat_to_rotvec(conversions.special_procrustes(known))
    return out.numpy()
