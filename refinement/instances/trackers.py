"""Trackers: programs of others, each given as a command, that follow the query points of one instance and write a recording."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import Field, field_validator

from pose_priors.configs.base import Config, UserError
from pose_priors.configs.writing import written_aside
from pose_priors.refinement.instances.query import QueryConfig

PLACES = ("npz", "rrd", "tracker", "instance", "temporal_stride", "spatial_downsample", "depth_estimator", "depth_cache_dir")
"""What stands for something in a command."""
_NEEDED = ("npz", "rrd")
_PLACE = re.compile(r"\{(\w*)\}")
_TAIL, _LINES = 4000, 3


class TrackerConfig(Config):
    """How a tracker is called. No shell reads the command: words are split as a shell would, then `{...}` in them are replaced, so that a
    path with blanks or quotes stays one word."""

    command: str
    """`{npz}` is read: one instance with its query points; `{rrd}` is to be written. The other places are `{tracker}`, `{instance}` and the
    options of the command line."""
    directory: str | None = None
    """Where it is run, as a rule the folder of the tracker's code; null for the current one."""

    @field_validator("command")
    @classmethod
    def _check_command(cls, text: str) -> str:
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise ValueError(f"cannot be split into words ({error})") from error
        if not words:
            raise ValueError("is empty")
        found = _PLACE.findall(text)
        allowed = ", ".join(f"{{{place}}}" for place in PLACES)
        if unknown := [place for place in found if place not in PLACES]:
            raise ValueError(f"{{{unknown[0]}}} stands for nothing; allowed: {allowed}")
        if missing := [place for place in _NEEDED if place not in found]:
            raise ValueError(f"{{{missing[0]}}} is missing, without which nothing is {'read' if missing[0] == 'npz' else 'written'}")
        return text

    @property
    def places(self) -> set[str]:
        """The places in the command."""
        return set(_PLACE.findall(self.command))

    def words(self, values: Mapping[str, str]) -> list[str]:
        """The program and its arguments, with each place replaced."""
        return [_PLACE.sub(lambda match: values[match[1]], word) for word in shlex.split(self.command)]


class TrackersConfig(Config):
    """The trackers that can be asked for, and the points that they are asked to follow."""

    query_points: QueryConfig = QueryConfig()
    trackers: dict[str, TrackerConfig] = Field(min_length=1)

    @field_validator("trackers")
    @classmethod
    def _check_names(cls, trackers: dict[str, TrackerConfig]) -> dict[str, TrackerConfig]:
        for name in trackers:
            if not re.fullmatch(r"\w[\w.+-]*", name):
                raise ValueError(f"{name!r} cannot be a part of a file name; letters, digits and _.+- are allowed")
        return trackers

    def tracker(self, name: str, given: Collection[str] = ()) -> TrackerConfig:
        """A tracker that can be run.

        Args:
            name: of the tracker.
            given: places that the user has given a value for: a command without them would leave it unsaid.
        Raises:
            UserError: if there is none of that name, its program, script or folder does not exist, or it takes no such option.
        """
        if name not in self.trackers:
            raise UserError(f"--tracker {name}: not among the trackers of the config; there are {', '.join(self.trackers)}")
        found, at = self.trackers[name], f"trackers.{name}"
        folder = Path(found.directory or ".").expanduser()
        if not folder.is_dir():
            raise UserError(f"{at}.directory: {folder} is no folder; give that of the tracker's code")
        program, *rest = shlex.split(found.command)
        here = str(folder / program) if os.sep in program else program
        if shutil.which(here) is None:
            raise UserError(
                f"{at}.command: there is no program {program}{' in ' + str(folder) if os.sep in program else ''}; install it, or say where"
            )
        script = rest[0] if rest else ""
        if script.endswith(".py") and not _PLACE.search(script) and not (folder / script).is_file():
            raise UserError(
                f"{at}.command: there is no {script} in {folder.resolve()}; give the folder of the tracker's code as {at}.directory"
            )
        if unsaid := sorted(set(given) - found.places):
            option = unsaid[0].replace("_", "-")
            raise UserError(f"--{option}: the command of {name} has no {{{unsaid[0]}}}, so it would not be told; add it to {at}.command")
        return found


def run_tracker(tracker: TrackerConfig, values: Mapping[str, str], rrd: Path, printed: Path) -> None:
    """Runs a tracker on one instance.

    Args:
        values: for all places but `{rrd}`, paths absolute.
        rrd: the recording, which appears whole or not at all.
        printed: what the program prints goes to files of this name, `.out` and `.err`, as it comes.
    Raises:
        UserError: if it cannot be started, fails, or leaves no recording; with the last lines that it wrote to its standard error.
    """
    folder = Path(tracker.directory or ".").expanduser()
    printed.parent.mkdir(parents=True, exist_ok=True)
    out, err = printed.with_name(f"{printed.name}.out"), printed.with_name(f"{printed.name}.err")
    with written_aside(rrd.absolute()) as aside:
        words = tracker.words({**values, "rrd": str(aside)})
        with out.open("wb") as stdout, err.open("wb") as stderr:
            stdout.write(f"$ {shlex.join(words)}\n".encode())
            stdout.flush()
            try:
                done = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, check=False)
            except OSError as error:
                raise UserError(f"{words[0]} cannot be started ({error.strerror})") from error
        if done.returncode:
            raise UserError(f"{_how(done.returncode)}; its last words: {_last_lines(err)}; all are in {err}")
        if not aside.is_file():
            raise UserError(f"ended well but wrote no {{rrd}}; its last words: {_last_lines(err)}; all are in {err}")


def _how(code: int) -> str:
    if code > 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"signal {-code}"


def _last_lines(path: Path) -> str:
    lines = path.read_bytes()[-_TAIL:].decode(errors="replace").splitlines()
    return " | ".join([line.strip() for line in lines if line.strip()][-_LINES:]) or "none"
