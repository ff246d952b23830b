"""What upstream tools left on disk, one file per tool or kind of file, in numpy and in the files' own units.

A format is a module with `NAME`, `FILES` and `BESIDE`, `detect` and `read`, and one line in `UPSTREAM`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.source import Source, described
from pose_priors.refinement.formats.tools import glamr, gvhmr, megahunter, multi_tram, phalp, prompthmr, slahmr, tram, wham


class UpstreamFormat(Protocol):
    """The files of one tool.

    Attributes:
        NAME: of the tool.
        FILES: patterns of the names that its main file bears below its folder, the best first; in a folder it is found by these, a file
            that is named itself is known by its content. Empty where a folder is the whole.
        BESIDE: patterns of the files beside it that are read too.
    """

    NAME: str
    FILES: tuple[str, ...]
    BESIDE: tuple[str, ...]

    def detect(self, source: Source) -> bool:
        """Whether the tool wrote this. Raises `UserError` if a file cannot be read."""

    def read(self, source: Source, warnings: list[str]) -> UpstreamClip:
        """The clip, its mended faults told in `warnings`. Raises `UserError` with what was found if the tool does not write such files."""


UPSTREAM: tuple[UpstreamFormat, ...] = (multi_tram, tram, phalp, wham, gvhmr, prompthmr, slahmr, megahunter, glamr)
"""The known formats; where a folder holds results of several tools, the first is read."""


def recognize(path: Path) -> str | None:
    """The name of the tool that wrote a file or folder, None if it is none of `UPSTREAM`.

    Files are known by their content. One that cannot be read, damaged or hostile, is taken for that of the tool whose file name it bears:
    who looks for sequences finds it, and reading it says what is wrong.
    """
    found = _format(Source(path))
    return None if found is None else found.NAME


def read_upstream(path: Path, warnings: list[str]) -> UpstreamClip:
    """The clip in a file or folder that one of the tools of `UPSTREAM` wrote.

    Raises:
        UserError: if there is no such path, no tool is known to write such a thing, or something in it is not as its tool writes it.
    """
    source = Source(path)
    found = _format(source)
    if found is not None:
        return found.read(source, warnings)
    raise unknown(path)


def unknown(path: Path) -> UserError:
    """What to say of a path that none of the tools is known to have written."""
    known = ", ".join(form.NAME for form in UPSTREAM)
    if not path.exists():
        return UserError(f"input.path={path}: no such folder or file; the result of a tool is expected: {known}")
    return UserError(f"input.path={path}: not a result of {known}; it holds {_contents(Source(path))}")


def files_of(path: Path) -> list[Path]:
    """The files that a clip is read from, in a fixed order, the main file first; empty if the format is not known."""
    source = Source(path)
    found = _format(source)
    if found is None:
        return []
    main = source.file(*found.FILES)
    beside = {file for pattern in found.BESIDE for file in source.folder.glob(pattern) if file.is_file()}
    return [*([main] if main is not None else []), *sorted(beside - {main})]


def _format(source: Source) -> UpstreamFormat | None:
    for form in UPSTREAM:
        try:
            if form.detect(source):
                return form
        except UserError:
            if source.named(*form.FILES):
                return form
    return None


def _contents(source: Source) -> str:
    """What a path holds, in a few words."""
    if source.path.is_dir():
        return ", ".join(sorted(entry.name for entry in source.path.iterdir())[:10]) or "nothing"
    try:
        return described(source.load(source.path))
    except UserError as error:
        return f"what cannot be read ({error})"
