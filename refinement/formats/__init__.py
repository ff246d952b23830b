"""What upstream tools left on disk, one file per tool or kind of file, in numpy and in the files' own units.

A format is a module with `NAME`, `FILES` and `BESIDE`, `detect` and `read`, and one line in `UPSTREAM`. Those of other packages come in
through the door `FORMATS`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol, TypeGuard, runtime_checkable

import numpy as np

from pose_priors.configs.base import UserError, reason_of
from pose_priors.configs.plugins import Door, PluginError
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.source import Source, described
from pose_priors.refinement.formats.tools import (
    comotion,
    gem_x,
    glamr,
    gvhmr,
    gvhmr_spellings,
    human3r,
    josh,
    megahunter,
    multi_tram,
    phalp,
    prompthmr,
    romp,
    sam3d_body,
    slahmr,
    tram,
    wham,
)

log = logging.getLogger("refine")
MENDED_BY_CLEAN = "; a motion without a camera is mended by `pose-priors clean`"
"""What is said of `is_motion`, for errors."""
_MOTIONS = (("poses", "trans"), ("body_pose", "global_orient", "transl"), ("pose_body", "root_orient", "trans"))


@runtime_checkable
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


UPSTREAM: tuple[UpstreamFormat, ...] = (
    multi_tram,
    tram,
    phalp,
    wham,
    gvhmr,
    gem_x,
    gvhmr_spellings,
    prompthmr,
    slahmr,
    megahunter,
    glamr,
    josh,
    human3r,
    comotion,
    romp,
    sam3d_body,
)
"""The known formats; where a folder holds results of several tools, the first is read."""


def _is_format(found: object) -> TypeGuard[UpstreamFormat]:
    return not isinstance(found, type) and isinstance(found, UpstreamFormat)


FORMATS: Door[UpstreamFormat] = Door(
    "pose_priors.formats", "format", "a module or an object with NAME, FILES, BESIDE, detect and read", _is_format
)
"""Formats that live in other packages. They are asked where none of ours has written a file or folder."""


def named(name: str) -> UpstreamFormat:
    """The format of that name: one of ours by its `NAME`, another package's by its entry point or as `module:object`.

    Raises:
        UserError: if there is none.
    """
    ours = {form.NAME: form for form in UPSTREAM}
    try:
        return ours[name] if name in ours and name not in FORMATS.names() else FORMATS.find(name, ours)
    except PluginError as error:
        raise UserError(f"input.format: {error}") from error


def recognize(path: Path, format: str | None = None) -> str | None:
    """The name of the tool that wrote a file or folder, None if it is none that is known, or not the one of the name `format`.

    Files are known by their content. One that cannot be read, damaged or hostile, is taken for that of the tool whose file name it bears:
    who looks for sequences finds it, and reading it says what is wrong. Raises `UserError` if it cannot be told which of several tools.
    """
    found = _format(Source(path), format)
    return None if found is None else found.NAME


def read_upstream(path: Path, warnings: list[str], format: str | None = None) -> UpstreamClip:
    """The clip in a file or folder that one of the tools of `UPSTREAM`, or of other packages, wrote; that of the name `format` if given.

    Raises:
        UserError: if there is no such path, no tool is known to write such a thing, or something in it is not as its tool writes it.
    """
    source = Source(path)
    found = _format(source, format)
    if found is None:
        raise unknown(path, format)
    clip = _guarded(found, source, warnings)
    if not isinstance(clip, UpstreamClip):
        raise UserError(f"input.path={path}: the format {found.NAME} read {type(clip).__name__}, where {UpstreamClip.__name__} is wanted")
    return clip


def _guarded(form: UpstreamFormat, source: Source, warnings: list[str]) -> UpstreamClip:
    """What a format reads, which may be another package's. What it raises at numbers that nobody has thought of is the file's fault."""
    try:
        return form.read(source, warnings)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, np.linalg.LinAlgError) as error:
        log.debug("the reader of %s", form.NAME, exc_info=True)
        raise UserError(
            f"input.path={source.path}: not as {form.NAME} writes it ({type(error).__name__}: {reason_of(error)}); is it complete?"
        ) from error


def unknown(path: Path, format: str | None = None) -> UserError:
    """What to say of a path that none of the tools is known to have written, or not that of the name `format`."""
    known = format or ", ".join([*(form.NAME for form in UPSTREAM), *(form.NAME for form in FORMATS.all().values())])
    if not path.exists():
        return UserError(f"input.path={path}: no such folder or file; the result of a tool is expected: {known}")
    source = Source(path)
    aside = MENDED_BY_CLEAN if is_motion(path) else ""
    return UserError(f"input.path={path}: not a result of {known}; it holds {_contents(source)}{aside}")


def is_motion(path: Path) -> bool:
    """Whether it is a file of poses and places in a world, and nothing of how a camera saw them, as AMASS's are."""
    source = Source(path)
    try:
        return any(source.holds(source.path, *names) for names in _MOTIONS) if source.path.is_file() else False
    except UserError:
        return False


def files_of(path: Path, format: str | None = None) -> list[Path]:
    """The files that a clip is read from, in a fixed order, the main file first; empty if the format is not known."""
    source = Source(path)
    found = _format(source, format)
    if found is None:
        return []
    main = source.file(*found.FILES)
    beside = {file for pattern in found.BESIDE for file in source.folder.glob(pattern) if file.is_file()}
    return [*([main] if main is not None else []), *sorted(beside - {main})]


def _format(source: Source, name: str | None) -> UpstreamFormat | None:
    if name is not None:
        return form if _wrote(form := named(name), source) else None
    ours = next((form for form in UPSTREAM if _wrote(form, source)), None)
    if ours is not None:
        return ours
    theirs = {name: form for name, form in FORMATS.all().items() if _wrote(form, source)}
    if len(theirs) > 1:
        raise UserError(f"input.path={source.path}: {' and '.join(theirs)} both take it for theirs; say which by input.format")
    return next(iter(theirs.values()), None)


def _wrote(form: UpstreamFormat, source: Source) -> bool:
    try:
        return form.detect(source)
    except UserError:
        return source.named(*form.FILES)


def _contents(source: Source) -> str:
    """What a path holds, in a few words."""
    if source.path.is_dir():
        return ", ".join(sorted(entry.name for entry in source.path.iterdir())[:10]) or "nothing"
    try:
        return described(source.load(source.path))
    except UserError as error:
        return f"what cannot be read ({error})"
