"""The whole of an experiment: composition only, every section's fields stand beside the class that they configure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, SerializeAsAny, create_model
from pytorch_lightning import Callback

from pose_priors.configs.base import Config, UserError
from pose_priors.configs.load import read_config
from pose_priors.configs.plugins import PluginError
from pose_priors.configs.slurm import SlurmConfig
from pose_priors.configs.validation import Source, kinds_allowed, validate
from pose_priors.datamodules.base import DataConfig, PoseDataModule
from pose_priors.datamodules.motion_data import MotionDataConfig, MotionDataModule
from pose_priors.priors import KINDS, AnyPriorConfig, PriorConfig, TrainablePrior
from pose_priors.priors.base import PriorConfigBase
from pose_priors.priors.foreign import PRIORS
from pose_priors.priors.motion.kinds import AnyMotionPrior, MotionPriorConfig, window_frames
from pose_priors.priors.training.callbacks import MotionReport, SampleReport
from pose_priors.priors.training.config import TrainingConfig
from pose_priors.priors.training.logging import LoggingConfig


class ExperimentConfig(Config):
    """A prior, its data, and how it is trained and watched."""

    model: PriorConfig
    data: DataConfig = DataConfig()
    training: TrainingConfig
    logging: LoggingConfig = LoggingConfig()
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Passed on to Lightning's Trainer: `devices`, `accelerator`, `num_nodes`, `strategy`, `precision`, ..."""
    slurm: SlurmConfig = SlurmConfig()
    seed: int = Field(0, ge=0, lt=2**32)  # what numpy and torch take alike

    def build_data(self) -> PoseDataModule:
        """The data module, before its `setup`. Where batches follow the number of rows, those of one row, until that is known."""
        return PoseDataModule(self.data, self._first_batch, self.seed)

    @property
    def _first_batch(self) -> int:
        return 1 if self.training.batch_size == "auto" else self.training.batch_size

    def build_prior(self, data: PoseDataModule) -> TrainablePrior:
        """The prior for data that are set up, before its `start`."""
        return self.model.build(data.joint_indices)

    def build_report(self, data: PoseDataModule) -> Callback:
        """What is watched beside the loss."""
        return SampleReport(data.validation_sample(), self.logging.figures_every_n_epochs)


class MotionExperimentConfig(ExperimentConfig):
    """As `ExperimentConfig`, for a prior of motions."""

    # what trains an experiment hands the parts of one on to each other and never mixes those of two
    model: MotionPriorConfig  # type: ignore[assignment]
    data: MotionDataConfig = MotionDataConfig()  # type: ignore[assignment]

    def build_data(self) -> MotionDataModule:  # type: ignore[override]
        """The data module, before its `setup`. Its windows are as long as the prior asks for."""
        return MotionDataModule(self.data, self._first_batch, self.seed, window_frames(self.model))

    def build_prior(self, data: MotionDataModule) -> AnyMotionPrior:  # type: ignore[override]
        """The prior, before its `start`."""
        return self.model.build()

    def build_report(self, data: MotionDataModule) -> Callback:  # type: ignore[override]
        """What is watched beside the loss."""
        return MotionReport([clip.as_window() for clip in data.val_clips], self.logging.figures_every_n_epochs)


class ForeignExperimentConfig(ExperimentConfig):
    """As `ExperimentConfig`, for a prior of poses that lives in another package."""

    model: SerializeAsAny[PriorConfigBase]  # type: ignore[assignment]


class _AnyExperiment(ExperimentConfig):
    """What a model of no known kind is checked against, so that the message names all kinds."""

    model: AnyPriorConfig  # type: ignore[assignment]
    data: Any = None


def load_experiment(name: str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """The experiment in a YAML file, see `configs.load.load_config`: of poses or of motions, by the kind of its model,
    which may live in another package."""
    tree, source = read_config(name, overrides)
    model = tree.get("model")
    kind = model.get("kind") if isinstance(model, dict) else None
    if isinstance(kind, str) and PRIORS.knows(kind):
        return _foreign(kind, tree, source)
    schemas = (schema for schema in (ExperimentConfig, MotionExperimentConfig) if kind in kinds_allowed(schema, "model"))
    also = {"model": [*PRIORS.names(), "or module:Class of an installed package"]}
    return validate(next(schemas, _AnyExperiment), tree, source, also)


def _foreign(kind: str, tree: dict[str, Any], source: Source) -> ForeignExperimentConfig:
    """The experiment of a prior of another package, whose options are checked by its own config."""
    try:
        config_class = PRIORS.find(kind, KINDS)
    except PluginError as error:
        raise UserError(f"{source.of('model.kind')}: model.kind: {error}") from error
    schema = create_model("Experiment", __base__=ForeignExperimentConfig, model=(config_class, ...))
    checked = validate(schema, tree, source)
    return ForeignExperimentConfig(**dict(checked))  # a class that other processes know too
