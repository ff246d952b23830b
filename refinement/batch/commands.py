"""Stages 1 to 3: programs of others that are run by a command, and what each must leave behind."""

from __future__ import annotations

import logging
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import field_validator, model_validator

from pose_priors.configs.base import Config, UserError
from pose_priors.datamodules.stage_folders import STAGES
from pose_priors.refinement.batch.experiment import RefinementExperiment

log = logging.getLogger("refine")

NAMES = {1: "camera estimation", 2: "tracking", 3: "pose estimation", 4: "world space", 5: "refinement"}
NEEDS: Mapping[int, tuple[int, ...]] = {1: (), 2: (1,), 3: (1, 2), 4: (1, 3), 5: (1, 2, 3)}
"""The stages whose output each stage reads. Stage 5 makes do without stage 4."""
_LEAVES = {
    1: ("cameras.npz",),
    2: ("tracks.npz", "detections/frame_*.pkl", "keypoints_2d/person_*.npz"),
    3: ("person_*/smpl_params_camera.npz",),
    4: ("person_*/smpl_params_world.npz",),
}
_PLACES = ("video", "output", "stage1", "stage2", "max_frames")
_PLACE = re.compile(r"\{(\w+)\}")
_TAIL = 2000


class StageCommand(Config):
    """How the program of one stage is called. No shell reads it: words are split as a shell would, then `{...}` in them are replaced, so
    that a path with blanks or quotes stays one word."""

    command: str | None = None
    """`{video}` is the video, `{output}` the stage's folder, `{stage1}` and `{stage2}` those of earlier stages; null where the output is
    there already."""
    max_frames: str | None = None
    """Words that are added to the command where only the first frames are wanted: `--max_frames {max_frames}`."""

    @field_validator("command", "max_frames")
    @classmethod
    def _check_words(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise ValueError(f"cannot be split into words ({error})") from error
        if not words:
            raise ValueError("is empty; null leaves it out")
        if unknown := [place for place in _PLACE.findall(text) if place not in _PLACES]:
            raise ValueError(f"{{{unknown[0]}}} stands for nothing; allowed: {', '.join(f'{{{place}}}' for place in _PLACES)}")
        return text

    @model_validator(mode="after")
    def _check_frames(self) -> StageCommand:
        if "{max_frames}" in (self.command or ""):
            raise ValueError("{max_frames} belongs into max_frames, whose words are left out where all frames are wanted")
        return self

    def words(self, places: Mapping[str, str], limited: bool) -> list[str]:
        """The program and its arguments; `limited` adds those of `max_frames`."""
        words = shlex.split(self.command or "") + (shlex.split(self.max_frames or "") if limited else [])
        return [_PLACE.sub(lambda match: places[match[1]], word) for word in words]


class PipelineConfig(RefinementExperiment):
    """The programs of stages 1 to 3, and how stages 4 and 5 are done here."""

    stage1: StageCommand = StageCommand()
    stage2: StageCommand = StageCommand()
    stage3: StageCommand = StageCommand()

    @model_validator(mode="after")
    def _check_places(self) -> PipelineConfig:
        if self.input.path is not None or self.output.path is not None:
            raise ValueError("input.path and output.path are the pipeline's own output folder; leave them out")
        if "stages" in self.model_fields_set:
            raise ValueError("stages: which are run is said to the pipeline, by skip_stages or run_stages; leave it out")
        return self

    def stage_command(self, stage: int) -> StageCommand:
        """The program of stage 1, 2 or 3."""
        return {1: self.stage1, 2: self.stage2, 3: self.stage3}[stage]


def require_output(stage: int, folder: Path, needed_by: int | None = None) -> None:
    """Raises `UserError` if a stage has not left what it must, and names the file and the stage that makes it."""
    if any(any(folder.glob(pattern)) for pattern in _LEAVES[stage]):
        return
    missing = " or ".join(_LEAVES[stage])
    if needed_by is None:
        raise UserError(f"{folder}: stage {stage} ({NAMES[stage]}) ended well but left no {missing}; does its command write to {{output}}?")
    raise UserError(
        f"{folder}: no {missing}, which stage {needed_by} ({NAMES[needed_by]}) needs; stage {stage} ({NAMES[stage]}) makes it: run it first"
    )


def run_command(stage: int, command: StageCommand, video: Path, root: Path, max_frames: int | None) -> float:
    """Runs the program of one stage; what it prints goes to `logs/stage<n>.log` in `root` as it comes.

    Returns:
        seconds that it took.
    Raises:
        UserError: if it has no command, cannot be started, fails, or does not leave what it must.
    """
    if command.command is None:
        raise UserError(
            f"stage{stage}.command is not given; it is the program of stage {stage} ({NAMES[stage]}). Without one, leave the stage out"
        )
    if max_frames is not None and command.max_frames is None:
        log.warning("stage%d.max_frames is not given: it works on all frames, stages 4 and 5 on the first %d", stage, max_frames)
    output = root / STAGES[stage]
    output.mkdir(parents=True, exist_ok=True)
    places = {"video": video, "output": output, "stage1": root / STAGES[1], "stage2": root / STAGES[2], "max_frames": max_frames}
    limited = max_frames is not None and command.max_frames is not None
    words = command.words({name: str(value) for name, value in places.items()}, limited)
    printed = root / "logs" / f"stage{stage}.log"
    printed.parent.mkdir(exist_ok=True)
    log.info("stage %d (%s): %s, prints to %s", stage, NAMES[stage], shlex.join(words), printed)
    began = time.perf_counter()
    with printed.open("wb") as stream:
        stream.write(f"$ {shlex.join(words)}\n".encode())
        stream.flush()
        try:
            code = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, check=False).returncode
        except OSError as error:
            raise UserError(f"stage{stage}.command: {words[0]} cannot be started ({error.strerror})") from error
    if code:
        how = f"exit code {code}" if code > 0 else f"signal {_signal_name(-code)}"
        raise UserError(f"stage {stage} ({NAMES[stage]}) failed with {how}; its last words: {_last_line(printed)!r}; all are in {printed}")
    require_output(stage, output)
    return time.perf_counter() - began


def check_stages(stages: Sequence[int]) -> list[int]:
    """Some of the stages 1 to 5, in order, each once. Raises `UserError` if there are others."""
    if unknown := [stage for stage in stages if stage not in NAMES]:
        raise UserError(f"stage {unknown[0]}: no such stage; there are {', '.join(f'{n} ({name})' for n, name in NAMES.items())}")
    return sorted(set(stages))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _last_line(path: Path) -> str:
    lines = path.read_bytes()[-_TAIL:].decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines[1:]) if line.strip()), "none")
