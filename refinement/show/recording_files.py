"""Where the recordings of a sequence lie."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pose_priors.configs.base import UserError
from pose_priors.refinement.result.write import RECORDING, WRITING


def recording_files(folder: Path, name: str, people: Sequence[int]) -> list[Path]:
    """The files of a sequence: one for each person, then that of all together."""
    return [*(folder / f"{name}_person_{person:03d}{RECORDING}" for person in people), folder / f"{name}{RECORDING}"]


@contextmanager
def replaced(folder: Path, name: str, people: Sequence[int]) -> Iterator[list[Path]]:
    """Paths to write a sequence's recordings to. When the block ends they take their places, that of all people last: who finds it finds
    the rest. If the block fails, nothing changes. Those of people who are no longer there go.

    Raises:
        UserError: if the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=WRITING) as aside:
            made, files = recording_files(Path(aside), name, people), recording_files(folder, name, people)
            yield made
            for stale in set(folder.glob(f"{_literal(name)}_person_[0-9]*{RECORDING}")) - set(files):
                stale.unlink()
            for source, target in zip(made, files, strict=True):
                os.replace(source, target)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); give another folder for recordings") from error


def _literal(name: str) -> str:
    """A name as a pattern that matches it alone."""
    return "".join(f"[{letter}]" if letter in "[*?" else letter for letter in name)
