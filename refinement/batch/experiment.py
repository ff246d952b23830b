"""The whole configuration of `refine.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from pose_priors.configs.base import Config, LoggerKind, flattened
from pose_priors.configs.slurm import SlurmConfig
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.people import PersonSelection
from pose_priors.refinement.solve import terms
from pose_priors.refinement.solve.config import RefinementConfig

if TYPE_CHECKING:
    from pytorch_lightning.callbacks import Callback
    from pytorch_lightning.loggers import Logger

_DESCRIPTIONS = {
    f"terms/{term.name}": f"{term.__name__}, unweighted, nats per person and frame. {(term.__doc__ or '').splitlines()[0]}"
    for term in (getattr(terms, name) for name in terms.__all__)
    if hasattr(term, "name")
} | {"loss": "what the sub-stage minimises: its terms times their weights"}


class InputConfig(PersonSelection):
    """What is refined."""

    path: str | None = None
    """The folder of a sequence, with those of stages 1 to 4 in it, or a folder of such folders; null for the built-in sequence."""
    format: str | None = None
    """Which tool wrote it: the name of one of ours or of an entry point, or `module:reader`; null to tell by the content."""
    pattern: str | None = None
    """Of a folder of sequences, those whose whole name matches: `jump*`, `*_cam0?`; null for all."""
    start_idx: int = Field(0, ge=0)
    """Of these, in order of their names, from the one of this number, counted from 0 ..."""
    end_idx: int | None = Field(None, ge=1)
    """... up to but without the one of this number; null for all."""
    mode: Literal["joint", "per_person"] = "joint"
    """All people together; or each of them alone too, and how the results differ, see `batch.per_person`."""
    skip_existing: bool = False
    """Whether a sequence is skipped whose result is complete and was made from the same input and configuration."""
    fps: float | None = Field(None, gt=0)
    """Frames a second; null for what stage 1 says."""
    max_frames: int | None = Field(None, ge=1)
    """Only the first so many frames are used; null for all."""
    gravity: str | None = None
    """A file that says which way is up, of GeoCalib or another program; `{name}` in it stands for the sequence's name; null for what lies
    in `gravity` in the sequence's folder, and without that to find it."""
    cameras: str | None = None
    """Likewise the cameras, and depth where it has any, that ViPE, MegaSaM, VGGT, DROID-SLAM or an odometry found, in the place of those of
    the people's tool; or a folder of stage 1, or another tool's result; null for those of the people's tool."""
    contacts: str | None = None
    """Likewise a file or folder that says when feet touch the ground, of BSTRO or another program; null for `contacts` there."""
    keypoint_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the keypoints of each person and frame that is dropped, to see how much rests on them."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Of the dropout, of the search for the floor, and of the built-in sequence."""

    @model_validator(mode="after")
    def _check_range(self) -> InputConfig:
        if self.end_idx is not None and self.end_idx <= self.start_idx:
            raise ValueError(f"end_idx={self.end_idx} is the first sequence left out, it must be larger than start_idx={self.start_idx}")
        return self


class OutputConfig(Config):
    """Where the result goes; nothing else is written to."""

    path: str | None = None
    """Null for `5_refinement` (and `4_world_space`) in the folder of the sequence. With many sequences, the folder that gets one folder for
    each."""


class PriorConfig(Config):
    """Trained priors that say what poses are like."""

    body: str | None = None
    """A checkpoint of a pose prior; null for the distance from the zero pose."""
    hands: str | None = None
    """A checkpoint of a hand prior; null to leave hands as they are."""
    allow: list[str] = Field(default_factory=list)
    """Packages that may be imported because a checkpoint names one of their priors by `module:Class`."""


class BodyModelConfig(Config):
    """Whether bodies have betas."""

    path: str | None = None
    """A file or folder in smplx's format; null for the skeletons that stage 3 shows."""


class MotionPriorConfig(Config):
    """What motions are like."""

    path: str | None = None
    """A checkpoint of a prior of steps, ours or HuMoR's, or of whole clips (motion_flow); null for smoothness in its place."""


class RefinementLoggingConfig(Config):
    """How a refinement is watched."""

    logger: LoggerKind | None = None
    """Where the terms are logged beside `optimization_metrics.json`."""
    log_dir: str = "lightning_logs"
    project: str = "pose-priors"
    """Weights & Biases' project."""
    offline: bool = False
    """Weights & Biases without network or account."""


class RefinementExperiment(Config):
    """A refinement: of what, to where, with which priors, how, and how it is watched."""

    input: InputConfig = InputConfig()
    output: OutputConfig = OutputConfig()
    stages: list[int] = Field(default_factory=lambda: [5])
    """4 carries the people of stage 3 into the world, 5 refines them there."""
    prior: PriorConfig = PriorConfig()
    body_model: BodyModelConfig = BodyModelConfig()
    motion_prior: MotionPriorConfig = MotionPriorConfig()
    refinement: RefinementConfig = RefinementConfig()
    record: bool = False
    """Whether recordings for rerun are written beside the result, see `show.record`."""
    logging: RefinementLoggingConfig = RefinementLoggingConfig()
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Passed on to Lightning's Trainer: `accelerator`, `devices`, `enable_progress_bar`, ..."""
    slurm: SlurmConfig = SlurmConfig()

    def load_options(self) -> LoadOptions:
        """How each sequence is read."""
        return LoadOptions(
            fps=self.input.fps,
            body_model=None if self.body_model.path is None else Path(self.body_model.path),
            ground_plane_init=self.refinement.ground_plane_init,
            keypoint_dropout=self.input.keypoint_dropout,
            seed=self.input.seed,
            max_frames=self.input.max_frames,
            who=self.input,
        )

    @contextmanager
    def watched(self, name: str) -> Iterator[tuple[Logger | None, list[Callback]]]:
        """A block in which one clip is refined: its logger and what tells that the configuration, none where nothing is logged. Runs are
        told apart by what is not as it is by default."""
        if self.logging.logger is None:
            yield None, []
            return
        from pose_priors.configs.loggers import ConfigLog, finished, make_logger  # brings Lightning

        usual = flattened(RefinementExperiment().model_dump(mode="json"))
        given = flattened(self.model_dump(mode="json", include={"refinement", "prior", "motion_prior"}))
        made = make_logger(
            self.logging.logger,
            self.logging.log_dir,
            name,
            [f"{key}={value}" for key, value in given.items() if value != usual[key]],
            project=self.logging.project,
            offline=self.logging.offline,
            descriptions=_DESCRIPTIONS,
        )
        with finished(made) as logger:
            yield logger, [ConfigLog(self.model_dump(mode="json"))]

    @field_validator("stages")
    @classmethod
    def _check_stages(cls, stages: list[int]) -> list[int]:
        if not stages or not set(stages) <= {4, 5} or sorted(set(stages)) != stages:
            raise ValueError("[4], [5] or [4, 5] is expected; stages 1 to 3 are programs of others, which pipeline.py runs")
        return stages

    @model_validator(mode="after")
    def _check_stage5(self) -> RefinementExperiment:
        if self.input.mode == "per_person" and 5 not in self.stages:
            raise ValueError(f"input.mode=per_person compares results of stage 5, and stages={self.stages} makes none; add 5 to stages")
        if self.record and 5 not in self.stages:
            raise ValueError(f"record=true records results of stage 5, and stages={self.stages} makes none; add 5 to stages")
        return self
