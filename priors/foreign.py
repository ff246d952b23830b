"""Priors that live in other packages."""

from __future__ import annotations

from typing import TypeGuard

from pose_priors.configs.plugins import Door, is_config
from pose_priors.priors.base import PriorConfigBase


def _is_prior_config(found: object) -> TypeGuard[type[PriorConfigBase]]:
    return is_config(found, PriorConfigBase)  # type: ignore[type-abstract]  # an abstract base is what is asked about


PRIORS: Door[type[PriorConfigBase]] = Door(
    "pose_priors.priors", "prior", "a strict and frozen subclass of pose_priors.priors.base.PriorConfigBase with build", _is_prior_config
)
"""Configs of pose priors; each is checked and built as ours are."""
