"""What `clean` and `score` may be told beside their paths."""

from __future__ import annotations

from pydantic import Field

from pose_priors.configs.base import Config
from pose_priors.configs.slurm import SlurmConfig
from pose_priors.datamodules.clips import UpAxis
from pose_priors.datamodules.plausibility import MAX_FPS, MIN_FPS


class LearnedConfig(Config):
    """Trained priors; both are optional."""

    motion: str | None = None
    """A checkpoint of whole clips (motion_flow): `clean` fills gaps by it, `score` tells how surprising each frame and joint is."""
    body: str | None = None
    """A checkpoint of poses: `score` tells how usual the pose of each frame is."""


class MotionsConfig(Config):
    """How files of motions are read, and what each job of many gets."""

    fps: float | None = Field(None, ge=MIN_FPS, le=MAX_FPS)
    """Frames a second of files that do not say; null for 30."""
    up_axis: UpAxis = "auto"
    """Which axis of the files points up; `auto` finds it by how bodies stand."""
    prior: LearnedConfig = LearnedConfig()
    """What motions and poses are like."""
    slurm: SlurmConfig = SlurmConfig()
    """What each job gets; `group_size` files are one job's."""

    def with_priors(self, motion: str | None = None, body: str | None = None) -> MotionsConfig:
        """The same with other checkpoints where they are given."""
        named = {name: path for name, path in (("motion", motion), ("body", body)) if path is not None}
        return self.model_copy(update={"prior": self.prior.model_copy(update=named)})
