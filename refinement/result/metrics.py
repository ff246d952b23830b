"""The field's metrics for people in world space.

Definitions, with the evaluation code that they come from: similarity alignment, W-MPJPE and WA-MPJPE by chunks of 100 frames (SLAHMR, Ye et
al., CVPR 2023; WHAM, Shin et al., CVPR 2024); RTE (WHAM, with the pelvis as the root as in GVHMR, Shen et al., SIGGRAPH Asia 2024); jitter
in 10 m/s^3 (TransPose, Yi et al., SIGGRAPH 2021); foot sliding where the truth moves less than 10 mm a frame (WHAM), here of the joints of
ankles and feet, as no mesh is needed; ground penetration (HuMoR, Rempe et al., ICCV 2021). Joint errors without alignment, and those of
scale and of distances between people, are ours: no other shows a wrong scale.

Joints are (n, J, 3) in metres, float64, in the order of SMPL-X, at least the 22 of the body; row i of the estimate and of the truth are of
the same frame. Errors are in millimetres unless a name says otherwise. A metric that nothing can be said about is None.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pose_priors.body.layout import layout
from pose_priors.body.skeleton import index_of

NUM_JOINTS = 22
"""Joints that are scored: those of the body."""

CHUNK = 100
"""Frames that W-MPJPE and WA-MPJPE align at once."""

_MM = 1e3
FEET = [index_of(f"{side}_{joint}") for joint in ("ankle", "foot") for side in ("left", "right")]
"""Ankles and feet, ascending: the joints that contacts are written of, in their order, and whose sliding is measured."""
_TOES = [index_of(f"{side}_foot") for side in ("left", "right")]
_STILL_M = 0.010  # a foot that moves less in a frame is in contact
_SHORTEST_PATH_M = 1.0  # RTE is a share of the path, which means nothing for those who stay where they are
_FEWEST_ALIGNED = 3


@dataclass(frozen=True)
class Track:
    """One person's joints.

    Attributes:
        frames: (n,) frame numbers, strictly increasing.
        joints: (n, J, 3) metres, world; J is 22, 24 or 55. What is scored has the 22 of `body`.
    """

    frames: np.ndarray
    joints: np.ndarray

    @property
    def body(self) -> Track:
        """The same of the joints that are scored."""
        return Track(self.frames, self.joints[:, :NUM_JOINTS])

    def row(self, frame: int) -> int | None:
        """Which row is of a frame, None if none is."""
        at = int(np.searchsorted(self.frames, frame))
        return at if at < len(self.frames) and self.frames[at] == frame else None

    def bones(self, frame: int) -> np.ndarray | None:
        """(J - 1, 2, 3) from each joint's parent to the joint; None where the person is not there."""
        row = self.row(frame)
        if row is None:
            return None
        joints = self.joints[row]
        return np.stack([joints[list(layout(len(joints)).parents[1:])], joints[1:]], 1)


def align(source: np.ndarray, target: np.ndarray, with_scale: bool = True) -> tuple[float, np.ndarray, np.ndarray]:
    """The similarity that brings points closest to others in the sense of least squares (Umeyama, PAMI 13, 1991).

    Args:
        source, target: (n, 3).
        with_scale: false for a rigid motion, of scale 1.
    Returns:
        s, R (3, 3) and t (3,): s R x + t is near the target.
    """
    mean_source, mean_target = source.mean(0), target.mean(0)
    centred, wanted = source - mean_source, target - mean_target
    u, singular, vt = np.linalg.svd(wanted.T @ centred)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    spread = (centred**2).sum()
    scale = float((singular * sign).sum() / spread) if with_scale and spread else 1.0
    return scale, rotation, mean_target - scale * rotation @ mean_source


def moved(points: np.ndarray, similarity: tuple[float, np.ndarray, np.ndarray]) -> np.ndarray:
    """Points (..., 3) under a similarity s, R, t."""
    scale, rotation, shift = similarity
    there: np.ndarray = scale * points @ rotation.T + shift
    return there


