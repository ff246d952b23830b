"""Whether the scale ended where its bound held it, and whether that bound was about anything."""

from __future__ import annotations

from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.motion_states import scale_shows

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


def is_searched(module: RefinementModule) -> bool:
    """Whether a sub-stage has moved the scale."""
    return any("scale" in stage.free and stage.name in module.reports and module.reports[stage.name].iterations for stage in module.stages)


def doubt_about(module: RefinementModule, alpha: float) -> tuple[int, str] | None:
    """Why the scale that came out, alpha, may be wrong, or on what assumption it rests; before it, 0 where nobody's place hangs on it, else
    1. None where enough tells it."""
    problem, shows = module.problem, scale_shows(module.problem)
    if (stuck := stuck_at(module)) is not None and shows:
        return 1, f"the scale would go on beyond its bound of {100 * stuck:+.0f} %: that at the start is probably wrong"
    if not problem.scale_guessed:
        return None
    assumed = f"nothing tells the scale, and stage 1's unit is taken for {alpha:.3g} m"
    if not shows:
        return 0, f"{assumed}: the cameras hardly move, so that nobody's place hangs on it"
    if not is_searched(module):
        return 1, f"{assumed}: it was not searched"
    if module.variables.alpha_bound is None:
        return 1, f"nothing but motion tells the scale, {alpha:.3g} times stage 1's unit"
    return None


def may_be_no_metre(module: RefinementModule) -> bool:
    """Whether the scale is a guess that its bound kept, though it shows in how people move."""
    return stuck_at(module) is not None and module.problem.scale_guessed and scale_shows(module.problem)


def was_wrong(bounded: RefinementModule, free: RefinementModule) -> bool:
    """Whether the scale without its bound is so far from that at the start that the bound kept it from where it belongs."""
    bound, delta = bounded.variables.alpha_bound, float(free.variables.delta().detach())
    return bound is not None and not -max(_SHRUNK, bound) <= delta <= max(_GROWN, bound)
