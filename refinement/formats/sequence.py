"""Where the stages of one sequence lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pose_priors.datamodules.stage_folders import STAGES
from pose_priors.refinement.formats import files_of, recognize
from pose_priors.refinement.formats.source import Source
from pose_priors.refinement.formats.tools import multi_tram
from pose_priors.refinement.formats.witnesses.beside import Witness, witness_path

REFINED = "5_refinement"
"""The folder of stage 5 within that of a sequence."""


@dataclass(frozen=True)
class InputSequence:
    """One sequence.

    Attributes:
        path: its folder, with those of the stages in it, or what another tool wrote, a file or a folder.
        world: the folder of stage 4, read by stage 5 and written by stage 4.
        output: the folder of stage 5.
        format: the name of the tool that wrote it; None to tell by the content.
    """

    path: Path
    world: Path
    output: Path
    format: str | None = None

    @classmethod
    def at(cls, path: Path, format: str | None = None) -> InputSequence:
        """A sequence whose results go into its own folder; those of a file into one of its name beside it."""
        home = path.with_suffix("") if path.is_file() else path
        return cls(path, home / STAGES[4], home / REFINED, format)

    @property
    def name(self) -> str:
        """Under which it is reported."""
        return self.path.stem if self.path.is_file() else self.path.name

    @property
    def staged(self) -> bool:
        """Whether it has the folders of stages, and is not the result of another tool."""
        return self.format in (None, multi_tram.NAME) and multi_tram.detect(Source(self.path))

    def stage(self, number: int) -> Path:
        """The folder of a stage, 1 to 5; it may not exist."""
        return {4: self.world, 5: self.output}[number] if number > 3 else self.path / STAGES[number]

    def witness(self, what: Witness, given: str | None) -> Path | None:
        """The file or folder of what a program knows of it, see `witnesses.beside.witness_path`. Raises `UserError` if it is not there."""
        return witness_path(what, given, self.name, self.path if self.path.is_dir() else self.path.parent)

    def files(self, stages: Sequence[int]) -> dict[str, Path]:
        """All files of some stages by their names below the sequence's folder: what a result is made from. Hidden files do not count.
        Of another tool, all that its format reads."""
        if not self.staged:
            files = files_of(self.path, self.format)
            return {Path(os.path.relpath(path, files[0].parent)).as_posix(): path for path in files}
        found = {}
        for stage in stages:
            folder = self.stage(stage)
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    found[f"{STAGES[stage]}/{path.relative_to(folder).as_posix()}"] = path
        return found


def is_sequence(path: Path, format: str | None = None) -> bool:
    """Whether a path is one sequence, in any of the formats that can be read, or in the one that is named."""
    return recognize(path, format) is not None
