"""Cameras that the still scene contradicts: a focal length, a unit that drifts along the clip, a path that wanders, each mended if it alone
explains what is seen, or the unit together with one of the others. Where the given cameras explain it as well they are taken as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pose_priors.body.pinhole import camera_centres
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.clip import DepthSource, UpstreamClip
from pose_priors.refinement.given.parallax import still_region
from pose_priors.refinement.given.still.patches import Patches, patches
from pose_priors.refinement.given.still.registration import Registered, register

# relative distance of patches from where cameras put them that is no noise; and that is told where nothing explains it
_WRONG, _TOLD = 0.0025, 0.03
_BETTER, _AS_GOOD = 0.5, 2.0  # what an explanation must leave of it at most, and how much worse a simpler one may be than the best
# what a focal length or a unit may leave, of it and in all, that is right whatever a path leaves, which has six numbers for each frame
_NEARLY_ALL, _LITTLE = 0.1, 0.005
# focal lengths that are tried, and those about the best of them by a parabola through whose surprise the one that is used is found
_FOCALS, _FINER = np.geomspace(0.45, 2.22, 33), np.geomspace(0.95, 1.05, 11)
_LEAST_FOCAL = 0.05  # by which focal lengths differ that are told apart
# of the turns that cameras need, what is left at most with the right focal length where a wrong one asked for them; over 277 random paths,
# focal lengths and wanders, if cameras are moved no farther with it either: 80 right of 86, none of 89 of which the given one was right
_SPARES = 0.6
# of the way that cameras must go without a unit that changes, what is left at most with one where it does: in planes that a camera comes
# nearer to, six numbers for each frame take a change of unit for a way that nobody went; right ones leave .02 to .25, wrong ones .4 to 1
_STAYS = 0.3
_OWN_TURN = 0.7  # degrees by which the median camera is turned where the given ones are as good as the depth maps, at most


@dataclass(frozen=True)
class _Explanation:
    """Cameras that may be the right ones.

    Attributes:
        misfit: what they leave unexplained.
        clip: with them.
        seen: the patches of its frames through them.
        line: says what was changed.
        turn: degrees by which the median camera was turned.
        way: how far cameras were moved, their mean.
        scale: log of the first frame's unit over that of each frame's patches (T,); None where they are in one.
        surprise: see `Registered.mean_surprise`.
    """

    misfit: float
    clip: UpstreamClip
    seen: list[Patches | None]
    line: str
    turn: float = 0.0
    way: float = 0.0
    scale: np.ndarray | None = None
    surprise: float = np.inf


class RescaledByFrame:
    """Depth maps each of which is in a unit of its own.

    Args:
        source: as they are.
        ratio: by frame number, what each is multiplied by.
    """

    def __init__(self, source: DepthSource, ratio: dict[int, float]) -> None:
        self._source, self._ratio = source, ratio

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        """As the source's, in one unit."""
        found = self._source.read(frame)
        return None if found is None else (found[0] * self._ratio.get(frame, 1.0), found[1])

    def close(self) -> None:
        """The source's."""
        self._source.close()


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
    focal, unit, path = _focal(clip, seen), _unit(clip, seen), _path(clip, seen)
    best = min(focal.misfit, unit.misfit, path.misfit)
    limit = min(_BETTER * given.misfit, _AS_GOOD * best, _WRONG)
    chosen = next((each for each in (focal, unit, path) if each.misfit <= limit), None)
    if chosen in (None, path):
        together, simpler = _together(clip, seen, unit, given.misfit), min((focal, unit), key=lambda each: each.misfit)
        if simpler.misfit <= min(_NEARLY_ALL * given.misfit, _LITTLE):
            chosen = simpler if together is None or together.misfit > _BETTER * simpler.misfit else together
        else:
            chosen = _turned(path, (focal, together)) if chosen is path else together
    if chosen in (None, path) or (chosen is unit and unit.misfit > _WRONG):
        chosen = _unit_first(clip, seen, path, min(_BETTER * given.misfit, _AS_GOOD * path.misfit, _WRONG)) or chosen
    elif chosen is not None and chosen.misfit > _WRONG:
        chosen = _with_path(chosen, _path(chosen.clip, chosen.seen, chosen.scale))
    off = f"{cameras.source}: the still scene lies {100 * given.misfit:.1f} % from where the cameras put it"
    if chosen is None:
        if given.misfit > _TOLD:
            broken.append(f"{off}; no focal length, unit or path explains it, and they are kept")
        return clip
    broken.append(f"{off}, {100 * chosen.misfit:.1f} % with {chosen.line}, which is used")
    return chosen.clip


