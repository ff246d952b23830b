"""What a camera that moves sees of a still scene: points of one depth map, carried into another camera, have the depth of the map there.

It tells whether the cameras are read the right way, and whether depth and the camera's path are in one unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pose_priors.body.pinhole import camera_centres, pixel_centres, project, to_camera, to_world, unproject
from pose_priors.refinement.formats.clip import DepthSource, UpstreamClip
from pose_priors.refinement.formats.depth import DepthMaps
from pose_priors.refinement.given.sampling import person_region

_PAIRS, _GRID = 6, 32
_LANDED = 0.1
_RANGE, _PER_DECADE = 4, 8  # decades to both sides, and ratios tried in each, then again between the best's neighbours
_SAME = 1.5  # a path and a depth that differ by less are noisy and not of two units
_FITS, _MARGIN = 0.05, 0.01
_AS_WELL = 1.05
_NEARLY = 0.1
_DRIFTS = 0.5  # of the change from map to map that the still scene shows, what bodies show of it at least where the unit changes
_ONE_WAY = 0.5  # of the relative errors, how much points must share in the change from map to map: one of unit is that of all of them
_SMALL_UNITS = (1e-3, 1e-2)
_OF_PICTURES = (1 / 5, 1000 / 256)
"""Of pictures of 5000 (TUM) or 256 (KITTI) a metre that are taken for millimetres."""
_ORDINARY = (*_SMALL_UNITS, 1e2, 1e3, *_OF_PICTURES)
"""What units differ by: millimetres, centimetres, and those of pictures."""


@dataclass(frozen=True)
class Ratio:
    """The unit of the depth maps, in that of the camera's path, and the median relative error of still points that it leaves."""

    ratio: float
    error: float


class Rescaled:
    """Depth maps in another unit."""

    def __init__(self, source: DepthSource, ratio: float) -> None:
        self._source, self._ratio = source, ratio

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        """As the source's, depth multiplied by the ratio."""
        found = self._source.read(frame)
        return None if found is None else (found[0] * self._ratio, found[1])

    def close(self) -> None:
        """The source's."""
        self._source.close()


def best_ratio(clip: UpstreamClip, errors: np.ndarray) -> Ratio | None:
    """The unit of the depth maps where it is not that of the camera's path; None where it may be, or nothing tells.

    Either the still scene contradicts their being the same and fits another; or the bodies, which are metric, say that depth is in
    millimetres or centimetres, or a picture's in an ordinary unit of pictures, and the still scene fits a path in metres as well.

    Args:
        errors: of `scene_errors`: of the cameras as they are, and of other readings of them, which may explain as much.
    """
    if not _moves(clip):
        return None

    def tried(ratios: Sequence[float] | np.ndarray) -> np.ndarray:
        paths = []
        for ratio in ratios:
            paths.append(clip.cameras.w2c.copy())
            paths[-1][:, :3, 3] /= ratio  # the depth stays, so the path changes
        return scene_errors(clip, paths)

    unit = _unit_by_bodies(clip)
    if unit is not None and (error := float(tried([unit])[0])) <= _AS_WELL * errors.min():
        return Ratio(unit, error)
    if errors[0] <= 2 * _MARGIN:
        return None
    coarse = np.logspace(-_RANGE, _RANGE, 2 * _RANGE * _PER_DECADE + 1)
    near = float(coarse[np.argmin(tried(coarse))])
    step = 10 ** (1 / _PER_DECADE)
    ratios = np.concatenate([np.geomspace(near / step, near * step, 2 * _PER_DECADE + 1), _ORDINARY])
    found = tried(ratios)
    best = int(np.argmin(found))
    ordinary = len(ratios) - len(_ORDINARY) + int(np.argmin(found[-len(_ORDINARY) :]))
    if abs(np.log(ratios[ordinary] / ratios[best])) < _NEARLY and found[ordinary] <= 1.1 * found[best] + 0.001:
        best = ordinary
    ratio, error = float(ratios[best]), float(found[best])
    clear = errors[0] > 2 * error + _MARGIN and error <= min(_FITS, errors[1:].min())
    return Ratio(ratio, error) if clear and not 1 / _SAME < ratio < _SAME and not _drifts(clip, errors[0]) else None


