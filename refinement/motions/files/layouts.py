"""Which arrays of a file hold whose rotations and path.

| layout | arrays |
|---|---|
| AMASS SMPL-H, SMPL-X, SMPL | `poses` (T, 156), (T, 165) or (T, 72), `trans` (T, 3); also a row as (J, 3) |
| parts | `root_orient` or `global_orient` (T, 3), `pose_body` or `body_pose` (T, 63) or (T, 69), `trans` or `transl` |
| several people | any of these with people first, (P, T, ...) |
| SLAHMR's | several people, and `track_mask` (P, T): where it is false, or 0.5 or less, there is nobody, whatever the arrays hold |
| GVHMR's, of ComfyUI | parts, and `global_orient_incam`, `transl_incam` (T, 3): the same as the camera of each frame sees them |
| one array | (T, 66), (T, 72), (T, 156) or (T, 165), or (T, J, 3), without a path |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.datamodules.arrays import Entry, describe
from pose_priors.refinement.motions.files.beside import Beside, find_beside, find_unknown

NUM_JOINTS = 22
_WHOLE = {22: "root and body", 24: "SMPL", 52: "SMPL-H", 53: "53 joints", 55: "SMPL-X"}
_POSES, _ROOTS = ("poses", "pose"), ("root_orient", "global_orient")
_BODIES, _PATHS = ("pose_body", "body_pose"), ("trans", "transl")
_SEEN = "track_mask"  # SLAHMR's, of frames on which somebody was tracked: it fills the other rows with placeholders
IN_CAMERA = ("global_orient_incam", "transl_incam")
"""The reading in the camera of each frame that follows the one in the world: the root's rotation and the path."""
_OF_CAMERAS = tuple(f"{name}_incam" for name in (*_ROOTS, *_PATHS))
_BODY_NUMBERS = (63, 69)
_MOST_PEOPLE = 256


@dataclass(frozen=True)
class Column:
    """Where rotations of some joints stand: an array by its name, and which of SMPL-X's first 22 joints its first ones are."""

    name: str
    first_joint: int
    num_joints: int


@dataclass(frozen=True)
class FoundLayout:
    """What was found in a file.

    Attributes:
        name: in words.
        columns: arrays that hold rotations, those that all others follow first.
        path: the array with the path, None if there is none.
        num_people: None where the arrays have no dimension of people.
        num_frames: of all arrays.
        beside: numbers of each frame that are none of the columns'.
        unknown: other arrays with numbers for each frame.
        seen: the array that says which rows are poses, not placeholders; None if there is none.
        in_camera: the arrays with the root's rotation and the path in the camera of each frame, beside those in the world; None if there
            are none that can follow these.
        left_in_camera: arrays that are of such a reading by their names, and cannot follow; with their types and shapes.
    """

    name: str
    columns: tuple[Column, ...]
    path: str | None
    num_people: int | None
    num_frames: int
    beside: tuple[Beside, ...] = ()
    unknown: tuple[str, ...] = ()
    seen: str | None = None
    in_camera: tuple[str, str] | None = None
    left_in_camera: tuple[str, ...] = ()


