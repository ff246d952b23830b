"""Which points of depth maps are shown: flying pixels at edges, uncertain ones, and what other frames contradict may be left out."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

import numpy as np

from pose_priors.body.pinhole import project, to_camera
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.cameras import CameraTrack
from pose_priors.refinement.formats.clip import DepthSource

_AGREES = 0.05  # of the depth, within which another frame sees the same
_AWAY_S = 0.4  # seconds to the frames that are asked, on either side
_MIN_DEPTH = 1e-6


@dataclass(frozen=True)
class PointFilter:
    """Which points of a depth map are shown.

    Attributes:
        gradient: metres by which the depth may change from one cell of the map to the next; None for any. At the edges of things maps hold
            depths between front and back, which are nowhere in the scene. 0.01 leaves out much, 0.15 some, 0.3 little.
        confidence: in [0, 1], what stage 1 has to trust a depth at least.
        consistent: whether a point has to be there on frames before and after as well, as the background is and who walks is not.
    """

    gradient: float | None = None
    confidence: float = 0.0
    consistent: bool = False


EVERY_POINT = PointFilter()
"""Leaves nothing out."""


def add_filters(parser: ArgumentParser) -> None:
    """The flags of a command that say which points are shown."""
    parser.add_argument(
        "--gradient-thr",
        "--gradient-threshold",
        type=float,
        metavar="METRES",
        help="points at whose place the depth changes by more from one cell of its map to the next are left out: 0.01 many, 0.3 few",
    )
    parser.add_argument(
        "--conf-thr",
        "--confidence-threshold",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="points of less confidence are left out, 0 to 1",
    )
    parser.add_argument("--no-spf", action="store_true", help="also points that frames before and after contradict: what moves, what flies")


def filter_of(options: Namespace) -> PointFilter:
    """The points that the flags ask for. Raises `UserError` if a threshold is out of range."""
    if options.gradient_thr is not None and not options.gradient_thr > 0:
        raise UserError(f"--gradient-thr {options.gradient_thr:g}: a number of metres above 0 is expected")
    if not 0 <= options.conf_thr <= 1:
        raise UserError(f"--conf-thr {options.conf_thr:g}: a share from 0 to 1 is expected")
    return PointFilter(options.gradient_thr, options.conf_thr, consistent=not options.no_spf)


def steepness(depth: np.ndarray) -> np.ndarray:
    """(h, w) by how much a depth map (h, w) changes from one cell to the next; infinite beside cells without depth."""
    rows, columns = np.gradient(depth.astype(float))
    found: np.ndarray = np.nan_to_num(np.hypot(rows, columns), nan=np.inf)
    return found


def filtered(
    wanted: PointFilter, depth: np.ndarray, weight: np.ndarray, rows: np.ndarray, columns: np.ndarray, metres: float
) -> np.ndarray:
    """(N,) bool, which cells of a depth map have a point by the map itself.

    Args:
        depth: (h, w) in the cameras' unit, nan where there is none; weight: (h, w) in [0, 1].
        rows, columns: (N,) of the cells.
        metres: of the cameras' unit.
    """
    kept: np.ndarray = np.isfinite(depth[rows, columns]) & (weight[rows, columns] >= wanted.confidence)
    if wanted.gradient is not None and min(depth.shape) > 1:
        kept &= steepness(depth)[rows, columns] * metres <= wanted.gradient
    return kept


def is_background(points: np.ndarray, frame: int, cameras: CameraTrack, depth: DepthSource, fps: float) -> np.ndarray:
    """(N,) bool, which points no more of the frames before and after contradict than confirm.

    A frame confirms a point where its own depth map has it within 5 % of the depth, and contradicts it where it looks through it; what is
    hidden there, or out of the picture, it knows nothing of.

    Args:
        points: (N, 3) in the cameras' world and unit, seen on the frame of that number.
    """
    first, last, votes = int(cameras.frame_ids[0]), int(cameras.frame_ids[-1]), np.zeros(len(points), int)
    away = max(1, round(_AWAY_S * fps))
    for other in sorted({max(first, frame - away), min(last, frame + away)} - {frame}):
        found = depth.read(other)
        if found is None:
            continue
        at = other - first
        there = to_camera(points, cameras.w2c[at])
        z = there[:, 2]
        pixels = np.nan_to_num(project(there, cameras.intrinsics[at]), nan=-1.0, posinf=-1.0, neginf=-1.0)
        height, width = found[0].shape
        cell = np.floor(pixels * [width / cameras.image_size[0], height / cameras.image_size[1]]).clip(-1, 1 << 30).astype(int)
        inside = (z > _MIN_DEPTH) & (cell >= 0).all(1) & (cell[:, 0] < width) & (cell[:, 1] < height)
        seen = np.full(len(points), np.nan)
        seen[inside] = found[0][cell[inside, 1], cell[inside, 0]]
        known = np.isfinite(seen)
        votes += (known & (np.abs(z - seen) <= _AGREES * seen)).astype(int) - (known & (z < (1 - _AGREES) * seen)).astype(int)
    background: np.ndarray = votes >= 0
    return background
