"""Where the recordings of a sequence lie."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pose_priors.configs.base import UserError
from pose_priors.configs.exchange import written_folder
from pose_priors.refinement.result.write import RECORDING


def recording_files(folder: Path, name: str, people: Sequence[int]) -> list[Path]:
    """The files of a sequence: one for each person, then that of all together."""
    return [*(folder / f"{name}_person_{person:03d}{RECORDING}" for person in people), folder / f"{name}{RECORDING}"]


@contextmanager
def replaced(folder: Path, name: str, people: Sequence[int]) -> Iterator[list[Path]]:
    """Paths to write a sequence's recordings to. When the block ends they take their places, all at once; if it fails, nothing changes.
    Those of people who are no longer there go.

    Raises:
        UserError: if the folder cannot be written to.
    """
    try:
        with written_folder(folder, re.compile(rf"{re.escape(name)}_person_[0-9].*{re.escape(RECORDING)}").fullmatch) as new:
            yield recording_files(new, name, people)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); give another folder for recordings") from error
