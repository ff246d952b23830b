"""Cameras from people of whom a tool tells twice where they are: in the camera's axes, and in a world of their own.

The two readings of one body on one frame differ by the pose of the camera: `R = R_camera R_world^T`, and the pelvis tells where it stands.
Worlds of such tools have y up, and people of one clip each have their own, which differ by a turn about y and by where they begin. With the
path of a camera of unknown unit (odometry), the readings tell the unit. Without, they are all there is of the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.interpolation import lerp_missing, slerp_missing
from pose_priors.configs.base import listed
from pose_priors.datamodules.plausibility import are_places, are_turns
from pose_priors.refinement.formats.jumps import jumping

# What is still moves less than this in the readings, whose own errors are of this size: an angle, a share of the distance to the person.
_STILL_DEG, _STILL_SHARE = 5.0, 0.25
_SMOOTH_S, _PARABOLA = 0.5, 2  # readings jitter from frame to frame, cameras have mass
_PATH_M = 0.05  # a camera that moves less tells nothing about its unit
_EXPLAINED, _ROUNDS, _FAR = 0.5, 5, 5.0  # the share of what people do that a path must explain; medians beyond which a frame has no say
# a camera that jumps by this share of the distance to the person, or by this angle, as a distance of matrices, in one frame
_JUMP_SHARE, _JUMP_DEG, _FASTEST, _MOST_JUMPS = 0.15, 20.0, 12.5, 0.2


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
        """The rows whose turns and places are some, each frame once, in order; there may be none."""
        turns, places = (self.camera_orient, self.world_orient), (self.camera_pelvis, self.world_pelvis)
        rows = np.flatnonzero(np.all([*map(are_turns, turns), *map(are_places, places), self.frames >= 0], 0))
        rows = rows[np.unique(self.frames[rows], return_index=True)[1]]
        return Reading(*(part[rows] for part in (self.frames, *self._parts())))

    def cameras(self) -> tuple[Rotation, np.ndarray]:
        """Camera to world on each frame: turn, and place (n, 3)."""
        turn = Rotation.from_rotvec(self.world_orient) * Rotation.from_rotvec(self.camera_orient).inv()
        return turn, self.world_pelvis - turn.apply(self.camera_pelvis)

    def agreeing(self, fps: float, source: str, warnings: list[str]) -> Reading:
        """The rows on which camera and world agree as they do on the frames around; of others, `warnings` takes a line. All rows where few
        are left."""
        turn, place = self.cameras()
        away = np.linalg.norm(self.camera_pelvis, axis=1)
        jumps = jumping(place, self.frames, fps, _JUMP_SHARE * away, _FASTEST)
        chord = 2 * np.sqrt(2) * np.sin(np.radians(_JUMP_DEG) / 2)
        jumps |= jumping(turn.as_matrix().reshape(-1, 9), self.frames, fps, chord, chord * fps)
        if not jumps.any() or jumps.mean() > _MOST_JUMPS:
            return self
        warnings.append(
            f"{source}: on {int(jumps.sum())} of {len(jumps)} frames ({listed(self.frames[jumps].tolist())}) the camera and the world "
            "contradict each other by what they say on the frames around; these frames say nothing of the camera"
        )
        return Reading(*(part[~jumps] for part in (self.frames, *self._parts())))

    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return self.camera_orient, self.camera_pelvis, self.world_orient, self.world_pelvis


def cameras_from_odometry(
    readings: Sequence[Reading],
    rotation: np.ndarray,
    translation: np.ndarray | None,
    fps: float,
    source: str,
    warnings: list[str],
) -> tuple[np.ndarray, np.ndarray, float]:
    """A camera's path turned and moved into the world of the person who is seen longest, and its unit.

    Where the path has no common unit of length, or does not go with how the people move in their worlds, its turns alone are taken, and the
    camera stands where the readings have it.

    Args:
        readings: at least one.
        rotation: (T, 3, 3) camera to world of the odometry; translation: (T, 3) in its unit, None where it has none.
        fps: frames a second.
        source: the file, for the warning that says the unit.
    Returns:
        rotation (T, 3, 3) and translation (T, 3) camera to world, y up, still in the odometry's unit; and alpha: metric = alpha * unit.
    """
    path = Rotation.from_matrix(rotation)
    readings = [reading.agreeing(fps, source, warnings) for reading in readings]
    readings = sorted(readings, key=lambda reading: -len(reading.frames))
    levels = [(reading.cameras()[0] * path[reading.frames].inv()).mean() for reading in readings]
    turned = (levels[0] * path).as_matrix()
    # of each person: alpha * carried + offset = what the odometry leaves to be explained
    left = [r.world_pelvis - (level * path[r.frames]).apply(r.camera_pelvis) for r, level in zip(readings, levels, strict=True)]
    if translation is not None:
        carried = [level.apply(translation[reading.frames]) for reading, level in zip(readings, levels, strict=True)]
        alpha, explained = common_unit(carried, left)
        spread = float(np.linalg.norm(np.concatenate([way - way.mean(0) for way in carried]), axis=1).max())
        if alpha * spread >= _PATH_M and explained >= _EXPLAINED:
            warnings.append(
                f"{source}: by how the people move in the world, the unit of the camera's path is {alpha:.4g} m; the scale starts there"
            )
            offset = np.median(left[0] - alpha * carried[0], 0)
            return turned, levels[0].apply(translation) + offset / alpha, alpha
        if abs(alpha) * spread < _PATH_M:
            warnings.append(
                f"{source}: by how the people move, the camera's path is shorter than {_PATH_M} m and tells no scale; "
                "its turns alone are taken"
            )
        else:
            warnings.append(
                f"{source}: the camera's path explains {explained:.0%} of how the people move in their world; its turns alone are taken"
            )
    else:
        warnings.append(f"{source}: the steps of the camera's path have no common unit of length; its turns alone are taken")
    levelled = [(reading.frames, levels[0] * level.inv(), rest) for reading, level, rest in zip(readings, levels, left, strict=True)]
    return turned, _places(levelled, readings, len(rotation), fps, source, warnings), 1.0


def common_unit(carried: Sequence[np.ndarray], left: Sequence[np.ndarray]) -> tuple[float, float]:
    """The alpha at which `alpha * carried + offset`, an offset for each person, comes nearest to what is left, and the share of the
    variance that it explains, negative where the two go against each other. Frames that are far off the rest have no say."""
    x, y = (np.concatenate([part - np.median(part, 0) for part in parts]) for parts in (carried, left))
    keep = np.ones(len(x), bool)
    alpha = 0.0
    for _ in range(_ROUNDS):
        norm = float((x[keep] ** 2).sum())
        alpha = float((x[keep] * y[keep]).sum()) / norm if norm > 0 else 0.0
        off = np.linalg.norm(y - alpha * x, axis=1)
        keep = off <= _FAR * max(float(np.median(off)), 1e-6)
    share = abs(alpha) * alpha * float((x[keep] ** 2).sum()) / max(float((y[keep] ** 2).sum()), 1e-12)
    return alpha, share


def _places(
    told: Sequence[tuple[np.ndarray, Rotation, np.ndarray]],
    readings: Sequence[Reading],
    num_frames: int,
    fps: float,
    source: str,
    warnings: list[str],
) -> np.ndarray:
    """(T, 3) metres, where the camera stands once its turns are known: still, or on a smooth path.

    Args:
        told: of each person frames, the turn from its world into that of the first, and (n, 3) the place by its readings in its own world.
    """
    places, seen = np.zeros((num_frames, 3)), np.zeros(num_frames, bool)
    for frames, level, place in told:
        there = level.apply(place)
        if seen.any():
            common = seen[frames]
            if not common.any():
                continue
            there = there + np.median(places[frames[common]] - there[common], 0)
        new = ~seen[frames]
        places[frames[new]], seen[frames] = there[new], True
    centre = np.median(places[seen], 0)
    away = np.median(np.linalg.norm(np.concatenate([reading.camera_pelvis for reading in readings]), axis=1))
    share = float(np.median(np.linalg.norm(places[seen] - centre, axis=1)) / away)
    if share < _STILL_SHARE:
        return np.tile(centre, (num_frames, 1))
    warnings.append(
        f"{source}: the camera moves by {share:.0%} of its distance by where people stand in camera and world, which is smoothed"
    )
    return _smooth(lerp_missing(places, seen), fps)


def cameras_from_readings(
    readings: Sequence[Reading], num_frames: int, fps: float, source: str, warnings: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The camera as the two readings of each person have it, in the world of the person who is seen longest.

    A camera that stands still within what the readings can tell is one still camera. One that moves is smoothed, and frames on which nobody
    was seen are interpolated.

    Returns:
        rotation (T, 3, 3) and translation (T, 3) camera to world, y up, metres.
    """
    readings = [reading.agreeing(fps, source, warnings) for reading in readings]
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
    if window <= _PARABOLA + 1:
        return values
    from scipy.signal import savgol_filter  # brings all of scipy.stats, which every command would wait for

    smooth: np.ndarray = savgol_filter(values, window, _PARABOLA, axis=0)
    return smooth


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
