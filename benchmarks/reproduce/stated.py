"""What is stated, and how it is made: the schema of `configs/reproduce/readme.yaml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pose_priors.configs.base import Config

Split = Literal["random", "far"]
SPLITS: tuple[Split, ...] = ("random", "far")
METRICS = ("abs_mpjpe_mm", "mpjpe_mm", "w_mpjpe_mm", "fs_joints_mm", "jitter", "scale_error_percent")


class Likelihood(Config):
    """A mean negative log-likelihood in nats, and its standard error over the test poses."""

    nll: float
    error: float = Field(gt=0)


class PosesRow(Config):
    """A density of poses: a prior that is trained, or a peer that the benchmark fits."""

    title: str
    train: str | None = None
    """The YAML of a prior."""
    override: list[str] = Field(default_factory=list)
    peer: str | None = None
    """A baseline of `benchmarks.priors`, in place of `train`."""
    random: Likelihood | None
    """Null where it has not been made since the model changed."""
    far: Likelihood
    minutes: float = Field(gt=0)
    """Processor time of one split."""

    @model_validator(mode="after")
    def _one_way(self) -> PosesRow:
        if (self.train is None) == (self.peer is None):
            raise ValueError("give one of train and peer")
        return self


class Metric(Config):
    """A mean over scenes, and its standard error."""

    mean: float
    error: float = Field(ge=0)


class ScenesRow(Config):
    """The built-in scene of some seeds, refined."""

    title: str
    seeds: list[int] = Field(min_length=2)
    before: dict[str, Metric]
    after: dict[str, Metric]
    minutes: float = Field(gt=0)


class ReferenceBatch(Config):
    """The file that the numbers are of."""

    sha256: str
    """Of its rows, as little-endian float32, one after the other."""


class Stated(Config):
    """All that README states in numbers."""

    reference_batch: ReferenceBatch
    poses: dict[str, PosesRow]
    scenes: dict[str, ScenesRow]
