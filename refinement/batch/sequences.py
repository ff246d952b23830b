"""Which sequences are refined, and where the results of each go."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from pose_priors.configs.base import UserError, listed
from pose_priors.datamodules.stage_folders import STAGES
from pose_priors.refinement.batch.experiment import RefinementExperiment
from pose_priors.refinement.formats import MENDED_BY_CLEAN, is_motion, unknown
from pose_priors.refinement.formats.sequence import InputSequence, is_sequence

_WANTED = f"neither {STAGES[1]} ... {STAGES[4]} nor what another tool wrote"


def find_sequences(path: Path, format: str | None = None) -> list[Path]:
    """The path itself if it is a sequence, else the sequences in it, by name; of one format alone where it is said. Raises `UserError` if
    there are none."""
    if is_sequence(path, format):
        return [path]
    if not path.is_dir():
        raise unknown(path, format)
    sequences = sorted(entry for entry in path.iterdir() if is_sequence(entry, format))
    if not sequences:
        inside = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
        aside = MENDED_BY_CLEAN if any(is_motion(entry) for entry in sorted(path.glob("*.npz"))[:10]) else ""
        raise UserError(f"input.path={path}: holds {_WANTED if format is None else f'no result of {format}'}; it holds: {inside}{aside}")
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
    found = find_sequences(root, given.format)
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
    named = config.input.format
    if config.output.path is None:
        return InputSequence.at(path, named)
    output = Path(config.output.path) if alone else Path(config.output.path) / InputSequence.at(path).name
    world = output / STAGES[4]
    return InputSequence(path, world if 4 in config.stages or world.is_dir() else path / STAGES[4], output, named)
