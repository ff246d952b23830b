"""The trained priors that a refinement is given."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.body.skeleton import PARTS
from pose_priors.configs.base import UserError
from pose_priors.priors.base import Prior
from pose_priors.refinement.given.problem import Problem

if TYPE_CHECKING:
    from pose_priors.priors import MotionFlow, MotionPrior


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
    if path is None:
        return None
    from pose_priors.priors import load_prior  # what all kinds of priors are made of, which whoever has none need not wait for

    found = load_prior(path, allow=allow)
    if isinstance(found, Prior):
        return found
    raise UserError(f"{key}={path}: a motion prior ({type(found).__name__}), where a pose prior is needed; give another checkpoint")


def _of_motions(key: str, path: str | Path | None, allow: Collection[str]) -> MotionPrior | MotionFlow | None:
    if path is None:
        return None
    from pose_priors.priors import MotionFlow, MotionPrior, load_prior

    found = load_prior(path, allow=allow)
    if isinstance(found, MotionPrior | MotionFlow):
        return found
    raise UserError(f"{key}={path}: a pose prior ({type(found).__name__}), where a motion prior is needed; give another checkpoint")


def check_priors(priors: Priors, problem: Problem) -> None:
    """Raises `UserError` if a prior scores none of the joints that it is to judge, or the bodies have none of them."""
    _check_prior("body", priors.body, ("body",), problem)
    if priors.motion is not None and not set(range(NUM_JOINTS)) <= set(problem.bodies.smplx_index):
        raise UserError("motion_prior.path: the bodies lack some of the 22 joints of the body that a motion prior sees; leave it out")
    _check_prior("hands", priors.hands, ("left_hand", "right_hand"), problem)


def _check_prior(name: str, prior: Prior | None, parts: Sequence[str], problem: Problem) -> None:
    if prior is None:
        return
    asked = {joint for part in parts for joint in PARTS[part]}
    if not asked & set(prior.joint_indices):
        raise UserError(f"prior.{name}: scores {', '.join(prior.joints[:3])} ..., no joint of the {name}; give another checkpoint, or none")
    if not asked & set(prior.joint_indices) & set(problem.bodies.smplx_index):
        raise UserError(f"prior.{name}: the bodies of stage 3 have no {name} ({len(problem.bodies.parents)} joints); leave it out")
