"""What may be wrong with given cameras, each with the cameras that would be right then and what they leave unexplained of the still scene:
a focal length, a unit that changes along the clip, a path that wanders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pose_priors.body.pinhole import camera_centres
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.clip import DepthSource, UpstreamClip
from pose_priors.refinement.given.still.patches import Patches
from pose_priors.refinement.given.still.registration import Registered, register

# focal lengths that are tried, and those about the best of them by a parabola through whose surprise the one that is used is found
_FOCALS, _FINER = np.geomspace(0.45, 2.22, 33), np.geomspace(0.95, 1.05, 11)
_LEAST_FOCAL = 0.05  # by which focal lengths differ that are told apart


@dataclass(frozen=True)
class Explanation:
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


def by_focal(clip: UpstreamClip, seen: list[Patches | None]) -> Explanation:
    """The focal length with which all else that is given leaves the least; it leaves everything where that is the given one."""
    return with_best_focal(clip, seen, _as_given)


def with_best_focal(
    clip: UpstreamClip, seen: list[Patches | None], explained: Callable[[UpstreamClip, list[Patches | None]], Explanation]
) -> Explanation:
    """The focal length with which another explanation, or nothing but it, leaves the least."""

    def by(focal: float) -> Explanation:
        return explained(*_through(clip, seen, focal))

    coarse = float(min(_FOCALS, key=lambda focal: by(focal).misfit))
    if not _FOCALS[0] < coarse < _FOCALS[-1]:
        return Explanation(np.inf, clip, seen, "")
    focal = coarse * _least(np.array([by(coarse * finer).surprise for finer in _FINER]))
    found = by(focal)
    told_apart = abs(np.log(focal)) >= _LEAST_FOCAL
    line = " and ".join(text for text in (f"a focal length {focal:.2f} times as long", found.line) if text)
    return replace(found, misfit=found.misfit if told_apart else np.inf, line=line)


def _as_given(clip: UpstreamClip, seen: list[Patches | None]) -> Explanation:
    found = register(seen, clip.cameras.w2c, clip.cameras.intrinsics, clip.cameras.image_size)
    return Explanation(found.misfit, clip, seen, "", surprise=found.mean_surprise)


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


def by_unit(clip: UpstreamClip, seen: list[Patches | None]) -> Explanation:
    """Depth and path, which share the unit, brought into that of the first frame."""
    cameras = clip.cameras
    w2c = cameras.w2c
    for _ in range(2):  # the path that depths are compared along has the unit too
        found = register(seen, w2c, cameras.intrinsics, cameras.image_size, scales=True)
        w2c = _path_in_one_unit(cameras.w2c, found.scale)
    return _in_one_unit(clip, seen, found.scale)


def _in_one_unit(clip: UpstreamClip, seen: list[Patches | None], scale: np.ndarray) -> Explanation:
    """Depth and path with these log-scales (T,) of the first frame's unit over each frame's."""
    cameras = clip.cameras
    w2c = _path_in_one_unit(cameras.w2c, scale)
    fitted = register(seen, w2c, cameras.intrinsics, cameras.image_size, known=scale)
    ratios = dict(zip(cameras.frame_ids.tolist(), np.exp(scale).tolist(), strict=True))
    mended = replace(clip, cameras=replace(cameras, w2c=w2c), depth=RescaledByFrame(clip.depth, ratios))
    line = f"a unit that changes by {100 * (np.exp(-scale[-1]) - 1):+.1f} % along the clip"
    return Explanation(fitted.misfit, mended, seen, line, scale=scale, surprise=fitted.mean_surprise)


def by_unit_of_moving(clip: UpstreamClip, seen: list[Patches | None]) -> Explanation:
    """As `by_unit`, with a unit that is found while cameras may move as well, so that theirs is not taken for a change of unit."""
    cameras, w2c = clip.cameras, clip.cameras.w2c
    for _ in range(2):  # as for the unit alone
        found = register(seen, w2c, cameras.intrinsics, cameras.image_size, moves=True, scales=True)
        w2c = _path_in_one_unit(cameras.w2c, found.scale)
    return _in_one_unit(clip, seen, found.scale)


def _path_in_one_unit(w2c: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Cameras (T, 4, 4) whose steps are each multiplied by what the unit is there, the log-scales (T,) between its two frames."""
    centres = camera_centres(w2c)
    steps = np.diff(centres, axis=0) * np.exp((scale[1:] + scale[:-1]) / 2)[:, None]
    centres = centres[0] + np.concatenate([np.zeros((1, 3)), np.cumsum(steps, 0)])
    out = w2c.copy()
    out[:, :3, 3] = -np.einsum("tij,tj->ti", w2c[:, :3, :3], centres)
    return out


def by_path(clip: UpstreamClip, seen: list[Patches | None], scale: np.ndarray | None = None) -> Explanation:
    """Cameras led along the still scene, where patches are in units with these log-scales (T,), or in one."""
    cameras = clip.cameras
    found: Registered = register(seen, cameras.w2c, cameras.intrinsics, cameras.image_size, moves=True, known=scale)
    turn = np.einsum("tij,tkj->tik", found.w2c[:, :3, :3], cameras.w2c[:, :3, :3])
    degrees = np.degrees(np.arccos(np.clip((np.trace(turn, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    moved = replace(clip, cameras=replace(cameras, w2c=found.w2c))
    line = f"cameras turned by up to {degrees.max():.1f} degrees"
    way = float(np.linalg.norm(camera_centres(found.w2c) - camera_centres(cameras.w2c), axis=1).mean())
    return Explanation(found.misfit, moved, seen, line, float(np.median(degrees)), way)
