"""On what the scale rests, whether it ended where its bound held it and that was about anything, and whether cameras have a path at all."""

from __future__ import annotations

import math
from dataclasses import replace

from pose_priors.body.rotations import geodesic_angle
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.result.unit import feet_that_move, unit_by_feet
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.motion_states import LEAST_MOVEMENT, camera_movement
from pose_priors.refinement.solve.scene import Scene

# A delta above this fraction of its bound is stuck there.
_STUCK = 0.9
# By how much another unit has to be larger, or smaller, than one that was guessed for that to be wrong: motion alone tells it to some
# percent, and noise of the cameras' path, which makes that longer, reads as a smaller one.
_GROWN, _SHRUNK = 0.1, 0.25
_NO_PATH = 1e-6  # of the depth, which rounding alone moves cameras by
_PANS = 10.0  # degrees from the first frame, by which nobody turns a camera in their hands without moving it
_TRIPOD, _LOST = 0.5, 0.9  # shares of frames on which no foot stands: at most before a tripod, at least where a path was lost


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


def movement(module: RefinementModule) -> float:
    """How far the cameras move in the unit in which the module began, as a fraction of the median depth of the people."""
    return camera_movement(module.problem) * module.variables.alpha0 / module.problem.start.alpha0


def shows(module: RefinementModule) -> bool:
    """Whether the cameras move enough in that unit for people's places in the world to hang on the scale."""
    return movement(module) >= LEAST_MOVEMENT


def another_unit(module: RefinementModule, guessed: bool) -> float | None:
    """The scale that feet tell in place of that at which the module began, where its bound or its descent kept it from there though it
    shows, or where the cameras move too little in stage 1's unit for it to be searched; None where they agree.

    Args:
        guessed: whether that is stage 1's unit, and not one that motion has told before.
    """
    bound = module.variables.alpha_bound
    if shows(module):
        if (bound is not None and stuck_at(module) is None) or not is_searched(module):
            return None
    elif not (guessed and module.config.enable_scale_optimization and module.total_iterations and movement(module) > _NO_PATH):
        return None
    if (found := unit_by_feet(module.scene(), module.problem)) is None:
        return None
    grown, shrunk = (_GROWN, _SHRUNK) if guessed or bound is None else (bound, bound)
    return None if -shrunk <= found / module.variables.alpha0 - 1 <= grown else found


def in_the_given_unit(problem: Problem) -> Problem:
    """The problem, its scale kept, and told: feet say that stage 1's unit is wrong, and of no other that it is right."""
    line = f"{_assumed(problem.start.alpha0)}: feet stand neither in it nor clearly in another"
    return replace(problem, scale_width=0.0, broken=(*problem.broken, line), warnings=(*problem.warnings, line))


def doubt_about(module: RefinementModule, alpha: float) -> tuple[int, str] | None:
    """Why the scale that came out, alpha, may be wrong, or on what assumption it rests; before it, 0 where nobody's place hangs on it, else
    1. None where enough tells it."""
    guessed, hangs = module.problem.scale_guessed, shows(module)
    if guessed and hangs and is_searched(module) and by_motion(module):
        return 1, f"nothing but motion tells the scale, {alpha:.3g} times stage 1's unit"
    if (stuck := stuck_at(module)) is not None and hangs:
        return 1, f"the scale would go on beyond its bound of {100 * stuck:+.0f} %: that at the start is probably wrong"
    if not guessed:
        return None
    if not hangs:
        if not movement(module) > _NO_PATH:
            return 0, f"{_assumed(alpha)}: the cameras have no path, so that nobody's place hangs on it"
        share = f"the path of the cameras is {100 * movement(module):.2g} % of the way to people in it"
        return 0, f"{_assumed(alpha)}: {share}, so that nobody's place hangs on it unless it is far larger"
    return None if is_searched(module) else (1, f"{_assumed(alpha)}: it was not searched")


def stands_still(module: RefinementModule, scene: Scene) -> tuple[int, str] | None:
    """That the cameras turn and have no path, before it 1 where no foot stands before them, as where a path was lost on the way, else 0;
    None where they have one, hardly turn, or are not finite, so that nothing is known of them, or stand on a tripod, before which feet
    stand."""
    problem = module.problem
    turn = problem.cameras.w2c[: problem.num_frames, :3, :3]
    degrees = math.degrees(float(geodesic_angle(turn, turn[:1]).max()))
    if not math.isfinite(degrees) or degrees < _PANS or shows(module):
        return None
    seen = f"the cameras turn by {degrees:.0f} degrees and their path stands still"
    lost = "the path has lost its unit, and then nobody's path in the world is right"
    moving = feet_that_move(scene, problem) if module.total_iterations else math.nan  # those of stage 3 move by its noise
    if moving <= _TRIPOD:
        return None
    if moving > _LOST:
        return 1, f"{seen}, and no foot stands before them: {lost}, or people glide before a tripod"
    return 0, f"{seen}: they stand on a tripod, or {lost}"


def _assumed(alpha: float) -> str:
    return f"nothing tells the scale, and stage 1's unit is taken for {alpha:.3g} m"
