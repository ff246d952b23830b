"""Cameras that the still scene contradicts: a focal length, a unit that drifts along the clip, a path that wanders, each mended if it alone
explains what is seen, or the unit together with one of the others. Where the given cameras explain it as well they are taken as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.given.parallax import still_region
from pose_priors.refinement.given.still.explanations import Explanation, by_focal, by_path, by_unit, by_unit_of_moving, with_best_focal
from pose_priors.refinement.given.still.patches import Patches, patches
from pose_priors.refinement.given.still.registration import Registered, register

# relative distance of patches from where cameras put them that is no noise; and that is told where nothing explains it
_WRONG, _TOLD = 0.0025, 0.03
_BETTER, _AS_GOOD = 0.5, 2.0  # what an explanation must leave of it at most, and how much worse a simpler one may be than the best
# what a focal length or a unit may leave, of it and in all, that is right whatever a path leaves, which has six numbers for each frame
_NEARLY_ALL, _LITTLE = 0.1, 0.005
# of the turns that cameras need, what is left at most with the right focal length where a wrong one asked for them; over 277 random paths,
# focal lengths and wanders, if cameras are moved no farther with it either: 80 right of 86, none of 89 of which the given one was right
_SPARES = 0.6
# of the way that cameras must go without a unit that changes, what is left at most with one where it does: in planes that a camera comes
# nearer to, six numbers for each frame take a change of unit for a way that nobody went; right ones leave .02 to .2, wrong ones .2 to 1
_STAYS = 0.2
_OWN_TURN = 0.7  # degrees by which the median camera is turned where the given ones are as good as the depth maps, at most


def against_still_scene(clip: UpstreamClip, broken: list[str]) -> UpstreamClip:
    """The clip with cameras that the still scene does not contradict.

    Args:
        clip: with people in the axes of its cameras, depth and path in one unit.
        broken: takes a line for what did not hold and was mended, or could not be.
    """
    cameras = clip.cameras
    seen = [_patches(clip, t) for t in range(len(cameras.frame_ids))]
    if sum(patch is not None for patch in seen) < max(2, len(seen) // 2):
        return clip
    given = register(seen, cameras.w2c, cameras.intrinsics, cameras.image_size)
    if not _WRONG < given.misfit < np.inf:
        return clip
    chosen = _explained(clip, seen, given)
    off = f"{cameras.source}: the still scene lies {100 * given.misfit:.1f} % from where the cameras put it"
    if chosen is None:
        if given.misfit > _TOLD:
            broken.append(f"{off}; no focal length, unit or path explains it, and they are kept")
        return clip
    broken.append(f"{off}, {100 * chosen.misfit:.1f} % with {chosen.line}, which is used")
    return chosen.clip


def _explained(clip: UpstreamClip, seen: list[Patches | None], given: Registered) -> Explanation | None:
    """The simplest explanation that leaves about as little as the best one, with the path that it leaves where that is more than errors of
    the method; None where nothing explains what is seen better than errors of the given cameras that are usual."""
    focal, unit, path = by_focal(clip, seen), by_unit(clip, seen), by_path(clip, seen)
    best = min(focal.misfit, unit.misfit, path.misfit)
    limit = min(_BETTER * given.misfit, _AS_GOOD * best, _WRONG)
    chosen = next((each for each in (focal, unit, path) if each.misfit <= limit), None)
    if chosen is None or chosen is path:
        together, simpler = _together(clip, seen, unit, given.misfit), min((focal, unit), key=lambda each: each.misfit)
        if simpler.misfit <= min(_NEARLY_ALL * given.misfit, _LITTLE):
            chosen = simpler if together is None or together.misfit > _BETTER * simpler.misfit else together
        else:
            chosen = _turned(path, (focal, together)) if chosen is path else together
    if chosen is None or chosen is path or (chosen is unit and unit.misfit > _WRONG):
        found = _unit_first(clip, seen, path, min(_BETTER * given.misfit, _AS_GOOD * path.misfit, _WRONG))
        chosen = chosen if found is None or found.misfit > _BETTER * given.misfit else found
    elif chosen is not None and chosen.misfit > _WRONG:
        chosen = _with_path(chosen, _path_left(chosen))
    return chosen


def _together(clip: UpstreamClip, seen: list[Patches | None], unit: Explanation, given: float) -> Explanation | None:
    """A focal length and a unit that changes, where the latter alone explains a good part and both all that the best does."""
    if unit.misfit > _BETTER * given:
        return None
    both = with_best_focal(clip, seen, by_unit)
    return both if both.misfit <= min(_BETTER * unit.misfit, _WRONG) else None


def _turned(path: Explanation, simpler: Sequence[Explanation | None]) -> Explanation | None:
    """The path; or a simpler explanation with which cameras would turn much less, as turns of every frame explain whatever one number does,
    and the errors of the given cameras besides; or none where the turns are no larger than what this method errs by itself."""
    if path.turn <= _OWN_TURN:
        return None
    for each in simpler:
        if each is not None and np.isfinite(each.misfit):
            left = _path_left(each)
            if left.turn <= _SPARES * path.turn and left.way <= path.way and left.misfit <= _AS_GOOD * path.misfit:
                return each
    return path


def _unit_first(clip: UpstreamClip, seen: list[Patches | None], path: Explanation, limit: float) -> Explanation | None:
    """A unit that changes and the path that it leaves, if both leave no more than the limit and cameras hardly move with it where a path
    alone moves them."""
    unit = by_unit_of_moving(clip, seen)
    left = _path_left(unit)
    return _with_path(unit, left) if left.misfit <= limit and left.way <= _STAYS * path.way else None


def _path_left(simpler: Explanation) -> Explanation:
    return by_path(simpler.clip, simpler.seen, simpler.scale)


def _with_path(simpler: Explanation, left: Explanation) -> Explanation:
    """An explanation and the path that it leaves, where that turns cameras by more than this method errs and explains what is left."""
    told = left.turn > _OWN_TURN and left.misfit <= _BETTER * simpler.misfit
    return replace(left, line=f"{simpler.line} and {left.line}") if told else simpler


def _patches(clip: UpstreamClip, t: int) -> Patches | None:
    depth = clip.depth.read(int(clip.cameras.frame_ids[t]))
    if depth is None:
        return None
    found = patches(depth[0].astype(float), still_region(clip, t, depth[0]), clip.cameras.intrinsics[t], clip.cameras.image_size)
    return found if len(found.points) else None
