"""What `clean` and `score` may be told beside their paths."""

from __future__ import annotations

from pydantic import Field

from pose_priors.configs.base import Config
from pose_priors.configs.slurm import SlurmConfig
from pose_priors.datamodules.clips import UpAxis
from pose_priors.datamodules.plausibility import MAX_FPS, MIN_FPS


class MotionsConfig(Config):
    """How files of motions are read, and what each job of many gets."""

    fps: float | None = Field(None, ge=MIN_FPS, le=MAX_FPS)
    """Frames a second of files that do not say; null for 30."""
    up_axis: UpAxis = "auto"
    """Which axis of the files points up; `auto` finds it by how bodies stand."""
    slurm: SlurmConfig = SlurmConfig()
    """What each job gets; `group_size` files are one job's."""