def _drifts(clip: UpstreamClip, error: float) -> bool:
    """Whether the still scene grows or shrinks from map to map as bodies, which are metric, do in the maps' unit: both say that the unit
    changes along the clip, which a path in another unit explains as well where the camera goes towards what it sees."""
    pairs, _ = _carried(clip, [clip.cameras.w2c])
    scene = np.array([np.median(np.log1p(off)) if len(off) else np.nan for off in pairs[0]])
    bodies = np.diff([np.log(np.median(found)) if (found := _metres(clip, t, depth)) else np.nan for t, depth in _maps(clip)])
    known = np.isfinite(scene) & np.isfinite(bodies)
    if known.sum() < 2:
        return False
    change = scene[known]
    return bool(change @ bodies[known] > _DRIFTS * change @ change and np.sqrt(np.mean(change**2)) > _ONE_WAY * error)


def _moves(clip: UpstreamClip) -> bool:
    centres = camera_centres(clip.cameras.w2c)
    return bool(np.ptp(centres, axis=0).any())


def _unit_by_bodies(clip: UpstreamClip) -> float | None:
    """Metres in the depth maps' unit where that is clearly millimetres or centimetres, or another that only pictures have."""
    ratios = [ratio for t, depth in _maps(clip) for ratio in _metres(clip, t, depth)]
    if not ratios or not (unit := float(np.median(ratios))) > 0:
        return None
    ordinary = (*_SMALL_UNITS, *_OF_PICTURES) if isinstance(clip.depth, DepthMaps) and clip.depth.pictures else _SMALL_UNITS
    return next((known for known in ordinary if abs(np.log(unit / known)) < np.log(_SAME)), None)


def _metres(clip: UpstreamClip, t: int, depth: np.ndarray) -> list[float]:
    """Metres in the unit of a depth map, by each person's pelvis."""
    ratios, frame = [], int(clip.cameras.frame_ids[t])
    for person, body in clip.camera_bodies.items():
        values = depth[person_region(clip, person, frame, depth.shape) & np.isfinite(depth)]
        if len(values) and (rows := body.frames == frame).any() and (ratio := float(body.pelvis_depth[rows][0] / np.median(values))) > 0:
            ratios.append(ratio)
    return ratios


def _maps(clip: UpstreamClip) -> list[tuple[int, np.ndarray]]:
    """Some frames that have depth, with it."""
    frame_ids = clip.cameras.frame_ids
    frames = np.unique(np.linspace(0, len(frame_ids) - 1, _PAIRS + 1).round().astype(int))
    return [(t, found[0]) for t in frames.tolist() if (found := clip.depth.read(int(frame_ids[t])))]


def scene_errors(clip: UpstreamClip, candidates: list[np.ndarray]) -> np.ndarray:
    """Median relative depth error of still points carried between pairs of frames, for each reading of the cameras; inf where none."""
    residuals, enough = _carried(clip, candidates)
    return np.array([np.median(np.abs(np.concatenate(pairs))) if ok else np.inf for pairs, ok in zip(residuals, enough, strict=True)])


def _carried(clip: UpstreamClip, candidates: list[np.ndarray]) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """Relative depth errors of still points carried from map to map, a list over pairs for each reading; and whether enough landed."""
    cameras, maps = clip.cameras, _maps(clip)
    residuals: list[list[np.ndarray]] = [[] for _ in candidates]
    landed, tried = np.zeros(len(candidates)), 0
    for (a, depth_a), (b, depth_b) in pairwise(maps):
        still_a, still_b = still_region(clip, a, depth_a), still_region(clip, b, depth_b)
        rows, columns, centres = pixel_centres(depth_a.shape, cameras.image_size, max(1, depth_a.shape[1] // _GRID))
        keep = still_a[rows, columns]
        points = unproject(centres[keep], depth_a[rows, columns][keep].astype(float), cameras.intrinsics[a])
        tried += len(points)
        for i, w2c in enumerate(candidates):
            there = to_camera(to_world(points, w2c[a]), w2c[b])
            pixels = project(there, cameras.intrinsics[b]) * [depth_b.shape[1], depth_b.shape[0]] / np.array(cameras.image_size)
            cell = np.floor(np.nan_to_num(pixels, nan=-1)).astype(int)
            inside = (cell >= 0).all(1) & (cell < [depth_b.shape[1], depth_b.shape[0]]).all(1)
            inside[inside] &= still_b[cell[inside, 1], cell[inside, 0]]
            expected = depth_b[cell[inside, 1], cell[inside, 0]]
            residuals[i].append((there[inside, 2] - expected) / expected)
            landed[i] += inside.sum()
    return residuals, landed > _LANDED * max(tried, 1)


def still_region(clip: UpstreamClip, t: int, depth: np.ndarray) -> np.ndarray:
    """(h, w) bool: where there is depth and nobody."""
    still: np.ndarray = np.isfinite(depth)
    for person in clip.camera_bodies:
        still &= ~person_region(clip, person, int(clip.cameras.frame_ids[t]), depth.shape)
    return still
