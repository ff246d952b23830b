"""Priors: energies over SMPL-X poses, and over motions, that can be trained, compared, sampled and used as regularisers.

`load_prior(path)` is the door for programs outside. A new prior is one file, one line in `priors.registry`, and one YAML. Nothing is
imported before a name is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pose_priors  # noqa: F401  (whoever imports this room without its prefix, in a checkout, gets the same modules)

if TYPE_CHECKING:
    from pose_priors.priors.base import DensityPrior, Prior, TrainablePrior
    from pose_priors.priors.checkpoint import load_prior
    from pose_priors.priors.motion.base import Criterion, MotionPrior
    from pose_priors.priors.motion.cvae import MotionCVAE, MotionCVAEConfig
    from pose_priors.priors.motion.flow.prior import MotionFlow, MotionFlowConfig
    from pose_priors.priors.registry import KINDS, AnyPriorConfig, PriorConfig
    from pose_priors.priors.stitching import Hand, stitch
    from pose_priors.priors.weights.source import prior_files

__all__ = [
    "KINDS",
    "AnyPriorConfig",
    "Criterion",
    "DensityPrior",
    "Hand",
    "MotionCVAE",
    "MotionCVAEConfig",
    "MotionFlow",
    "MotionFlowConfig",
    "MotionPrior",
    "Prior",
    "PriorConfig",
    "TrainablePrior",
    "load_prior",
    "prior_files",
    "stitch",
]
_DOORS = {
    "base": ("DensityPrior", "Prior", "TrainablePrior"),
    "checkpoint": ("load_prior",),
    "motion.base": ("Criterion", "MotionPrior"),
    "motion.cvae": ("MotionCVAE", "MotionCVAEConfig"),
    "motion.flow.prior": ("MotionFlow", "MotionFlowConfig"),
    "registry": ("KINDS", "AnyPriorConfig", "PriorConfig"),
    "stitching": ("Hand", "stitch"),
    "weights.source": ("prior_files",),
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    for module, names in _DOORS.items():
        if name in names:
            return getattr(importlib.import_module(f"pose_priors.priors.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
