"""On what the scale rests, whether it ended where its bound held it and that was about anything, and whether cameras have a path at all."""

from __future__ import annotations

import math

from pose_priors.body.rotations import geodesic_angle
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.result.unit import unit_by_feet
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.motion_states import scale_shows

# A delta above this fraction of its bound is stuck there.
_STUCK = 0.9
# By how much another unit has to be larger, or smaller, than one that was guessed for that to be wrong: motion alone tells it to some
# percent, and noise of the cameras' path, which makes that longer, reads as a smaller one.
_GROWN, _SHRUNK = 0.1, 0.25
_PANS = 10.0  # degrees from the first frame, by which nobody turns a camera in their hands without moving it


def stuck_at(module: RefinementModule) -> float | None:
    """The change of scale, as a fraction of that at the start, that its bound did not let go on; None where none did."""
    bound, delta = module.variables.alpha_bound, float(module.variables.delta().detach())
    if bound is None or abs(delta) <= _STUCK * bound:
        return None
    return max(-bound, min(bound, delta))  # single precision rounds it up


def is_searched(module: RefinementModule) -> bool:
    """Whether a sub-stage has moved the scale."""
    return any("scale" in stage.free and stage.name in module.reports and module.reports[stage.name].iterations for stage in module.stages)


def change(module: RefinementModule) -> float:
    """The change of scale as a fraction of that at the start of the problem, in whatever unit the module began."""
    began, start = module.variables.alpha0, module.problem.start.alpha0
    return (1 + float(module.variables.delta().detach())) * (began / start) - 1


def by_motion(module: RefinementModule) -> bool:
    """Whether the module began in a unit that motion had told, or was free to find one."""
    return module.variables.alpha_bound is None or module.variables.alpha0 != module.problem.start.alpha0


def another_unit(module: RefinementModule, guessed: bool) -> float | None:
    """The scale that feet tell in place of that at which the module began, where its bound or its descent kept it from there though it
    shows; None where they agree.

    Args:
        guessed: whether that is stage 1's unit, and not one that motion has told before.
    """
    bound = module.variables.alpha_bound
    if (bound is not None and stuck_at(module) is None) or not (is_searched(module) and scale_shows(module.problem)):
        return None
    if (found := unit_by_feet(module.scene(), module.problem)) is None:
        return None
    grown, shrunk = (_GROWN, _SHRUNK) if guessed or bound is None else (bound, bound)
    return None if -shrunk <= found / module.variables.alpha0 - 1 <= grown else found


def doubt_about(module: RefinementModule, alpha: float) -> tuple[int, str] | None:
    """Why the scale that came out, alpha, may be wrong, or on what assumption it rests; before it, 0 where nobody's place hangs on it, else
    1. None where enough tells it."""
    guessed, shows = module.problem.scale_guessed, scale_shows(module.problem)
    if guessed and shows and is_searched(module) and by_motion(module):
        return 1, f"nothing but motion tells the scale, {alpha:.3g} times stage 1's unit"
    if (stuck := stuck_at(module)) is not None and shows:
        return 1, f"the scale would go on beyond its bound of {100 * stuck:+.0f} %: that at the start is probably wrong"
    if not guessed:
        return None
    assumed = f"nothing tells the scale, and stage 1's unit is taken for {alpha:.3g} m"
    if not shows:
        return 0, f"{assumed}: the cameras hardly move, so that nobody's place hangs on it"
    return None if is_searched(module) else (1, f"{assumed}: it was not searched")


def stands_still(problem: Problem) -> str | None:
    """That the cameras turn and have no path, which a tripod explains, and a path that was lost on the way; None where they have one,
    hardly turn, or are not finite, so that nothing is known of them."""
    turn = problem.cameras.w2c[: problem.num_frames, :3, :3]
    degrees = math.degrees(float(geodesic_angle(turn, turn[:1]).max()))
    if not math.isfinite(degrees) or degrees < _PANS or scale_shows(problem):
        return None
    return (
        f"the cameras turn by {degrees:.0f} degrees and their path stands still: they stand on a tripod, or the path has lost its unit, "
        "and then nobody's path in the world is right"
    )