def abs_mpjpe(joints: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of the joints, nothing aligned."""
    return float(np.linalg.norm(joints - truth, axis=-1).mean() * _MM)


def mpjpe(joints: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of the joints once the pelvis is at the same place."""
    return abs_mpjpe(joints - joints[:, :1], truth - truth[:, :1])


def pa_mpjpe(joints: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of the joints after each frame's own similarity (Procrustes)."""
    return abs_mpjpe(np.stack([moved(a, align(a, b)) for a, b in zip(joints, truth, strict=True)]), truth)


def w_mpjpe(joints: np.ndarray, truth: np.ndarray) -> float | None:
    """Mean distance after one similarity for each chunk, from its first two frames: what drifts away shows. None below 3 frames."""
    return _by_chunks(joints, truth, 2)


def wa_mpjpe(joints: np.ndarray, truth: np.ndarray) -> float | None:
    """Mean distance after one similarity for each chunk, from all its frames. None below 3 frames."""
    return _by_chunks(joints, truth, CHUNK)


def _by_chunks(joints: np.ndarray, truth: np.ndarray, num_aligned: int) -> float | None:
    """Chunks count alike; a last one of less than 3 frames is left out, since it would be aligned to itself."""
    errors = []
    for first in range(0, len(joints), CHUNK):
        a, b = joints[first : first + CHUNK], truth[first : first + CHUNK]
        if len(a) >= _FEWEST_ALIGNED:
            similarity = align(a[:num_aligned].reshape(-1, 3), b[:num_aligned].reshape(-1, 3))
            errors.append(abs_mpjpe(moved(a, similarity), b))
    return float(np.mean(errors)) if errors else None


def rte_percent(pelvis: np.ndarray, truth: np.ndarray) -> float | None:
    """Root translation error: mean distance of two paths (n, 3) after a rigid alignment, in percent of the true path's length; None where
    that is below 1 m."""
    length = float(np.linalg.norm(np.diff(truth, axis=0), axis=-1).sum())
    if length < _SHORTEST_PATH_M:
        return None
    error = np.linalg.norm(moved(pelvis, align(pelvis, truth, with_scale=False)) - truth, axis=-1).mean()
    return float(error / length * 100)


def runs(frames: np.ndarray) -> list[np.ndarray]:
    """The rows of each stretch of consecutive frames."""
    return np.split(np.arange(len(frames)), np.flatnonzero(np.diff(frames) != 1) + 1)


def jitter(track: Track, fps: float) -> float | None:
    """Mean size of the third difference in time, in 10 m/s^3, over stretches of consecutive frames; None if none is of 4 or more."""
    return _mean(np.linalg.norm(step, axis=-1) * fps**3 / 10 for step in _differences(track.joints, track.frames, 3))


def accel_error(track: Track, truth: np.ndarray, fps: float) -> float | None:
    """Mean distance of the accelerations, in m/s^2, in the world: the pelvis counts. None if no stretch is of 3 or more frames."""
    return _mean(np.linalg.norm(step, axis=-1) * fps**2 for step in _differences(track.joints - truth, track.frames, 2))


def foot_sliding(track: Track, truth: np.ndarray) -> float | None:
    """Mean step of ankles and feet from frame to frame where the true one is below 10 mm; None if none ever is."""
    steps = _differences(track.joints[:, FEET], track.frames, 1)
    true_steps = _differences(truth[:, FEET], track.frames, 1)
    return _mean(
        np.linalg.norm(step, axis=-1)[np.linalg.norm(true, axis=-1) < _STILL_M] * _MM for step, true in zip(steps, true_steps, strict=True)
    )


def ground_penetration(joints: np.ndarray, plane: np.ndarray) -> float:
    """Mean depth of the balls of the feet below the floor, over all frames, those above counting 0; plane (4,) up-facing n and d."""
    return float(np.maximum(-(joints[:, _TOES] @ plane[:3] + plane[3]), 0).mean() * _MM)


def distance_error(tracks: Sequence[Track], truths: Sequence[np.ndarray]) -> float | None:
    """Mean error of the distance between the pelvises of each two people, on frames that have both; None where there are none."""
    errors = []
    for (a, true_a), (b, true_b) in itertools.combinations(list(zip(tracks, truths, strict=True)), 2):
        _, i, j = np.intersect1d(a.frames, b.frames, return_indices=True)
        found, true = (np.linalg.norm(x[i, 0] - y[j, 0], axis=-1) for x, y in ((a.joints, b.joints), (true_a, true_b)))
        errors.append(np.abs(found - true) * _MM)
    return _mean(errors)


def scale_error_percent(alpha: float, true_alpha: float) -> float:
    """By how much the metric scale is wrong, in percent."""
    return abs(alpha / true_alpha - 1) * 100


def person_metrics(track: Track, truth: np.ndarray, visible: np.ndarray, plane: np.ndarray, fps: float) -> dict[str, float | None]:
    """All metrics of one person. Joint errors are over the frames on which the person was seen, those of motion over all of the track.

    Args:
        track: n frames.
        truth: (n, 22, 3) on those frames.
        visible: (n,) bool, whether the person was seen.
        plane: (4,) the true floor.
    """
    seen, true_seen = track.joints[visible], truth[visible]
    hidden = ~visible
    return {
        "abs_mpjpe_mm": abs_mpjpe(seen, true_seen) if visible.any() else None,
        "w_mpjpe_mm": w_mpjpe(track.joints, truth),
        "wa_mpjpe_mm": wa_mpjpe(track.joints, truth),
        "mpjpe_mm": mpjpe(seen, true_seen) if visible.any() else None,
        "pa_mpjpe_mm": pa_mpjpe(seen, true_seen) if visible.any() else None,
        "infilled_abs_mpjpe_mm": abs_mpjpe(track.joints[hidden], truth[hidden]) if hidden.any() else None,
        "rte_percent": rte_percent(track.joints[:, 0], truth[:, 0]),
        "jitter": jitter(track, fps),
        "jitter_truth": jitter(Track(track.frames, truth), fps),
        "accel_error": accel_error(track, truth, fps),
        "fs_joints_mm": foot_sliding(track, truth),
        "ground_penetration_mm": ground_penetration(track.joints, plane),
    }


def _differences(values: np.ndarray, frames: np.ndarray, order: int) -> list[np.ndarray]:
    """Differences in time of each stretch of consecutive frames that is long enough."""
    return [np.diff(values[rows], order, axis=0) for rows in runs(frames) if len(rows) > order]


def _mean(parts: Iterator[np.ndarray] | Sequence[np.ndarray]) -> float | None:
    """Over all numbers of all parts."""
    numbers = [part.ravel() for part in parts]
    together = np.concatenate(numbers) if numbers else np.zeros(0)
    return float(together.mean()) if len(together) else None
