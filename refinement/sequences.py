"""Which sequences are refined, where each lies and where its result goes."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.base import UserError
from refinement.experiment import RefinementExperiment
from refinement.formats import files_of, multi_tram, recognize, unknown
from refinement.formats.files import listed
from refinement.formats.source import Source
from refinement.formats.stage_folders import STAGES

REFINED = "5_refinement"
"""The folder of stage 5 within that of a sequence."""


@dataclass(frozen=True)
class InputSequence:
    """One sequence.

    Attributes:
        path: its folder, with those of the stages in it, or what another tool wrote, a file or a folder.
        world: the folder of stage 4, read by stage 5 and written by stage 4.
        output: the folder of stage 5.
    """

    path: Path
    world: Path
    output: Path

    @classmethod
    def at(cls, path: Path) -> InputSequence:
        """A sequence whose results go into its own folder; those of a file into one of its name beside it."""
        home = path.with_suffix("") if path.is_file() else path
        return cls(path, home / STAGES[4], home / REFINED)

    @property
    def name(self) -> str:
        """Under which it is reported."""
        return _name(self.path)

    @property
    def staged(self) -> bool:
        """Whether it has the folders of stages, and is not the result of another tool."""
        return multi_tram.detect(Source(self.path))

    def stage(self, number: int) -> Path:
        """The folder of a stage, 1 to 5; it may not exist."""
        return {4: self.world, 5: self.output}[number] if number > 3 else self.path / STAGES[number]

    def files(self, stages: Sequence[int]) -> dict[str, Path]:
        """All files of some stages by their names below the sequence's folder: what a result is made from. Hidden files do not count.
        Of another tool, all that its format reads."""
        if not self.staged:
            files = files_of(self.path)
            return {Path(os.path.relpath(path, files[0].parent)).as_posix(): path for path in files}
        found = {}
        for stage in stages:
            folder = self.stage(stage)
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    found[f"{STAGES[stage]}/{path.relative_to(folder).as_posix()}"] = path
        return found


def is_sequence(path: Path) -> bool:
    """Whether a path is one sequence, in any of the formats that can be read."""
    return recognize(path) is not None


def find_sequences(path: Path) -> list[Path]:
    """The path itself if it is a sequence, else the sequences in it, by name. Raises `UserError` if there are none."""
    if is_sequence(path):
        return [path]
    if not path.is_dir():
        raise unknown(path)
    sequences = sorted(entry for entry in path.iterdir() if is_sequence(entry))
    if not sequences:
        inside = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
        raise UserError(f"input.path={path}: holds neither {STAGES[1]} ... {STAGES[4]} nor what another tool wrote; it holds: {inside}")
    return sequences


def select_sequences(config: RefinementExperiment) -> list[InputSequence]:
    """The sequences that a configuration asks for: those in `input.path` whose names match `input.pattern`, by name, of these from
    `input.start_idx` up to but without `input.end_idx`. Nothing is written.

    Raises:
        UserError: if `input.path` is not given or holds no sequence, or none is left.
    """
    given = config.input
    if given.path is None:
        raise UserError("input.path is not given; a sequence or a folder of sequences is expected")
    root = Path(given.path)
    found = find_sequences(root)
    matching = [path for path in found if given.pattern is None or fnmatch.fnmatchcase(path.name, given.pattern)]
    names = listed([path.name for path in found])
    if not matching:
        raise UserError(
            f"input.pattern={given.pattern}: no sequence of {root} has such a name; there are {names}. "
            "A pattern is for the whole name: *jump* finds jump in it"
        )
    chosen = matching[given.start_idx : given.end_idx]
    if not chosen:
        end = "" if given.end_idx is None else given.end_idx
        raise UserError(f"input.start_idx..end_idx={given.start_idx}..{end}: {len(matching)} sequences of {root} match: {names}")
    return [_placed(path, config, alone=found == [root]) for path in chosen]


def summary_path(config: RefinementExperiment) -> Path:
    """`summary.csv`, where the results of many sequences go."""
    return Path(config.output.path or config.input.path or ".") / "summary.csv"


def _placed(path: Path, config: RefinementExperiment, *, alone: bool) -> InputSequence:
    """With an output folder nothing is written to the sequence's own: stage 4 is made in the output folder, and read from there if it was
    made there."""
    if config.output.path is None:
        return InputSequence.at(path)
    output = Path(config.output.path) if alone else Path(config.output.path) / _name(path)
    world = output / STAGES[4]
    return InputSequence(path, world if 4 in config.stages or world.is_dir() else path / STAGES[4], output)


def _name(path: Path) -> str:
    return path.stem if path.is_file() else path.name
