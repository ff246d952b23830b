"""Whether the scale ended where its bound held it, and whether that bound was about anything."""

from __future__ import annotations

import math

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.motion_states import LEAST_MOVEMENT, camera_movement

# A delta above this fraction of its bound is stuck there.
_STUCK = 0.9
# By how much a scale without a bound has to have grown, or shrunk, for the bound to have been wrong: motion alone tells it to some
# percent, and noise of the cameras' path, which makes that longer, reads as a smaller one.
_GROWN, _SHRUNK = 0.1, 0.25


def stuck_at(module: RefinementModule) -> float | None:
    """The change of scale, as a fraction of that at the start, that its bound did not let go on; None where none did."""
    bound, delta = module.variables.alpha_bound, float(module.variables.delta().detach())
    if bound is None or abs(delta) <= _STUCK * bound:
        return None
    return max(-bound, min(bound, delta))  # single precision rounds it up


def shows_in_motion(problem: Problem) -> bool:
    """Whether the cameras move enough for people's places in the world to hang on the scale."""
    return camera_movement(problem) >= LEAST_MOVEMENT


def is_a_guess(problem: Problem) -> bool:
    """Whether the scale at the start is stage 1's own unit, taken for metres since neither depth maps nor a tool say anything of it."""
    return not bool(problem.observations.joint_depth_confidence.any()) and math.isinf(problem.scale_width)


def is_searched(module: RefinementModule) -> bool:
    """Whether a sub-stage moves the scale."""
    return any("scale" in stage.free for stage in module.stages)


def may_be_no_metre(module: RefinementModule) -> bool:
    """Whether the scale is a guess that its bound kept, though it shows in how people move."""
    return stuck_at(module) is not None and is_a_guess(module.problem) and shows_in_motion(module.problem)


def was_wrong(bounded: RefinementModule, free: RefinementModule) -> bool:
    """Whether the scale without its bound is so far from that at the start that the bound kept it from where it belongs."""
    bound, delta = bounded.variables.alpha_bound, float(free.variables.delta().detach())
    return bound is not None and not -max(_SHRUNK, bound) <= delta <= max(_GROWN, bound)
