"""Cameras from people of whom a tool tells twice where they are: in the camera's axes, and in a world of their own.

The two readings of one body on one frame differ by the pose of the camera: `R = R_camera R_world^T`, and the pelvis tells where it stands.
Worlds of such tools have y up, and people of one clip each have their own, which differ by a turn about y and by where they begin. With the
path of a camera of unknown unit (odometry), the readings tell the unit. Without, they are all there is of the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import savgol_filter
from scipy.spatial.transform import Rotation

from pose_priors.body.interpolation import lerp_missing, slerp_missing

# What is still moves less than this in the readings, whose own errors are of this size: an angle, a share of the distance to the person.
_STILL_DEG, _STILL_SHARE = 5.0, 0.25
_SMOOTH_S, _PARABOLA = 0.5, 2  # readings jitter from frame to frame, cameras have mass
_PATH_M = 0.05  # a camera that moves less tells nothing about its unit


@dataclass(frozen=True)
class Reading:
    """One person, told twice.

    Attributes:
        frames: (n,); increasing, and all rows finite, in what `whole` gives.
        camera_orient, world_orient: (n, 3) rotation vectors of the pelvis.
        camera_pelvis, world_pelvis: (n, 3) metres.
    """

    frames: np.ndarray
    camera_orient: np.ndarray
    camera_pelvis: np.ndarray
    world_orient: np.ndarray
    world_pelvis: np.ndarray

    def whole(self) -> Reading:
        """The rows that are finite, each frame once, in order; there may be none."""
        parts = (self.camera_orient, self.camera_pelvis, self.world_orient, self.world_pelvis)
        rows = np.flatnonzero(np.isfinite(np.concatenate(parts, 1)).all(1) & (self.frames >= 0))
        rows = rows[np.unique(self.frames[rows], return_index=True)[1]]
        return Reading(self.frames[rows], *(part[rows] for part in parts))

    def cameras(self) -> tuple[Rotation, np.ndarray]:
        """Camera to world on each frame: turn, and place (n, 3)."""
        turn = Rotation.from_rotvec(self.world_orient) * Rotation.from_rotvec(self.camera_orient).inv()
        return turn, self.world_pelvis - turn.apply(self.camera_pelvis)


def cameras_from_odometry(
    readings: Sequence[Reading], rotation: np.ndarray, translation: np.ndarray, source: str, warnings: list[str]
) -> tuple[np.ndarray, np.ndarray, float]:
    """A camera's path turned and moved into the world of the person who is seen longest, and its unit.

    Args:
        readings: at least one.
        rotation: (T, 3, 3) camera to world of the odometry; translation: (T, 3) in its unit.
        source: the file, for the warning that says the unit.
    Returns:
        rotation (T, 3, 3) and translation (T, 3) camera to world, y up, still in the odometry's unit; and alpha: metric = alpha * unit.
    """
    path = Rotation.from_matrix(rotation)
    # of each person: alpha * carried + offset = what the odometry leaves to be explained
    carried, left = [], []
    levels = []
    for reading in readings:
        turn, _ = reading.cameras()
        level = (turn * path[reading.frames].inv()).mean()
        levels.append(level)
        moved = level.apply(translation[reading.frames])
        rest = reading.world_pelvis - (level * path[reading.frames]).apply(reading.camera_pelvis)
        carried.append(moved - moved.mean(0))
        left.append(rest - rest.mean(0))
    x, y = np.concatenate(carried).ravel(), np.concatenate(left).ravel()
    alpha = float(x @ y / (x @ x)) if x @ x > 0 else 0.0
    spread = float(np.linalg.norm(np.concatenate(carried), axis=1).max())
    if alpha * spread < _PATH_M:
        warnings.append(f"{source}: the camera stays within {_PATH_M} m by it, so its path tells no scale; the scale starts at 1")
        alpha = 1.0
    else:
        warnings.append(
            f"{source}: by how the people move in the world, the unit of the camera's path is {alpha:.4g} m; the scale starts there"
        )
    longest = int(np.argmax([len(reading.frames) for reading in readings]))
    reading, level = readings[longest], levels[longest]
    rest = reading.world_pelvis - (level * path[reading.frames]).apply(reading.camera_pelvis)
    offset = (rest - alpha * level.apply(translation[reading.frames])).mean(0)
    return (level * path).as_matrix(), level.apply(translation) + offset / alpha, alpha


def cameras_from_readings(
    readings: Sequence[Reading], num_frames: int, fps: float, source: str, warnings: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The camera as the two readings of each person have it, in the world of the person who is seen longest.

    A camera that stands still within what the readings can tell is one still camera. One that moves is smoothed, and frames on which nobody
    was seen are interpolated.

    Returns:
        rotation (T, 3, 3) and translation (T, 3) camera to world, y up, metres.
    """
    turns, places, seen = _joined(readings, num_frames)
    mean = Rotation.from_rotvec(turns[seen]).mean()
    centre = np.median(places[seen], 0)
    angle = float(np.degrees(np.median((mean.inv() * Rotation.from_rotvec(turns[seen])).magnitude())))
    share = float(
        np.median(np.linalg.norm(places[seen] - centre, axis=1))
        / np.median(np.linalg.norm(np.concatenate([reading.camera_pelvis for reading in readings]), axis=1))
    )
    told = (
        f"people in the camera and in the world differ by a camera that turns by {angle:.1f} deg and moves by {share:.0%} of its distance"
    )
    if angle < _STILL_DEG and share < _STILL_SHARE:
        warnings.append(
            f"{source}: no camera path; {told} (medians), no more than such readings err: one camera that stands still is taken"
        )
        return np.tile(mean.as_matrix(), (num_frames, 1, 1)), np.tile(centre, (num_frames, 1))
    warnings.append(
        f"{source}: no camera path; {told} (medians), which is taken for its path, smoothed; a camera path from odometry is better"
    )
    quat = Rotation.from_rotvec(slerp_missing(turns, seen)).as_quat()
    flips = np.where((quat[1:] * quat[:-1]).sum(1) < 0, -1.0, 1.0)
    quat[1:] *= np.cumprod(flips)[:, None]  # one of q and -q, without jumps
    return Rotation.from_quat(_smooth(quat, fps)).as_matrix(), _smooth(lerp_missing(places, seen), fps)


def _smooth(values: np.ndarray, fps: float) -> np.ndarray:
    """Values (T, C) on the parabolas that fit their surroundings best (Savitzky and Golay, Analytical Chemistry 36, 1964)."""
    window = min(round(_SMOOTH_S * fps), len(values))
    window -= 1 - window % 2
    return savgol_filter(values, window, _PARABOLA, axis=0) if window > _PARABOLA + 1 else values


def _joined(readings: Sequence[Reading], num_frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Camera to world by frame: turn (T, 3), place (T, 3), and whether anybody tells (T,). People after the longest only fill its gaps,
    moved into its world by the frames that they share."""
    turns, places, seen = np.zeros((num_frames, 3)), np.zeros((num_frames, 3)), np.zeros(num_frames, bool)
    for reading in sorted(readings, key=lambda reading: -len(reading.frames)):
        turn, place = reading.cameras()
        if seen.any():
            common = seen[reading.frames]
            if not common.any():
                continue
            at = reading.frames[common]
            level = (Rotation.from_rotvec(turns[at]) * turn[common].inv()).mean()
            turn, place = level * turn, level.apply(place) + (places[at] - level.apply(place[common])).mean(0)
        new = ~seen[reading.frames]
        turns[reading.frames[new]], places[reading.frames[new]] = turn.as_rotvec()[new], place[new]
        seen[reading.frames] = True
    return turns, places, seen
