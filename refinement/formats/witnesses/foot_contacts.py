"""When feet touch the ground, by a program that looks at the pictures: BSTRO (Huang et al., CVPR 2022) or any other.

Three layouts. One file with `contacts` (P, T, F) and `person_ids` (P,), or with an array (T, F) for each person by name (`person_001`, or
`1`). A folder with such an array in a file for each person, `person_001.npy`. Or a folder with a pickle for each frame, as
VideoMimic's BSTRO writes them: by person, `left_foot_contact` and `right_foot_contact`. Values are truth values or probabilities, NaN where
nothing is known; F is 2, left and right foot, or 4, left and right ankle and left and right ball of the foot. `frame_ids` beside an array
says which frames its rows are of; without it there is one for each frame of the clip.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.configs.base import UserError, counted, listed
from pose_priors.datamodules.arrays import UNNAMED
from pose_priors.datamodules.safe_pickle import load_pickle
from pose_priors.refinement.formats.files import numbered_files, numbers, whole_numbers
from pose_priors.refinement.formats.witnesses.beside import clip_rows, contents, files_in, the_file

NUM_FEET = 4
"""Left and right ankle, left and right ball of the foot."""
_PERSON = re.compile(r"(?:person_)?([0-9]{1,9})")
_SIDES = ("left_foot_contact", "right_foot_contact")


@dataclass(frozen=True)
class FootContacts:
    """When feet touch the ground.

    Attributes:
        probability: by person, (T, 4) in [0, 1] of `NUM_FEET` on each frame of the clip, nan where nothing is known.
        told: what was read, one line.
    """

    probability: dict[int, np.ndarray]
    told: str


def read_foot_contacts(path: Path, people: Collection[int], frame_ids: np.ndarray, *, cut: bool) -> FootContacts:
    """The contacts of the people of a clip in a file or folder.

    Args:
        people: ids of the clip.
        frame_ids: (T,) of the clip, consecutive.
        cut: whether these are the first ones of a clip that the file may know whole.
    Raises:
        UserError: if it is none of the three layouts, is of nobody of the clip, holds what is no probability, or has rows for other frames
            than those of the clip.
    """
    tables = _of_frames(path, frame_ids, cut) if _is_of_frames(path) else _of_people(path, frame_ids, cut)
    if not any(np.isfinite(table).any() for table in tables.values()):
        raise UserError(f"{path}: says of no foot on any frame of the clip whether it touches the ground")
    known = {person: table for person, table in tables.items() if person in people and np.isfinite(table).any()}
    if not known:
        theirs, ours = (listed(sorted(ids)) or "nobody" for ids in (tables, people))
        raise UserError(f"{path}: contacts of {theirs}, but the clip has the people {ours}; the tracker's ids are expected")
    without = sorted(set(people) - known.keys())
    told = f"{path}: says when the feet of person {listed(sorted(known))} touch the ground"
    return FootContacts(known, told + (f"; it does not know person {listed(without)}" if without else ""))


def _is_of_frames(path: Path) -> bool:
    """Whether it is a folder of pickles that are named by numbers alone."""
    return path.is_dir() and (files := files_in(path)) != [] and all(file.suffix == ".pkl" and file.stem.isdecimal() for file in files)


def _of_frames(path: Path, frame_ids: np.ndarray, cut: bool) -> dict[int, np.ndarray]:
    folder = files_in(path)[0].parent
    files = numbered_files(folder, (".pkl",))
    if len(files) != len(files_in(path)):
        found = f"{counted(len(files_in(path)), 'file')} of {counted(len(files), 'different frame')}"
        raise UserError(f"{path}: {found}; one for each is expected, in one folder")
    ids = np.array(sorted(files))
    # as many as frames: the first is of the first frame, whatever number it was given
    alike = len(ids) == len(frame_ids)
    rows, places = clip_rows(str(folder), len(ids), None if alike else ids, frame_ids, cut=cut)
    tables: dict[int, np.ndarray] = {}
    for row, place in zip(rows.tolist(), places.tolist(), strict=True):
        file = files[int(ids[row])]
        found = load_pickle(file)
        if not isinstance(found, Mapping):
            raise UserError(f"{file}: holds a {type(found).__name__}; contacts by person are expected")
        _people(found, file)
        for person, feet in found.items():
            if not isinstance(feet, Mapping) or not set(_SIDES) <= feet.keys():
                raise UserError(f"{file}: no {' and '.join(_SIDES)} of {person!r}")
            table = tables.setdefault(_person(person, file), np.full((len(frame_ids), NUM_FEET), np.nan))
            pair = np.array([_one(feet[side], f"{file}: {side}") for side in _SIDES])
            table[place] = _of_feet(pair[None], str(file))
    return tables


def _of_people(path: Path, frame_ids: np.ndarray, cut: bool) -> dict[int, np.ndarray]:
    files = files_in(path)
    if path.is_dir() and all(_PERSON.fullmatch(file.stem) for file in files):
        found = {}
        _people((file.stem for file in files), path)
        for file in files:
            inside = contents(file)
            value = inside.get("contacts", inside.get(UNNAMED))
            if value is None:
                raise UserError(f"{file}: no 'contacts' in it; it holds {listed([*inside])}")
            found[_person(file.stem, file)] = _placed(value, inside.get("frame_ids"), f"{file}: contacts", frame_ids, cut)
        return found
    file = the_file(path)
    inside = contents(file)
    ids, rows = inside.pop("frame_ids", None), inside.pop("person_ids", None)
    if rows is not None and "contacts" in inside:
        people = whole_numbers(rows, f"{file}: 'person_ids'").reshape(-1).tolist()
        values = numbers(inside["contacts"], f"{file}: 'contacts'")
        if values.ndim != 3 or len(set(people)) != len(people) or len(values) != len(people):
            raise UserError(
                f"{file}: 'contacts' has shape {values.shape}; (people, frames, 2 or {NUM_FEET}) is expected, with the {len(set(people))} "
                "different 'person_ids'"
            )
        return {p: _placed(value, ids, f"{file}: contacts of person {p}", frame_ids, cut) for p, value in zip(people, values, strict=True)}
    if not inside or not all(_PERSON.fullmatch(name) for name in inside):
        held = listed([*inside]) or "nothing"
        raise UserError(f"{file}: holds {held}; 'contacts' and 'person_ids', or an array for each person_<id>, are expected")
    _people(inside, file)
    return {_person(name, file): _placed(value, ids, f"{file}: {name}", frame_ids, cut) for name, value in inside.items()}


def _one(value: Any, source: str) -> float:
    found = numbers(value, source).reshape(-1)
    if len(found) != 1:
        raise UserError(f"{source}: {len(found)} numbers where one is expected")
    return float(found[0])


def _people(names: Iterable[object], file: Path) -> list[int]:
    """Ids, each different. Raises `UserError` if one is none, or there twice."""
    found = [_person(name, file) for name in names]
    if len(set(found)) != len(found):
        raise UserError(f"{file}: {listed(sorted(found))}: a person is there twice")
    return found


def _person(name: object, file: Path) -> int:
    found = _PERSON.fullmatch(str(name))
    if found is None:
        raise UserError(f"{file}: {name!r} is no person's id, which is a number")
    return int(found[1])


def _placed(value: Any, ids: Any, source: str, frame_ids: np.ndarray, cut: bool) -> np.ndarray:
    table = numbers(value, source).astype(float)
    if table.ndim != 2:
        raise UserError(f"{source}: shape {table.shape}; (frames, 2) or (frames, {NUM_FEET}) is expected")
    rows, places = clip_rows(source, len(table), ids, frame_ids, cut=cut)
    out = np.full((len(frame_ids), NUM_FEET), np.nan)
    out[places] = _of_feet(table[rows], source)
    return out


def _of_feet(table: np.ndarray, source: str) -> np.ndarray:
    """(n, 4) of (n, 2) or (n, 4): a foot that touches does so by either of its joints."""
    if table.shape[1] not in (2, NUM_FEET):
        raise UserError(f"{source}: {table.shape[1]} columns; 2 (left, right) or {NUM_FEET} (ankles, balls of the feet) are expected")
    known = np.isfinite(table)
    if np.isinf(table).any() or (table[known] < 0).any() or (table[known] > 1).any():
        raise UserError(f"{source}: holds {np.nanmin(table):g} to {np.nanmax(table):g}; 0 to 1 is expected")
    return table if table.shape[1] == NUM_FEET else np.tile(table, (1, 2))
