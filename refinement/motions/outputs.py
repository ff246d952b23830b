"""What lies in an output already: nothing that was made from another file, or that nobody tells of, is written over."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pose_priors.configs.base import UserError

MADE_FROM = ("source", "source_sha256")
"""What a report, or a row of scores, says of the file that it is of: where it lay, and its bytes."""


def made_from(source: Path) -> dict[str, str]:
    """`MADE_FROM` of a file. Raises `UserError` if it cannot be read."""
    return dict(zip(MADE_FROM, (str(source.resolve()), hash_of(source).hex()), strict=True))


def hash_of(source: Path) -> bytes:
    """SHA-256 of a file's bytes. Raises `UserError` if it cannot be read."""
    try:
        with source.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({error.strerror or error})") from error


def is_of(told: Mapping[str, Any], source: Path) -> bool:
    """Whether something was made from this file, which may have changed, or been moved, since; what says nothing, as before there were
    such words, is taken to be."""
    where, digest = (told.get(name) for name in MADE_FROM)
    return where is None or where == str(source.resolve()) or digest == hash_of(source).hex()


def refuse(taken: Path, source: Path, why: str) -> UserError:
    """The error that says that a place in the output is taken."""
    return UserError(f"{taken}: {why}, and would be overwritten by what becomes of {source}; give another --output, or remove it")


@contextmanager
def told_when_unwritable(output: Path) -> Iterator[None]:
    """Turns what an output that cannot be written to raises, such as a name that is too long for its disk, into a `UserError`."""
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or output
        raise UserError(f"{where}: cannot be written ({error.strerror or error}); give another --output, or rename the file") from error
