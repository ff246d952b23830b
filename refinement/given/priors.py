"""The trained priors that a refinement is given."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from pose_priors.configs.base import UserError
from pose_priors.priors import MotionPrior, Prior, load_prior


def load_priors(
    body: str | Path | None, hands: str | Path | None, motion: str | Path | None, allow: Collection[str] = ()
) -> dict[str, Any]:
    """The priors in checkpoints, by the names of `Stage5Refiner`'s arguments; None where no path is given.

    Args:
        allow: see `load_prior`.
    Raises:
        UserError: if one cannot be loaded, or is a prior of motions where one of poses is needed, or the other way round.
    """
    found = {}
    for key, name, path, kind in (
        ("body_prior", "prior.body", body, Prior),
        ("hand_prior", "prior.hands", hands, Prior),
        ("motion_prior", "motion_prior.path", motion, MotionPrior),
    ):
        found[key] = None if path is None else load_prior(path, allow=allow)
        if path is not None and not isinstance(found[key], kind):
            wanted, given = ("a motion prior", "a pose prior") if kind is MotionPrior else ("a pose prior", "a motion prior")
            raise UserError(f"{name}={path}: {given} ({type(found[key]).__name__}), where {wanted} is needed; give another checkpoint")
    return found
