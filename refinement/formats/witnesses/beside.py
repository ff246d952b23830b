"""Where the files of witnesses lie, and to which frames of a clip their rows belong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pose_priors.configs.base import UserError, listed
from pose_priors.datamodules.arrays import SUFFIXES, UNNAMED, open_arrays
from pose_priors.datamodules.containers.json_files import load_json
from pose_priors.refinement.formats.files import whole_numbers

Witness = Literal["gravity", "contacts", "cameras"]
"""What is known of a clip; also the name of the folder in that of a sequence, where its files are looked for."""

_PLACE = "{name}"
_MOST_FILES = 100_000
_KNOWN = (".json", *SUFFIXES)


def witness_path(what: Witness, given: str | None, name: str, folder: Path) -> Path | None:
    """The file or folder of a witness.

    Args:
        given: by the configuration, with `{name}` for the name of the sequence; None to look for one.
        name: of the sequence.
        folder: of the sequence: what is called as the witness in it counts, unless it is empty.
    Returns:
        None where nothing is given, and nothing there.
    Raises:
        UserError: if what is given is not there.
    """
    if given is not None:
        path = Path(os.path.expanduser(given.replace(_PLACE, name)))
        if not given or not os.path.exists(path):  # also of names that no file can have
            hint = "" if _PLACE in given else "; of many sequences, {name} in it stands for the name of each"
            raise UserError(f"input.{what}={path}: no such file or folder{hint}")
        return path
    found = folder / what
    return found if found.is_dir() and any(not path.name.startswith(".") for path in found.iterdir()) else None


def files_in(path: Path) -> list[Path]:
    """The files of a witness, by name: the file itself, or those of a folder, hidden ones left out."""
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for folder, _, names in os.walk(path):
        found += [Path(folder, name) for name in names if not name.startswith(".") and os.path.isfile(os.path.join(folder, name))]
        if len(found) > _MOST_FILES:
            raise UserError(f"{path}: more than {_MOST_FILES:,} files; the folder of one clip's is expected")
    return sorted(found)


def the_file(path: Path) -> Path:
    """The one file of a witness that has one. Raises `UserError` if a folder holds none of a known kind, or several."""
    if not path.is_dir():
        return path
    files = [file for file in files_in(path) if file.suffix in _KNOWN]
    if len(files) != 1:
        names = listed([file.name for file in files]) or "none"
        raise UserError(f"{path}: one file of {', '.join(_KNOWN)} is expected; there {'is' if not files else 'are'} {names}")
    return files[0]


def contents(path: Path) -> dict[str, Any]:
    """What a file of a witness holds, by name; an array or a list without a name as `UNNAMED`. Raises `UserError` if it cannot be read."""
    if path.suffix == ".json":
        found = load_json(path)
        return {str(name): value for name, value in found.items()} if isinstance(found, dict) else {UNNAMED: found}
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: unknown kind of file; known are {', '.join(_KNOWN)}")
    return {name: entry.load() for name, entry in open_arrays(path).items()}


def clip_rows(source: str, rows: int, given: Any, frame_ids: np.ndarray, *, cut: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of a file are of which frames of a clip.

    Args:
        source: file and key, for messages.
        rows: that the file has.
        given: the number of each row's frame, as the file has it; None where rows are those of the clip, one for each frame.
        frame_ids: (T,) of the clip, consecutive.
        cut: whether the clip is the first frames of one that the file may know whole.
    Returns:
        rows of the file, and their places in the clip.
    Raises:
        UserError: if there are not as many rows as frames, or no row is of a frame of the clip.
    """
    num_frames = len(frame_ids)
    if given is None:
        if rows == num_frames or (cut and rows > num_frames):
            return np.arange(num_frames), np.arange(num_frames)
        raise UserError(
            f"{source}: {rows} rows, but the clip has {num_frames} frames; one for each is expected, or 'frame_ids' beside them that says "
            "which frame each row is of"
        )
    ids = whole_numbers(given, f"{source}: 'frame_ids'").reshape(-1)
    if len(ids) != rows or len(np.unique(ids)) != rows:
        raise UserError(f"{source}: {rows} rows and {len(np.unique(ids))} different 'frame_ids'; one for each row is expected")
    places = ids - int(frame_ids[0])
    inside = (places >= 0) & (places < num_frames)
    if not inside.any():
        raise UserError(
            f"{source}: none of its frames ({listed(ids.tolist(), 3)}) is one of the clip, which has {frame_ids[0]} to {frame_ids[-1]}"
        )
    return np.flatnonzero(inside), places[inside]
