"""Cameras against the still scene: each frame's patches must lie on those of an earlier frame (Chen & Medioni, "Object Modelling by
Registration of Multiple Range Images", Image and Vision Computing 10, 1992), where the given cameras are believed as far as nothing tells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.pinhole import project
from pose_priors.refinement.given.still.patches import Patches

_STEPS = 8
_SAME_SIDE = 0.8  # cosine between normals of patches that may be the same
_WIDTH = 0.02  # relative distance of a patch from its plane at which it counts half as much
_SIGMA = 0.01  # of a patch's distance, relative; its errors are the map's and not its own
_USUAL = 0.005  # scale of the Cauchy density by which distances are weighed where cameras differ in a number that all frames share
_OVERLAP = 0.5  # of a frame's patches, on those of the frame that it is compared with
_ROTATION, _TRANSLATION, _SCALE = 0.1, 0.05, 0.3  # what cameras may be off by: radians, of the depth, in the logarithm
_LEAST = 20  # patches
# of the curvature along the direction that is told best: with 0.015 wandering cameras keep turns of 1 to 3 degrees, of which 0.005 to
# 0.0125 leave 0.3 to 0.5; from 0.009 on down noise draws cameras along a bare wall
_TOLD = 0.011


class Fit:
    """One frame against an earlier one: the motion that carries it there, the scale, and how far its patches lie from their planes.

    Attributes:
        rotation, translation: (3, 3) and (3,), from the frame's camera to the other's, in the other's unit.
        scale: log of the other's unit over the frame's.
        error: median distance of patches from their planes, relative; inf where too few meet.
        surprise: mean of minus the log-density of these distances, Cauchy's, less its least.
        overlap: the share of the patches that meet.
    """

    def __init__(self, rotation: np.ndarray, translation: np.ndarray, scale: float = 0.0) -> None:
        self.rotation, self.translation, self.scale = rotation, translation, scale
        self.error, self.surprise, self.overlap = np.inf, np.inf, 0.0


def fit(frame: Patches, other: Patches, start: Fit, intrinsics: np.ndarray, image_size: tuple[int, int], moves: bool, scales: bool) -> Fit:
    """Gauss-Newton from where the given cameras put the frame.

    Args:
        start: by the given cameras.
        intrinsics: (3, 3) of the other.
        moves: whether the motion may change; scales: whether the scale may.
    """
    found = Fit(start.rotation, start.translation, start.scale)
    if len(frame.points) < _LEAST:
        return found
    depth = float(np.median(frame.points[:, 2]))
    prior = np.array([*[_ROTATION] * 3, *[_TRANSLATION * depth] * 3, _SCALE])
    free = np.array([moves] * 6 + [scales])
    for last in [False] * (_STEPS if free.any() else 0) + [True]:
        turned = frame.points @ found.rotation.T * np.exp(found.scale)
        at = turned + found.translation
        plane = other.at(np.where(at[:, 2:] > 0, project(at, intrinsics), np.nan), image_size)
        length = np.linalg.norm(plane, axis=1)
        normal = plane / length[:, None]
        with np.errstate(invalid="ignore"):
            meets = np.einsum("ni,ni->n", normal, frame.normals @ found.rotation.T) > _SAME_SIDE
        found.overlap = float(meets.mean())
        if meets.sum() < _LEAST:
            found.error = found.surprise = np.inf
            break
        at, turned, normal, far = at[meets], turned[meets], normal[meets], np.linalg.norm(at[meets], axis=1)
        off = (np.einsum("ni,ni->n", plane[meets], at) - 1) / length[meets]
        found.error = float(np.median(np.abs(off) / far))
        if last:
            found.surprise = float(np.log1p((off / far / _USUAL) ** 2).mean())
            break
        slope = np.concatenate([np.cross(at, normal), normal, np.einsum("ni,ni->n", normal, turned)[:, None]], 1)[:, free]
        weight = 1 / (_SIGMA * far) ** 2 / (1 + (off / (_WIDTH * far)) ** 2)
        gone = np.array(
            [
                *Rotation.from_matrix(found.rotation @ start.rotation.T).as_rotvec(),
                *(found.translation - start.translation),
                found.scale - start.scale,
            ]
        )
        step = np.zeros(7)
        step[free] = _step((slope * weight[:, None]).T @ slope, -(slope * weight[:, None]).T @ off, gone[free], prior[free])
        turn = Rotation.from_rotvec(step[:3]).as_matrix()
        found.rotation = turn @ found.rotation
        # a turn about the other camera carries the frame's place along
        found.translation = turn @ found.translation + step[3:6]
        found.scale += float(step[6])
    return found


def _step(curvature: np.ndarray, downhill: np.ndarray, gone: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """A Gauss-Newton step along the directions that the scene tells and no others: along a bare wall the noise of its normals would pull
    (Zhang, Kaess & Singh, "On Degeneracy of Optimization-based State Estimation Problems", ICRA 2016)."""
    values, vectors = np.linalg.eigh(curvature * np.outer(prior, prior))
    told = vectors[:, values > _TOLD * values[-1]]
    along_told = told.T @ (curvature * np.outer(prior, prior) + np.eye(len(prior))) @ told
    step: np.ndarray = prior * (told @ np.linalg.solve(along_told, told.T @ (downhill * prior - gone / prior)))
    return step


class Registered:
    """All frames against the still scene.

    Attributes:
        w2c: (T, 4, 4) world to camera, in the unit of the first frame that has depth.
        scale: (T,) log of that unit over each frame's.
        error, surprise: (T,) see `Fit`; nan where a frame has no patches.
    """

    def __init__(self, w2c: np.ndarray) -> None:
        self.w2c, self.scale = w2c.copy(), np.zeros(len(w2c))
        self.error, self.surprise = np.full(len(w2c), np.nan), np.full(len(w2c), np.nan)

    @property
    def misfit(self) -> float:
        """The median over the frames that could be compared; inf where none could."""
        known = self.error[np.isfinite(self.error)]
        return float(np.median(known)) if len(known) else np.inf

    @property
    def mean_surprise(self) -> float:
        """The mean over the frames that could be compared; inf where none could. Finer than `misfit`, which is a median."""
        known = self.surprise[np.isfinite(self.surprise)]
        return float(np.mean(known)) if len(known) else np.inf


def register(
    seen: Sequence[Patches | None],
    w2c: np.ndarray,
    intrinsics: np.ndarray,
    image_size: tuple[int, int],
    *,
    moves: bool = False,
    scales: bool = False,
    known: np.ndarray | None = None,
) -> Registered:
    """Frame by frame against the last frame that shows enough of the same.

    Args:
        seen: the patches of each frame, in each frame's unit.
        w2c: (T, 4, 4) as given.
        intrinsics: (T, 3, 3).
        moves: whether cameras may move; scales: whether the unit may.
        known: (T,) log-scales that hold, or None.
    """
    out = Registered(w2c)
    if known is not None:
        out.scale = known.copy()
    keyframe: int | None = None
    shift = np.eye(4)  # what the given cameras are off by at the last frame, in that camera

    def against(key: int, t: int) -> Fit:
        relative = out.w2c[key] @ np.linalg.inv(shift @ w2c[t])
        patch = seen[key]
        assert patch is not None
        unit = np.exp(out.scale[key])
        start = Fit(relative[:3, :3], relative[:3, 3] / unit, (out.scale[t] if known is not None else out.scale[t - 1]) - out.scale[key])
        frame = seen[t]
        assert frame is not None
        return fit(frame, patch, start, intrinsics[key], image_size, moves, scales)

    last: int | None = None
    for t, patch in enumerate(seen):
        if patch is None:
            continue
        if keyframe is None:
            keyframe = last = t
            continue
        found = against(keyframe, t)
        if found.overlap < _OVERLAP and last is not None and last != keyframe:
            keyframe = last
            found = against(keyframe, t)
        if np.isfinite(found.error):
            unit = np.exp(out.scale[keyframe])
            if scales:
                out.scale[t] = out.scale[keyframe] + found.scale
            if moves:
                into = np.eye(4)
                into[:3, :3], into[:3, 3] = found.rotation, found.translation * unit
                out.w2c[t] = np.linalg.inv(into) @ out.w2c[keyframe]
                shift = out.w2c[t] @ np.linalg.inv(w2c[t])
            out.error[t], out.surprise[t], last = found.error, found.surprise, t
        else:
            out.scale[t] = out.scale[t - 1] if known is None else known[t]
            out.w2c[t] = shift @ w2c[t]
    return out
