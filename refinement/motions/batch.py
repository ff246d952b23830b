"""Files of motions one after the other: what is done already is left, what fails does not stop the others, memory is that of one file."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pose_priors.configs.base import UserError, one_line, reason_of
from pose_priors.configs.exchange import check_writable
from pose_priors.datamodules.cache.entry import is_of_an_entry
from pose_priors.datamodules.capture.as_poses import read_from
from pose_priors.refinement.motions.config import MotionsConfig
from pose_priors.refinement.motions.files.read import SUFFIXES, is_looked_for
from pose_priors.refinement.motions.files.write import written_name
from pose_priors.refinement.motions.learned.load import digest_of_priors
from pose_priors.refinement.motions.outputs import hash_of

log = logging.getLogger("motions")

_VERSION = "6"  # of what is found and taken out: results of another are made anew


@dataclass(frozen=True)
class Source:
    """One file: where it is, and its path below the folder that was given, which is its name in the output."""

    path: Path
    name: str

    @property
    def shown(self) -> str:
        """The name in a log, where bytes that are no text are told as escapes."""
        return one_line(self.name)


@dataclass(frozen=True)
class Outcome:
    """What became of a file."""

    name: str
    status: Literal["success", "skipped", "failed"]
    reason: str = ""


def find_sources(path: Path, output: Path) -> list[Source]:
    """The files that a path means, sorted: itself, or all below a folder with a suffix that is read; what lies in the output, or is of a
    cache of converted poses, is not among them.

    Raises:
        UserError: if there is none, two differ by their suffixes alone, or the output cannot be written to or would take a file's own
            place.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; a file of motions ({', '.join(SUFFIXES)}) or a folder of such files is expected")
    check_writable(output)
    if path.is_dir():
        inside = output.resolve()
        if inside == path.resolve():
            raise UserError(f"--output {output}: the files in it would be overwritten; give another folder")
        if inside in path.resolve().parents:
            raise UserError(f"--output {output}: {path} lies in it, and what lies in the output is no motion to read; give another folder")
        try:
            # a link to nothing, or to itself, is taken along, so that it fails and is told
            files = [file for file in path.rglob("*") if is_looked_for(file) and (file.is_file() or not file.exists())]
        except OSError as error:  # a folder that goes while it is looked through
            raise UserError(f"{path}: cannot be looked through ({reason_of(error)}); give the same command again") from error
        found = sorted(file for file in files if inside not in Path(os.path.realpath(file)).parents)
        found = [file for file in found if not file.name.startswith(".") and not is_of_an_entry(file)]
        sources = [Source(file, file.relative_to(path).as_posix()) for file in found]
        if not sources:
            raise UserError(f"{path}: no motions in this folder; looked for {', '.join('*' + s for s in SUFFIXES)}, in subfolders too")
    else:
        sources = [Source(path, path.name)]
    clips: dict[Path, Source] = {}
    for source in sources:
        same = clips.setdefault(Path(source.name).with_suffix(""), source)
        if same is not source:
            raise UserError(f"{path}: {same.name} and {source.name} would be one clip; rename one of them")
        if (output / written_name(source.name)).resolve() == Path(os.path.realpath(source.path)):
            raise UserError(f"--output {output}: {source.path} would be overwritten; give another folder")
    return sources


def digest_of(source: Path, task: str, config: MotionsConfig) -> str:
    """Names a result by all that decides it: the task, its settings, the bytes of the file, of an AMC's skeleton too, and of priors. Raises
    `UserError` if one cannot be read."""
    settings = {"task": task, "version": _VERSION, "settings": config.model_dump(mode="json", exclude={"slurm", "prior"})}
    settings["priors"] = digest_of_priors(config.prior)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for file in read_from(source):
        digest.update(hash_of(file))
    return digest.hexdigest()


def work_through(sources: Sequence[Source], task: Callable[[Source], bool]) -> list[Outcome]:
    """Does a task on each file; one that fails is told of and left.

    Args:
        task: returns whether there was anything to do; raises `UserError` on a file that it cannot take.
    """
    outcomes = []
    for number, source in enumerate(sources, start=1):
        try:
            done = task(source)
            outcomes.append(Outcome(source.name, "success" if done else "skipped"))
            log.info("%d/%d %s%s", number, len(sources), source.shown, "" if done else ": complete, skipped")
        except UserError as error:
            log.error("error: %s: %s", source.shown, error)
            outcomes.append(Outcome(source.name, "failed", str(error)))
        except Exception as error:
            log.exception("%s: a defect of this program, not of the file; the other files go on", source.shown)
            reason = f"a defect of this program, {type(error).__name__}: {reason_of(error)}"
            outcomes.append(Outcome(source.name, "failed", reason))
    return outcomes


def refuse_failed(outcomes: Sequence[Outcome]) -> None:
    """Raises `UserError` that names the files that failed, if any did: how a job ends."""
    if failed := [f"{outcome.name} ({outcome.reason})" for outcome in outcomes if outcome.status == "failed"]:
        raise UserError(f"{len(failed)} of {len(outcomes)} files failed: {', '.join(failed)}")


def exit_if_failed(outcomes: Sequence[Outcome]) -> None:
    """Prints the files that failed, a line each, and exits with code 1, if any did: how a command ends."""
    if failed := [outcome for outcome in outcomes if outcome.status == "failed"]:
        print(f"error: {len(failed)} of {len(outcomes)} files failed", file=sys.stderr)
        for outcome in failed:
            print(f"  {outcome.name}: {outcome.reason}", file=sys.stderr)
        sys.exit(1)


def in_groups(sources: Sequence[Source], size: int) -> list[list[Source]]:
    """Files of one job each."""
    return [list(sources[first : first + size]) for first in range(0, len(sources), size)]
