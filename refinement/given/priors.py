"""The trained priors that a refinement is given."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pose_priors.configs.base import UserError
from pose_priors.priors import MotionFlow, MotionPrior, Prior, load_prior


@dataclass(frozen=True)
class Priors:
    """What poses and motions are like, frozen; None where nothing says so.

    Attributes:
        body: a prior of the body's poses.
        hands: of the hands'.
        motion: of motions, by steps or of whole clips.
    """

    body: Prior | None = None
    hands: Prior | None = None
    motion: MotionPrior | MotionFlow | None = None


def load_priors(
    body: str | Path | None = None,
    hands: str | Path | None = None,
    motion: str | Path | None = None,
    allow: Collection[str] = (),
) -> Priors:
    """The priors in checkpoints.

    Args:
        allow: see `load_prior`.
    Raises:
        UserError: if one cannot be loaded, or is a prior of motions where one of poses is needed, or the other way round.
    """
    return Priors(
        _of_poses("prior.body", body, allow),
        _of_poses("prior.hands", hands, allow),
        _of_motions("motion_prior.path", motion, allow),
    )


def _of_poses(key: str, path: str | Path | None, allow: Collection[str]) -> Prior | None:
    found = None if path is None else load_prior(path, allow=allow)
    if found is None or isinstance(found, Prior):
        return found
    raise UserError(f"{key}={path}: a motion prior ({type(found).__name__}), where a pose prior is needed; give another checkpoint")


def _of_motions(key: str, path: str | Path | None, allow: Collection[str]) -> MotionPrior | MotionFlow | None:
    found = None if path is None else load_prior(path, allow=allow)
    if found is None or isinstance(found, MotionPrior | MotionFlow):
        return found
    raise UserError(f"{key}={path}: a pose prior ({type(found).__name__}), where a motion prior is needed; give another checkpoint")
