"""What frames of a file hold beside the 22 joints that are looked at: hands, fingers, jaw and eyes; expressions and sizes of each frame."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.interpolation import lerp_missing, slerp_missing
from pose_priors.datamodules.arrays import Entry
from pose_priors.datamodules.formats import FIELDS
from pose_priors.datamodules.plausibility import are_turns

Kind = Literal["vectors", "matrices", "numbers"]
"""Rotation vectors, rotation matrices, or numbers that are none of a rotation."""

_TURNS = {name: tuple(widths) for names, widths in FIELDS.items() for name in names}
_SHAPES, _VALUES = ("betas", "shapes", "smplx_shape"), ("expression", "expressions", "dmpls", "smplx_expr")
_SIZES: dict[Kind, int] = {"vectors": 3, "matrices": 9, "numbers": 1}  # numbers that are there together or not at all
_MOST_OFF = 0.1  # of a matrix times itself turned over from the identity, in any entry: half precision rounds by a hundredth of that


@dataclass(frozen=True)
class Beside:
    """Numbers of each frame: those of an array of some name from one of a row's numbers on."""

    name: str
    first: int
    kind: Kind

    @property
    def by(self) -> str:
        """The way in which what is missing is found."""
        return "lerp" if self.kind == "numbers" else "slerp"


@dataclass(frozen=True)
class Completed:
    """What became of numbers beside the 22 joints.

    Attributes:
        part: which.
        rows: (T, N) complete.
        filled: (T,) bool, frames of which something was filled.
        left: (T,) bool, frames of which something stays as it is, since no frame has it.
    """

    part: Beside
    rows: np.ndarray
    filled: np.ndarray
    left: np.ndarray


def find_beside(entries: Mapping[str, Entry], lead: tuple[int, ...], looked_at: Mapping[str, int]) -> tuple[Beside, ...]:
    """What a file has of it.

    Args:
        lead: the dimensions before those of a row, (T,) or (P, T).
        looked_at: array -> how many of a row's numbers, from the first, are the 22 joints'.
    """
    found = []
    for name, entry in entries.items():
        row = entry.shape[len(lead) :]
        first, width = looked_at.get(name, 0), math.prod(row)
        known = first or name in _TURNS or name in _VALUES or (row and name in _SHAPES)  # a shape alone may be as long as the clip
        if known and _is_of_frames(entry, lead) and width > first:
            found.append(Beside(name, first, "vectors" if first else _kind(name, row)))
    return tuple(found)


def find_unknown(entries: Mapping[str, Entry], lead: tuple[int, ...], known: Collection[str]) -> tuple[str, ...]:
    """Arrays with numbers for each frame, as places of markers, of which nothing is known by name and shape; people may share them, and
    numbers may be complex."""
    known = {*known, *_SHAPES}
    of_frames = (name for name, entry in entries.items() if entry.kind.startswith(("float", "complex")) and _lead_of(entry.shape, lead))
    return tuple(name for name in of_frames if name not in known)


def broken_frames(array: np.ndarray, lead: tuple[int, ...]) -> tuple[int, int]:
    """How many rows of an array of `find_unknown` have numbers that are not finite, and of how many."""
    rows = (~np.isfinite(array)).reshape(*_lead_of(array.shape, lead), -1).any(-1)
    return int(rows.sum()), rows.size


def _lead_of(shape: tuple[int, ...], lead: tuple[int, ...]) -> tuple[int, ...]:
    """The dimensions before a row of what is of each person's frames, or of the frames of all; none of what is neither."""
    return next((dimensions for dimensions in (lead, lead[-1:]) if shape[: len(dimensions)] == dimensions), ())


def _is_of_frames(entry: Entry, lead: tuple[int, ...]) -> bool:
    return entry.shape[: len(lead)] == lead and entry.kind.startswith("float")


def _kind(name: str, row: tuple[int, ...]) -> Kind:
    widths = _TURNS.get(name, ())
    if math.prod(row) in widths:
        return "vectors"
    return "matrices" if widths and (row[-2:] == (3, 3) or math.prod(row) in [3 * numbers for numbers in widths]) else "numbers"


def completed(part: Beside, rows: np.ndarray, absent: np.ndarray | bool = False) -> Completed:
    """What is not finite, no rotation, or of nobody, between what the frames on both sides have: rotations by slerp, each joint's of its
    own, other numbers by lerp, each of its own; held before the first frame that has it and behind the last. What is there stays to the
    last bit.

    Args:
        rows: (T, N) of any type of floats.
        absent: (T,) bool, frames that hold placeholders; none by default.
    """
    parts = rows.reshape(len(rows), -1, _SIZES[part.kind]).astype(float)
    there = _ARE_KNOWN[part.kind](parts)
    known = there & ~np.reshape(absent, (-1, 1))
    known |= there & ~known.any(0)  # what only placeholders have stays
    never = ~known.any(0)
    for pattern in np.unique(known[:, ~never], axis=1).T:
        if not pattern.all():
            at = (known == pattern[:, None]).all(0)
            filled = _FILL[part.kind](parts[:, at], pattern)
            parts[:, at] = np.where(pattern[:, None, None], parts[:, at], filled)
    filled_in, left = (np.asarray((~known & which).any(1)) for which in (~never, never))
    return Completed(part, parts.reshape(len(rows), -1), filled_in, left)


def _are_matrices(parts: np.ndarray) -> np.ndarray:
    """Which rows-first matrices (..., 9) are rotations: (...) bool."""
    with np.errstate(over="ignore", invalid="ignore"):
        matrices = parts.reshape(*parts.shape[:-1], 3, 3)
        off = np.abs(matrices @ matrices.swapaxes(-1, -2) - np.eye(3)).max((-1, -2))
        upright = (np.cross(matrices[..., 0, :], matrices[..., 1, :]) * matrices[..., 2, :]).sum(-1) > 0
    found: np.ndarray = (off < _MOST_OFF) & upright
    return found


def _slerp_matrices(parts: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """`slerp_missing` of rotation matrices (T, M, 9)."""
    rotvec = np.zeros((*parts.shape[:-1], 3))
    rotvec[seen] = Rotation.from_matrix(parts[seen].reshape(-1, 3, 3)).as_rotvec().reshape(*rotvec[seen].shape)
    whole: np.ndarray = Rotation.from_rotvec(slerp_missing(rotvec, seen).reshape(-1, 3)).as_matrix()
    return whole.reshape(parts.shape)


def _are_finite(parts: np.ndarray) -> np.ndarray:
    """(...) bool, of numbers (..., 1)."""
    found: np.ndarray = np.isfinite(parts[..., 0])
    return found


_ARE_KNOWN = {"vectors": are_turns, "matrices": _are_matrices, "numbers": _are_finite}
_FILL = {"vectors": slerp_missing, "matrices": _slerp_matrices, "numbers": lerp_missing}
