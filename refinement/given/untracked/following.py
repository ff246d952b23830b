"""Follows a person through depth maps on the frames on which no tracker saw them.

A person whom a tracker lost is still in the depth maps, unless something stands before them: as a surface that nobody's mask claims. The
surface is followed from the last frame on which its owner was seen, and back from the first one after, by mean shift (Comaniciu, Ramesh and
Meer, "Kernel-based object tracking", TPAMI 2003). It is believed to be that person where both ways meet, and where it is about as large
as their mask was; what stood there already while the person was seen elsewhere is furniture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pose_priors.body.interpolation import runs
from pose_priors.body.pinhole import to_camera
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.given.problem import NUM_SKIN_POINTS
from pose_priors.refinement.given.start import scaled
from pose_priors.refinement.given.untracked.surfaces import Surfaces, depths, surfaces

_BESIDE = 10  # frames on each side of a gap that say how large somebody's mask is, and what stands about
_REACH_M, _TALL_M = 0.5, 1.2  # of a body about the middle of its surface: across the floor and up
_ABOVE_FLOOR_M = 0.06
_SHIFTS, _STILL_M = 8, 0.005  # of mean shift
_LEAST_POINTS = 30
_SHARE = (0.5, 1.5)  # of the surface that the person had where they were seen
_MEET_M = 0.15  # between where both ways end up
_CELL_M, _IN_CELL = 0.15, 4  # of the grid of what stands about, and points that make a cell count
_OWN_M = 0.7  # about a person, where what is outside the mask may be theirs all the same
_NEAR_M = 0.3  # behind a person's surface others count as before it
_NUM_COVER = 48


@dataclass(frozen=True)
class Shown:
    """What depth maps show of people whom the tracker lost, and of the same people on the frames beside, to tell how thick they are.

    Attributes:
        points: (P, T, N, 3) in the frame's camera, stage 1's unit: `NUM_SKIN_POINTS` of the skin, then of what stands before the person, in
            whose shadow the person may be, too; repeated to the same number.
        there: (P, T) bool, frames on which they count; on others the points are zero.
    """

    points: np.ndarray
    there: np.ndarray

    @staticmethod
    def nobody() -> Shown:
        """Of clips in which nobody is lost."""
        return Shown(np.zeros((1, 1, 0, 3)), np.zeros((1, 1), bool))


def find_untracked(
    clip: UpstreamClip, people: tuple[int, ...], everybody: Iterable[int], lost: np.ndarray, alpha: float, plane: np.ndarray
) -> Shown:
    """Follows people through the frames on which nobody saw them.

    Args:
        people: P ids; everybody: those, and of bystanders.
        lost: (P, T) bool, frames between two on which the person was seen.
        alpha: metric = alpha * stage 1.
        plane: (4,) the floor, metric.
    """
    if not lost.any() or not np.isfinite(plane).all():
        return Shown.nobody()
    points, there = np.zeros((*lost.shape, NUM_SKIN_POINTS + _NUM_COVER, 3)), np.zeros(lost.shape, bool)
    centres = np.full((*lost.shape, 3), np.nan)
    for p, person in enumerate(people):
        others = tuple(sorted(set(everybody) - {person}))
        for begin, end in runs(lost[p]):
            for row, (skin, cover) in _Gap(clip, person, others, begin, end, ~lost[p], alpha, plane).followed().items():
                centres[p, row], there[p, row] = np.median(skin, 0), True
                both = np.concatenate([_some(skin, NUM_SKIN_POINTS), _some(cover if len(cover) else skin, _NUM_COVER)])
                points[p, row] = to_camera(both, scaled(clip.cameras.w2c, alpha)[row]) / alpha
    # nobody's surface is two people's
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    apart[np.arange(len(people)), np.arange(len(people))] = np.inf
    there &= ~((apart < _REACH_M) & lost[:, None]).any(1) | ~lost
    points[~there] = 0
    return Shown(points, there) if (there & lost).any() else Shown.nobody()


class _Gap:
    """One gap of one person, from its first frame to behind its last."""

    def __init__(
        self,
        clip: UpstreamClip,
        person: int,
        others: tuple[int, ...],
        begin: int,
        end: int,
        seen: np.ndarray,
        alpha: float,
        plane: np.ndarray,
    ) -> None:
        self.clip, self.alpha, self.plane, self.begin, self.end = clip, alpha, plane, begin, end
        rows = [row for row in range(max(begin - _BESIDE, 0), min(end + _BESIDE, len(seen))) if seen[row]]
        self._read = {
            row: found for row in (*rows, *range(begin, end)) if (found := surfaces(clip, person, others, row, alpha)) is not None
        }
        self._sizes = {row: self._size(row, self._read[row].own) for row in rows if row in self._read and len(self._read[row].own)}
        standing = [self._standing(self._read[row]) for row in self._sizes] if self._bounded() else []
        self._furniture = np.unique(np.concatenate(standing)) if standing else np.zeros(0, np.int64)

    def followed(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """By frame, the points of the person's skin, and of what stands before the person."""
        if not self._bounded():
            return {}
        usual = float(np.median(list(self._sizes.values())))
        on, back = range(self.begin, self.end), range(self.end - 1, self.begin - 1, -1)
        ways = [self._way(rows, self._read[first].own, usual) for rows, first in ((on, self.begin - 1), (back, self.end))]
        found = {}
        for row in ways[0].keys() & ways[1].keys():
            one, two = ways[0][row], ways[1][row]
            if np.linalg.norm(np.median(one, 0) - np.median(two, 0)) < _MEET_M:
                found[row] = one, self._before(row, one)
        if found:
            high = {row: self._above_floor(self._read[row].own) for row in self._sizes}
            found |= {row: (own, own) for row, own in high.items() if len(own) >= _LEAST_POINTS}
        return found

    def _bounded(self) -> bool:
        """Whether depth maps show the person on the frames on both sides."""
        return self.begin - 1 in self._sizes and self.end in self._sizes

    def _way(self, rows: range, start: np.ndarray, usual: float) -> dict[int, np.ndarray]:
        """Along frames, the surface that follows from the one before, where it has the usual size."""
        found, middle = {}, np.median(start, 0)
        for row in rows:
            if row not in self._read:
                continue
            near = self._shifted(self._candidates(row, middle), middle)
            if len(near) >= _LEAST_POINTS and _SHARE[0] < self._size(row, near) / usual < _SHARE[1]:
                found[row], middle = near, np.median(near, 0)
        return found

    def _candidates(self, row: int, middle: np.ndarray) -> np.ndarray:
        """Points above the floor, no furniture, about where somebody may have gone."""
        points = self._above_floor(self._read[row].unclaimed)
        points = points[self._across(points - middle) < 3 * _REACH_M]
        free: np.ndarray = points[~np.isin(_cells(points), self._furniture)]
        return free

    def _shifted(self, points: np.ndarray, middle: np.ndarray) -> np.ndarray:
        """Those within a body's reach of their own middle."""
        near = points[:0]
        for _ in range(_SHIFTS):
            away = points - middle
            near = points[(self._across(away) < _REACH_M) & (np.abs(away @ self.plane[:3]) < _TALL_M)]
            if len(near) < _LEAST_POINTS:
                break
            before, middle = middle, np.median(near, 0)
            if np.linalg.norm(middle - before) < _STILL_M:
                break
        return near

    def _above_floor(self, points: np.ndarray) -> np.ndarray:
        """Those that are no part of it."""
        high: np.ndarray = points[points @ self.plane[:3] + self.plane[3] > _ABOVE_FLOOR_M]
        return high

    def _across(self, vectors: np.ndarray) -> np.ndarray:
        """Their lengths along the floor."""
        normal = self.plane[:3]
        along: np.ndarray = np.linalg.norm(vectors - (vectors @ normal)[:, None] * normal, axis=-1)
        return along

    def _size(self, row: int, points: np.ndarray) -> float:
        """Of a surface: as many pixels as it would have a metre before the camera."""
        return float(np.square(depths(points, self.clip, row, self.alpha)).sum())

    def _standing(self, found: Surfaces) -> np.ndarray:
        """Cells (N,) of the grid that something fills while the person is elsewhere."""
        points = found.unclaimed[self._across(found.unclaimed - np.median(found.own, 0)) > _OWN_M]
        cells, counts = np.unique(_cells(self._above_floor(points)), return_counts=True)
        standing: np.ndarray = cells[counts >= _IN_CELL]
        return standing

    def _before(self, row: int, skin: np.ndarray) -> np.ndarray:
        """Points of others before the person or beside, as the camera sees them."""
        w2c = scaled(self.clip.cameras.w2c, self.alpha)[row]
        others, own = to_camera(self._read[row].others, w2c), to_camera(skin, w2c)
        far = float(np.median(own[:, 2]))
        seen, shown = others[:, :2] / others[:, 2:], own[:, :2] / own[:, 2:]
        near = ((seen > shown.min(0) - _NEAR_M / far) & (seen < shown.max(0) + _NEAR_M / far)).all(1)
        found: np.ndarray = self._read[row].others[near & (others[:, 2] < far + _NEAR_M)]
        return found


def _cells(points: np.ndarray) -> np.ndarray:
    """(N,) the cells of a grid that hold points (N, 3), by one number each, which only cells of places 300 km apart share."""
    x, y, z = np.floor(points / _CELL_M).astype(np.int64).T
    cells: np.ndarray = (x << 42) + (y << 21) + z
    return cells


def _some(points: np.ndarray, count: int) -> np.ndarray:
    """So many of them, evenly spread."""
    some: np.ndarray = points[np.linspace(0, len(points) - 1, count).round().astype(int)]
    return some
