"""What frames of a file hold beside the 22 joints that are looked at: hands, fingers, jaw and eyes; expressions and sizes of each frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pose_priors.body.interpolation import lerp_missing, slerp_missing
from pose_priors.datamodules.arrays import Entry
from pose_priors.datamodules.formats import FIELDS
from pose_priors.datamodules.plausibility import are_turns

_TURNS = {name: tuple(widths) for names, widths in FIELDS.items() for name in names}
_VALUES = ("betas", "shapes", "expression", "expressions", "dmpls")


@dataclass(frozen=True)
class Beside:
    """Numbers of each frame: those of an array of some name from one of a row's numbers on, rotation vectors or others."""

    name: str
    first: int
    are_turns: bool


def find_beside(entries: Mapping[str, Entry], lead: tuple[int, ...], looked_at: Mapping[str, int]) -> tuple[Beside, ...]:
    """What a file has of it.

    Args:
        lead: the dimensions before those of a row, (T,) or (P, T).
        looked_at: array -> how many of a row's numbers, from the first, are the 22 joints'.
    """
    found = []
    for name, entry in entries.items():
        width = int(np.prod(entry.shape[len(lead) :]))
        of_frames = len(entry.shape) > len(lead) and entry.shape[: len(lead)] == lead and entry.kind.startswith("float")
        if of_frames and width > (first := looked_at.get(name, 0)) and (first or name in _TURNS or name in _VALUES):
            found.append(Beside(name, first, bool(first) or width in _TURNS.get(name, ())))
    return tuple(found)


def completed(rows: np.ndarray, turns: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with what is not finite, or no rotation, between what the frames on both sides have: rotations by slerp, each joint's of its
    own, other numbers by lerp, row by row; held before the first frame that has it and behind the last.

    Args:
        rows: (T, N); turns: whether they are rotation vectors.
    Returns:
        (T, N); (T,) bool, frames of which something was filled; (T,) bool, frames of which something stays as it is, since no frame has it.
    """
    parts = rows.reshape(len(rows), -1, 3 if turns else rows.shape[1]).astype(float)
    known = are_turns(parts) if turns else np.isfinite(parts).all(-1)
    never = ~known.any(0)
    for pattern in np.unique(known[:, ~never], axis=1).T:
        if not pattern.all():
            at = (known == pattern[:, None]).all(0)
            filled = (slerp_missing if turns else lerp_missing)(parts[:, at], pattern)
            parts[:, at] = np.where(pattern[:, None, None], parts[:, at], filled)
    filled_in, left = (np.asarray((~known & which).any(1)) for which in (~never, never))
    return parts.reshape(len(rows), -1), filled_in, left