def _together(clip: UpstreamClip, seen: list[Patches | None], unit: _Explanation, given: float) -> _Explanation | None:
    """A focal length and a unit that changes, where the latter alone explains a good part and both all that the best does."""
    if unit.misfit > _BETTER * given:
        return None
    both = _best_focal(clip, seen, _unit)
    return both if both.misfit <= min(_BETTER * unit.misfit, _WRONG) else None


def _turned(path: _Explanation, simpler: Sequence[_Explanation | None]) -> _Explanation | None:
    """The path; or a simpler explanation with which cameras would turn much less, as a turn of every frame explains whatever one number does,
    and the small errors of the given cameras besides; or none where the turns are no larger than what this method errs by itself."""
    for each in simpler:
        if each is not None and np.isfinite(each.misfit):
            left = _path(each.clip, each.seen, each.scale)
            if left.turn <= _SPARES * path.turn and left.way <= path.way:
                return each
    return path if path.turn > _OWN_TURN else None


def _unit_first(clip: UpstreamClip, seen: list[Patches | None], path: _Explanation, limit: float) -> _Explanation | None:
    """A unit that changes, found while cameras may move, and the path that is left where it turns them, if both leave no more than the limit
    and cameras hardly move with it where a path alone moves them."""
    cameras, w2c = clip.cameras, clip.cameras.w2c
    for _ in range(2):  # as for the unit alone
        found = register(seen, w2c, cameras.intrinsics, cameras.image_size, moves=True, scales=True)
        w2c = _path_in_one_unit(cameras.w2c, found.scale)
    unit = _in_one_unit(clip, seen, found.scale)
    left = _path(unit.clip, seen, found.scale)
    return _with_path(unit, left) if left.misfit <= limit and left.way <= _STAYS * path.way else None


def _with_path(simpler: _Explanation, left: _Explanation) -> _Explanation:
    """An explanation and the path that it leaves, where that turns cameras by more than this method errs and explains what is left."""
    told = left.turn > _OWN_TURN and left.misfit <= _BETTER * simpler.misfit
    return replace(left, line=f"{simpler.line} and {left.line}") if told else simpler


def _patches(clip: UpstreamClip, t: int) -> Patches | None:
    depth = clip.depth.read(int(clip.cameras.frame_ids[t]))
    if depth is None:
        return None
    found = patches(depth[0].astype(float), still_region(clip, t, depth[0]), clip.cameras.intrinsics[t], clip.cameras.image_size)
    return found if len(found.points) else None


def _focal(clip: UpstreamClip, seen: list[Patches | None]) -> _Explanation:
    return _best_focal(clip, seen, _as_given)


def _best_focal(
    clip: UpstreamClip, seen: list[Patches | None], explained: Callable[[UpstreamClip, list[Patches | None]], _Explanation]
) -> _Explanation:
    """The focal length with which another explanation, or nothing but it, leaves the least."""

    def by(focal: float) -> _Explanation:
        return explained(*_through(clip, seen, focal))

    coarse = float(min(_FOCALS, key=lambda focal: by(focal).misfit))
    if not _FOCALS[0] < coarse < _FOCALS[-1]:
        return _Explanation(np.inf, clip, seen, "")
    focal = coarse * _least(np.array([by(coarse * finer).surprise for finer in _FINER]))
    found = by(focal)
    told_apart = abs(np.log(focal)) >= _LEAST_FOCAL
    line = " and ".join(text for text in (f"a focal length {focal:.2f} times as long", found.line) if text)
    return replace(found, misfit=found.misfit if told_apart else np.inf, line=line)


def _as_given(clip: UpstreamClip, seen: list[Patches | None]) -> _Explanation:
    found = register(seen, clip.cameras.w2c, clip.cameras.intrinsics, clip.cameras.image_size)
    return _Explanation(found.misfit, clip, seen, "", surprise=found.mean_surprise)


