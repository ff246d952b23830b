"""How the programs of stages 1 to 3, which are others', are called: for one video, or for many in one process."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ValidationInfo, field_validator, model_validator

from pose_priors.configs.base import Config
from pose_priors.configs.slurm import SlurmConfig
from pose_priors.refinement.batch.experiment import InputConfig, RefinementExperiment

_PLACE = re.compile(r"\{(\w+)\}")
_PLACES = {
    "command": ("video", "output", "stage1", "stage2"),
    "command_many": ("list",),
    "max_frames": ("max_frames",),
    "person_ids": ("person_ids",),
}
_ON_WISH = ("max_frames", "person_ids")


@dataclass(frozen=True)
class Wanted:
    """What of a video a program is to work on.

    Attributes:
        max_frames: only the first so many frames; None for all.
        person_ids: only these people; None for all.
    """

    max_frames: int | None = None
    person_ids: tuple[int, ...] | None = None


class StageCommand(Config):
    """How the program of one stage is called. No shell reads it: words are split as a shell would, then `{...}` in them are replaced, so
    that a path with blanks or quotes stays one word."""

    command: str | None = None
    """For one video. `{video}` is the video, `{output}` the stage's folder, `{stage1}` and `{stage2}` those of earlier stages; null where
    the output is there already."""
    command_many: str | None = None
    """In its place, for many videos in one process, which loads its models once. `{list}` is a file of one JSON object a line, see
    `batch.lists`."""
    max_frames: str | None = None
    """Words that are added to the command where only the first frames are wanted: `--max_frames {max_frames}`."""
    person_ids: str | None = None
    """Words that are added where only some people are wanted: `--person_ids {person_ids}`. Alone, the place becomes a word for each id, of
    three digits as in `person_001`; within a word, ids are joined by commas."""

    @field_validator("command", "command_many", "max_frames", "person_ids")
    @classmethod
    def _check_words(cls, text: str | None, field: ValidationInfo) -> str | None:
        allowed = _PLACES[str(field.field_name)]
        return None if text is None else _checked(text, allowed, _ON_WISH)

    @model_validator(mode="after")
    def _check_places(self) -> StageCommand:
        for name in _PLACES:
            for place in _PLACE.findall(getattr(self, name) or ""):
                if place in _ON_WISH and place != name:
                    raise ValueError(f"{{{place}}} belongs into {place}, whose words are left out where all are wanted")
        if self.command is not None and self.command_many is not None:
            raise ValueError("command is for each video, command_many for all in one process: give one of them")
        if self.command_many is not None and "{list}" not in self.command_many:
            raise ValueError("command_many: has to take {list}, the file that names the videos")
        return self

    def words(self, places: Mapping[str, str], wanted: Wanted) -> list[str]:
        """The program and its arguments. `places` are those of the command."""
        ids = [f"{person:03d}" for person in wanted.person_ids or ()]
        given = {**places, "max_frames": str(wanted.max_frames), "person_ids": ",".join(ids)}
        found: list[str] = []
        for word in shlex.split(" ".join(self.identity(wanted))):
            found += ids if word == "{person_ids}" else [_PLACE.sub(lambda match: given[match[1]], word)]
        return found

    def identity(self, wanted: Wanted) -> list[str]:
        """The texts that the call is made of, of which a result depends."""
        texts = [self.command, self.command_many]
        texts += [self.max_frames] if wanted.max_frames is not None else []
        texts += [self.person_ids] if wanted.person_ids is not None else []
        return [text for text in texts if text is not None]

    def obeyed(self, wanted: Wanted) -> Wanted:
        """What of the wishes the program is told."""
        return Wanted(
            wanted.max_frames if self.max_frames is not None else None,
            wanted.person_ids if self.person_ids is not None else None,
        )


class ProgramCommand(Config):
    """How a program beside the stages is called, once for each video; its words are read as those of a stage's."""

    places: ClassVar[tuple[str, ...]]
    command: str | None = None

    @field_validator("command")
    @classmethod
    def _check_words(cls, text: str | None) -> str | None:
        return None if text is None else _checked(text, cls.places)

    def words(self, places: Mapping[str, str]) -> list[str]:
        """The program and its arguments."""
        return [_PLACE.sub(lambda match: places[match[1]], word) for word in shlex.split(self.command or "")]


class GravityCommand(ProgramCommand):
    """Says before stage 5 which way is up, as GeoCalib does: of `{video}` and `{stage1}`, one file in `{output}`, see
    `formats.witnesses.gravity`."""

    places = ("video", "stage1", "output")


