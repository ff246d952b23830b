"""From the outputs of a video pipeline to people who stand on one floor, in metres.

Where one person's pose goes, room by room, and what holds it:

- `formats` reads what a tool wrote: `BodyTrack`, one person's rows in the axes of a camera or the world; a whole clip is an
  `UpstreamClip`;
- `given` checks it, fills its gaps, finds scale and floor: `PosedPeople` on all frames, then the `Estimate` in which a `Problem` starts;
- `solve` moves it: `Variables` hold what is free, `Scene` is the posed people at one point of the optimisation;
- `result` hands it back: `RefinementOutput` in memory, `person_<id>/smpl_params_refined.npz` on disk, from there `RefinedPerson`;
- `show`, `export` and `batch` take that: its joints as a `Track`, its poses as an `AnimatedSkeleton`, its differences to the same
  person refined alone; `instances` is a way of its own, that of masks through trackers.

Nothing is imported before a name is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pose_priors  # noqa: F401  (whoever imports this room without its prefix, in a checkout, gets the same modules)

if TYPE_CHECKING:
    from pose_priors.refinement.given.load import load_problem, load_sequence
    from pose_priors.refinement.given.options import LoadOptions
    from pose_priors.refinement.given.people import PersonSelection
    from pose_priors.refinement.given.priors import Priors, load_priors
    from pose_priors.refinement.given.problem import Problem
    from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner, run_refinement
    from pose_priors.refinement.result.output import RefinementOutput
    from pose_priors.refinement.solve.config import RefinementConfig
    from pose_priors.refinement.solve.scene import Scene as OptimizationState

__all__ = [
    "LoadOptions",
    "OptimizationState",
    "PersonSelection",
    "Priors",
    "Problem",
    "RefinementConfig",
    "RefinementInput",
    "RefinementOutput",
    "Stage5Refiner",
    "load_priors",
    "load_problem",
    "load_sequence",
    "run_refinement",
]
_DOORS = {
    "LoadOptions": ("given.options", "LoadOptions"),
    "OptimizationState": ("solve.scene", "Scene"),
    "PersonSelection": ("given.people", "PersonSelection"),
    "Priors": ("given.priors", "Priors"),
    "Problem": ("given.problem", "Problem"),
    "RefinementConfig": ("solve.config", "RefinementConfig"),
    "RefinementInput": ("refiner", "RefinementInput"),
    "RefinementOutput": ("result.output", "RefinementOutput"),
    "Stage5Refiner": ("refiner", "Stage5Refiner"),
    "load_priors": ("given.priors", "load_priors"),
    "load_problem": ("given.load", "load_problem"),
    "load_sequence": ("given.load", "load_sequence"),
    "run_refinement": ("refiner", "run_refinement"),
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_DOORS)}")
    module, inside = _DOORS[name]
    return getattr(importlib.import_module(f"pose_priors.refinement.{module}"), inside)
