"""The priors that `clean` and `score` are given."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pose_priors.body.skeleton import PARTS
from pose_priors.configs.base import UserError
from pose_priors.priors import MotionFlow, Prior, load_prior, prior_files
from pose_priors.refinement.motions.config import LearnedConfig
from pose_priors.refinement.motions.learned.fill import FilledByPrior
from pose_priors.refinement.motions.learned.poses import PoseReference
from pose_priors.refinement.motions.repair.fill import Fill, filled


@dataclass(frozen=True)
class Learned:
    """Trained priors, frozen; None where none is given.

    Attributes:
        motion: of whole clips.
        poses: a prior of poses, and what energies its own poses have.
    """

    motion: MotionFlow | None = None
    poses: PoseReference | None = None

    @property
    def fill(self) -> Fill:
        """What fills the gaps of a motion: the prior of clips, or curves without one."""
        return filled if self.motion is None else FilledByPrior(self.motion)


def load_learned(config: LearnedConfig) -> Learned:
    """The priors in checkpoints. Raises `UserError` if one cannot be loaded, or is of another kind."""
    motion = None if config.motion is None else load_prior(config.motion)
    if motion is not None and not isinstance(motion, MotionFlow):
        raise UserError(f"prior.motion={config.motion}: a {type(motion).__name__}; a prior of whole clips (motion_flow) is needed")
    poses = None if config.body is None else load_prior(config.body)
    if poses is None:
        return Learned(motion)
    if not isinstance(poses, Prior):
        raise UserError(f"prior.body={config.body}: a {type(poses).__name__}; a prior of poses is needed")
    if not set(PARTS["body"]) & set(poses.joint_indices):
        raise UserError(
            f"prior.body={config.body}: scores {', '.join(poses.joints[:3])} ..., no joint of the body; give another checkpoint"
        )
    return Learned(motion, PoseReference.of(poses))


def digest_of_priors(config: LearnedConfig) -> dict[str, str]:
    """Names the checkpoints by their bytes. Raises `UserError` if one cannot be read."""
    paths = {"motion": config.motion, "body": config.body}
    found = {}
    for name, path in paths.items():
        if path is not None:
            try:
                stats = {file: file.stat() for file in _files(path)}
                found[name] = "-".join(_digest(str(file), about.st_size, about.st_mtime_ns) for file, about in stats.items())
            except OSError as error:
                raise UserError(f"prior.{name}={path}: cannot be read ({error.strerror or error})") from error
    return found


@lru_cache(maxsize=8)  # of many motions each asks for it, and an address is asked of the hub
def _files(path: str) -> tuple[Path, ...]:
    return prior_files(path)


@lru_cache(maxsize=8)
def _digest(path: str, *_version: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