class ContactsCommand(ProgramCommand):
    """Says before stage 5 when feet touch the ground, as BSTRO does: of `{video}` and `{stage2}`, files in `{output}`, see
    `formats.witnesses.foot_contacts`."""

    places = ("video", "stage1", "stage2", "output")


class BackgroundCommand(ProgramCommand):
    """Makes a mesh of the scene: `{video}`, `{stage1}` and `{refined}` (the folder of stage 5) to files in `{output}`."""

    places = ("video", "stage1", "refined", "output")


class RetargetingCommand(ProgramCommand):
    """Carries the motion of one person to a robot: `{motion}`, an npz in AMASS's layout below the folder `{motions}`, and `{floor}`, of the
    person with the id `{person}`, to files in `{output}`."""

    places = ("motion", "motions", "floor", "person", "output")
    layout: Literal["amass", "retarget"] = "amass"
    """What `{motion}` is: AMASS's layout at the clip's rate, or as GMR and holosoma take it, see `export.retarget`."""
    urdf: str | None = None
    """The robot's description, with which its motion (a pkl or npz in `{output}`) is shown in the recording and on the review page."""


class PipelineInput(InputConfig):
    """Which videos, and what of them."""

    skip_existing: bool = True
    """Whether a stage is skipped whose output is complete and was made from the same input by the same command."""


class PipelineSlurm(SlurmConfig):
    """What the jobs of each stage get: what the section says, but for what its own stage says."""

    stage1: SlurmConfig = SlurmConfig()
    stage2: SlurmConfig = SlurmConfig()
    stage3: SlurmConfig = SlurmConfig()
    stage4: SlurmConfig = SlurmConfig()
    stage5: SlurmConfig = SlurmConfig()

    def of_stage(self, stage: int) -> SlurmConfig:
        """What the jobs of one stage get."""
        own = {1: self.stage1, 2: self.stage2, 3: self.stage3, 4: self.stage4, 5: self.stage5}[stage]
        given = {name: getattr(self, name) for name in SlurmConfig.model_fields}
        return SlurmConfig(**given | {name: getattr(own, name) for name in own.model_fields_set})


class PipelineConfig(RefinementExperiment):
    """The programs of stages 1 to 3, and how stages 4 and 5 are done here."""

    stage1: StageCommand = StageCommand()
    stage2: StageCommand = StageCommand()
    stage3: StageCommand = StageCommand()
    gravity: GravityCommand = GravityCommand()
    contacts: ContactsCommand = ContactsCommand()
    background: BackgroundCommand = BackgroundCommand()
    retargeting: RetargetingCommand = RetargetingCommand()
    input: PipelineInput = PipelineInput()
    slurm: PipelineSlurm = PipelineSlurm()

    @model_validator(mode="after")
    def _check_what_is_said_elsewhere(self) -> PipelineConfig:
        if self.input.path is not None or self.output.path is not None:
            raise ValueError("input.path and output.path are the pipeline's own output folder; leave them out")
        if self.input.format is not None:
            raise ValueError("input.format: stages 4 and 5 read the folders of stages 1 to 3; leave it out")
        if "stages" in self.model_fields_set:
            raise ValueError("stages: which are run is said to the pipeline, by skip_stages or run_stages; leave it out")
        for name, command, given in (
            ("gravity", self.gravity.command, self.input.gravity),
            ("contacts", self.contacts.command, self.input.contacts),
        ):
            if command is not None and given is not None:
                raise ValueError(f"input.{name} names a file, and {name}.command makes one: give one of them")
        return self

    def stage_command(self, stage: int) -> StageCommand:
        """The program of stage 1, 2 or 3."""
        return {1: self.stage1, 2: self.stage2, 3: self.stage3}[stage]

    @property
    def wanted(self) -> Wanted:
        """What of each video is wanted."""
        ids = self.input.person_ids
        return Wanted(self.input.max_frames, None if ids is None else tuple(ids))


def _checked(text: str, allowed: Sequence[str], also: Sequence[str] = ()) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"cannot be split into words ({error})") from error
    if not words:
        raise ValueError("is empty; null leaves it out")
    if unknown := [place for place in _PLACE.findall(text) if place not in (*allowed, *also)]:
        raise ValueError(f"{{{unknown[0]}}} stands for nothing; allowed: {', '.join(f'{{{place}}}' for place in allowed)}")
    return text
