"""Which refined sequences lie in a folder, and where their inputs may be."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pose_priors.configs.base import UserError, listed
from pose_priors.configs.exchange import finish_exchanges
from pose_priors.refinement.formats.files import existing_folder
from pose_priors.refinement.formats.sequence import REFINED, InputSequence, is_sequence
from pose_priors.refinement.result.write import RESULTS


@dataclass(frozen=True)
class RefinedSequence:
    """One refined sequence.

    Attributes:
        name: of the sequence.
        refined: the folder of stage 5.
        candidates: where its input may lie, the likeliest first; none has been opened.
    """

    name: str
    refined: Path
    candidates: tuple[Path, ...]

    def source(self) -> Path | None:
        """What was refined, a folder or a tool's file; None where it is not known."""
        return next((path for path in self.candidates if is_sequence(path)), None)


def find_results(root: Path, inputs: Path | None = None) -> list[RefinedSequence]:
    """The refined sequences of a folder, by name, however `refine.py` left them. Only folders are listed, no file is opened.

    They lie in `5_refinement` of each sequence's own folder, or, with `output.path`, in a folder of each sequence's name. The folder itself
    may be one sequence or one result.

    Args:
        root: sequences, or results.
        inputs: the sequences, or the one sequence, where results lie elsewhere.
    Raises:
        UserError: if there is no such folder, or no result in it.
    """
    existing_folder(root, "a folder of refined sequences")
    if inputs is not None and not inputs.exists():
        raise UserError(f"{inputs}: no such folder or file; the sequences that were refined are expected, as input.path had them")
    root = root.resolve()
    given = {} if inputs is None or inputs.is_file() else _by_name(inputs)
    inside = _by_name(root)
    results = []
    if (alone := _refined(root)) is not None:
        home = root.parent if root.name == REFINED else root
        found = (*given.get(home.name, ()), *([] if inputs is None else [inputs]), *_by_name(home.parent)[home.name])
        results.append(RefinedSequence(home.name, alone, found))
    for path in sorted(path for path in root.iterdir() if path.is_dir() and path.name != REFINED and not path.name.startswith(".")):
        if (refined := _refined(path)) is not None:
            results.append(RefinedSequence(path.name, refined, (*given.get(path.name, ()), *inside[path.name])))
    if not results:
        holds = listed([path.name for path in sorted(root.iterdir())]) or "nothing"
        raise UserError(f"{root}: no refined sequence, neither NAME/{REFINED}/{RESULTS} nor NAME/{RESULTS}; it holds {holds}")
    return results


def selected(
    results: Sequence[RefinedSequence], pattern: str | None = None, start: int = 0, end: int | None = None
) -> list[RefinedSequence]:
    """Some of the results: of those whose name matches, from one number up to but without another, in their order.

    Args:
        pattern: for the whole name, `jump*`; one that is no name and has no wildcards is looked for within names; None for all.
    Raises:
        UserError: if none is left.
    """
    names = [result.name for result in results]
    within = pattern is not None and not any(letter in pattern for letter in "*?[") and pattern not in names
    wanted = "*" if pattern is None else f"*{pattern}*" if within else pattern
    found = [result for result in results if fnmatch.fnmatchcase(result.name, wanted)]
    if not found:
        raise UserError(f"pattern {pattern}: no sequence has such a name; there are {listed(names)}")
    if start < 0 or (end is not None and end <= start) or not found[start:end]:
        range_of = f"{start}..{'' if end is None else end}"
        raise UserError(f"start-idx..end-idx {range_of}: holds none of the {len(found)} sequences, which are counted from 0")
    return found[start:end]


def _refined(folder: Path) -> Path | None:
    """Where the result is, of a sequence's folder or of one of results."""
    for path in (folder / REFINED, folder):
        finish_exchanges(path)
        if (path / RESULTS).is_file():
            return path
    return None


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """What lies in a folder by the name that it has as a sequence, folders before files."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name)):
        found.setdefault(InputSequence.at(path).name, []).append(path)
    return found