def _through(clip: UpstreamClip, seen: list[Patches | None], focal: float) -> tuple[UpstreamClip, list[Patches | None]]:
    """The clip filmed through a focal length so many times as long, and its patches."""
    intrinsics = clip.cameras.intrinsics.copy()
    intrinsics[:, [0, 1], [0, 1]] *= focal
    people = {person: _nearer(body, focal) for person, body in clip.camera_bodies.items()}
    mended = replace(clip, cameras=replace(clip.cameras, intrinsics=intrinsics), camera_bodies=people)
    return mended, [None if patch is None else patch.through(focal) for patch in seen]


def _least(surprise: np.ndarray) -> float:
    """Which of `_FINER`, or what between them, is the least surprising: by a parabola over their logarithms, as single ones are noisy."""
    if not np.isfinite(surprise).all():
        return float(_FINER[surprise.argmin()])
    bend, slope, _ = np.polyfit(np.log(_FINER), surprise, 2)
    return float(np.exp(np.clip(-slope / (2 * bend), *np.log(_FINER[[0, -1]])))) if bend > 0 else float(_FINER[surprise.argmin()])


def _nearer(body: BodyTrack, focal: float) -> BodyTrack:
    """The body where it is as large in the image through another focal length."""
    pelvis = body.transl if body.joints is None else body.joints[:, 0]
    shift = np.zeros_like(body.transl)
    shift[:, 2] = pelvis[:, 2] * (focal - 1)
    joints = None if body.joints is None else body.joints + shift[:, None]
    return replace(body, transl=body.transl + shift, joints=joints)


def _unit(clip: UpstreamClip, seen: list[Patches | None]) -> _Explanation:
    """Depth and path, which share the unit, brought into that of the first frame."""
    cameras = clip.cameras
    w2c = cameras.w2c
    for _ in range(2):  # the path that depths are compared along has the unit too
        found = register(seen, w2c, cameras.intrinsics, cameras.image_size, scales=True)
        w2c = _path_in_one_unit(cameras.w2c, found.scale)
    return _in_one_unit(clip, seen, found.scale)


def _in_one_unit(clip: UpstreamClip, seen: list[Patches | None], scale: np.ndarray) -> _Explanation:
    """Depth and path with these log-scales (T,) of the first frame's unit over each frame's."""
    cameras = clip.cameras
    w2c = _path_in_one_unit(cameras.w2c, scale)
    fitted = register(seen, w2c, cameras.intrinsics, cameras.image_size, known=scale)
    ratios = dict(zip(cameras.frame_ids.tolist(), np.exp(scale).tolist(), strict=True))
    mended = replace(clip, cameras=replace(cameras, w2c=w2c), depth=RescaledByFrame(clip.depth, ratios))
    line = f"a unit that changes by {100 * (np.exp(-scale[-1]) - 1):+.1f} % along the clip"
    return _Explanation(fitted.misfit, mended, seen, line, scale=scale, surprise=fitted.mean_surprise)


def _path_in_one_unit(w2c: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Cameras (T, 4, 4) whose steps are each multiplied by what the unit is there, the log-scales (T,) between its two frames."""
    centres = camera_centres(w2c)
    steps = np.diff(centres, axis=0) * np.exp((scale[1:] + scale[:-1]) / 2)[:, None]
    centres = centres[0] + np.concatenate([np.zeros((1, 3)), np.cumsum(steps, 0)])
    out = w2c.copy()
    out[:, :3, 3] = -np.einsum("tij,tj->ti", w2c[:, :3, :3], centres)
    return out


def _path(clip: UpstreamClip, seen: list[Patches | None], scale: np.ndarray | None = None) -> _Explanation:
    """Cameras led along the still scene, where patches are in units with these log-scales (T,), or in one."""
    cameras = clip.cameras
    found: Registered = register(seen, cameras.w2c, cameras.intrinsics, cameras.image_size, moves=True, known=scale)
    turn = np.einsum("tij,tkj->tik", found.w2c[:, :3, :3], cameras.w2c[:, :3, :3])
    degrees = np.degrees(np.arccos(np.clip((np.trace(turn, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    moved = replace(clip, cameras=replace(cameras, w2c=found.w2c))
    line = f"cameras turned by up to {degrees.max():.1f} degrees"
    way = float(np.linalg.norm(camera_centres(found.w2c) - camera_centres(cameras.w2c), axis=1).mean())
    return _Explanation(found.misfit, moved, seen, line, float(np.median(degrees)), way)