def find_layout(path: Path, entries: Mapping[str, Entry]) -> FoundLayout:
    """The layout of a file's arrays. Raises `UserError`, listing them, if it is none of those above, or they contradict each other."""
    names = tuple(entries)
    if len(names) == 1 and names[0] not in _POSES:
        columns, label = _whole(entries, names)
    else:
        columns, label = _whole(entries, _POSES)
    root = next((name for name in _ROOTS if _width(entries, name, (3,))), None)
    body = next((name for name in _BODIES if _width(entries, name, _BODY_NUMBERS)), None)
    if root is not None and body is not None:
        columns = (*columns, Column(root, 0, 1), Column(body, 1, NUM_JOINTS - 1))
        label = label or f"{root} + {body}"
    if not columns:
        raise UserError(
            f"{path}: no motion of a layout that is read; it holds {describe(entries)}; poses (T, 72 | 156 | 165) with trans, root_orient "
            "with pose_body and trans, or one array of such poses are"
        )
    lead = _leading(entries[columns[0].name], columns[0])
    for column in columns:
        if _leading(entries[column.name], column) != lead:
            raise UserError(
                f"{path}: {column.name} is {entries[column.name].shape} beside {columns[0].name} {entries[columns[0].name].shape}"
            )
    found = next((name for name in _PATHS if name in entries), None)
    if found is not None and entries[found].shape != (*lead, 3):
        raise UserError(f"{path}: {found} is {entries[found].shape}, not {(*lead, 3)}, one row for each pose")
    for name in [column.name for column in columns] + ([found] if found else []):
        if not entries[name].kind.startswith("float"):
            raise UserError(f"{path}: {name} is of {entries[name].kind}; numbers with a fraction (float) are expected")
    if len(lead) == 2 and lead[0] > _MOST_PEOPLE:
        raise UserError(f"{path}: {lead[0]} people in {columns[0].name} {entries[columns[0].name].shape}; at most {_MOST_PEOPLE} are read")
    looked_at = {column.name: 3 * column.num_joints for column in columns} | ({} if found is None else {found: 3})
    in_camera = IN_CAMERA if found and all(_is_path(entries, name, lead) for name in IN_CAMERA) else None
    left = [name for name in entries if name in _OF_CAMERAS and name not in (in_camera or ())]
    beside = find_beside(entries, lead, looked_at)
    unknown = find_unknown(entries, lead, [*looked_at, *(part.name for part in beside), *(in_camera or ()), _SEEN])
    num_people, seen = lead[0] if len(lead) == 2 else None, _marks(path, entries, lead)
    told = tuple(f"{name} ({entries[name].kind} {entries[name].shape})" for name in left)
    return FoundLayout(label, columns, found, num_people, lead[-1], beside, unknown, seen, in_camera, told)


def _is_path(entries: Mapping[str, Entry], name: str, lead: tuple[int, ...]) -> bool:
    return name in entries and entries[name].shape == (*lead, 3) and entries[name].kind.startswith("float")


def _marks(path: Path, entries: Mapping[str, Entry], lead: tuple[int, ...]) -> str | None:
    """The array that marks rows of poses, if there is one. Raises `UserError` if it has not one number for each."""
    if _SEEN not in entries:
        return None
    if entries[_SEEN].shape != lead or not entries[_SEEN].kind.startswith(("bool", "int", "uint", "float")):
        raise UserError(
            f"{path}: {_SEEN} is {entries[_SEEN].kind} {entries[_SEEN].shape}; truth values {lead}, one for each pose, are expected"
        )
    return _SEEN


def _whole(entries: Mapping[str, Entry], names: tuple[str, ...]) -> tuple[tuple[Column, ...], str]:
    for name in names:
        numbers = _width(entries, name, tuple(3 * joints for joints in _WHOLE))
        if numbers:
            return (Column(name, 0, NUM_JOINTS),), f"{_WHOLE[numbers // 3]} ({name})"
    return (), ""


def _width(entries: Mapping[str, Entry], name: str, allowed: tuple[int, ...]) -> int:
    """Numbers a row of an array, if it is there and has one of the allowed ones; else 0. A row may be (J, 3)."""
    if name not in entries:
        return 0
    shape = entries[name].shape
    if len(shape) in (2, 3) and shape[-1] in allowed:
        return int(shape[-1])
    if len(shape) in (3, 4) and shape[-1] == 3 and 3 * shape[-2] in allowed:
        return int(3 * shape[-2])
    return 0


def _leading(entry: Entry, column: Column) -> tuple[int, ...]:
    """The dimensions before those of a row: (T,) or (P, T)."""
    shape = entry.shape
    rows_are_joints = shape[-1] == 3 and (len(shape) == 4 or (len(shape) == 3 and 3 * shape[-2] > 3 and column.num_joints > 1))
    return tuple(shape[: -2 if rows_are_joints else -1])


def rows_of(array: np.ndarray, layout: FoundLayout, person: int) -> np.ndarray:
    """A view (T, N) of one person's rows of an array."""
    mine = array if layout.num_people is None else array[person]
    return mine.reshape(layout.num_frames, -1)
