"""How many metres stage 1's unit has: alpha0, from the bodies, which are metric, and the depth maps, which are not.

Two cues, each independent of what the other may get wrong:

- bodies: for every joint that is seen in its person's mask, (depth of the joint less the body's thickness there) / depth in the map.
- floor: the height of the camera above the floor in stage 1's unit, from the depth maps, against its height above the feet in metres.

In both, how far away a body is in metres comes from its keypoints, where there are enough: bone lengths in metres against their lengths in
pixels. Stage 3's own depths wander by several per cent, its body sizes by much less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pose_priors.body.pinhole import camera_centres
from pose_priors.refinement.given.rays import fitted, rays_through
from pose_priors.refinement.given.robust import spread, weighted_median

_MIN_POINTS = 6
_NEAR = 0.3
_THICKNESS_ERROR = 0.2  # standard deviation of a person's thickness about the table, as a share of it
_SIZE_ERROR = 0.004  # relative, of a person's size in stage 3
_METRIC_ERROR = 0.03  # of the unit of a tool that measures in metres, in the logarithm
_SAME_BODY = 0.06  # metres by which the depth of a joint may differ from its person's other joints before something covers it, at least


def place_by_keypoints(
    joints: np.ndarray, keypoints: np.ndarray, confidence: np.ndarray, intrinsics: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The translation of a body of known size and pose at which its joints lie on the rays through its keypoints.

    Args:
        joints: (..., K, 3) metres in the camera's axes, where stage 3 has them.
        keypoints: (..., K, 2) pixels.
        confidence: (..., K).
        intrinsics: (..., 3, 3).
    Returns:
        shift (..., 3) metres to add to the joints, 0 where there are too few keypoints; and (...) bool where there are enough.
    """
    rays = rays_through(keypoints, intrinsics)
    rows = np.zeros((*joints.shape[:-1], 2, 3))  # how far a joint is from its ray is linear in the shift
    rows[..., 0, 0], rows[..., 1, 1], rows[..., 2] = 1, 1, -rays
    enough = (confidence > 0).sum(-1) >= _MIN_POINTS
    shift, good = fitted(rows, joints[..., :2] - rays * joints[..., 2:], confidence, enough)
    good &= joints[..., 2].mean(-1) + shift[..., 2] > _NEAR
    return np.where(good[..., None], shift, 0), good


@dataclass(frozen=True)
class BodyScale:
    """The scale from the bodies.

    Attributes:
        alpha: metric = alpha * stage 1; nan where no joint has depth.
        error: its standard error, relative, that of the thickness table included.
        consistent: (P, T, J) bool, samples that belong to the joint and not to something in front of it.
    """

    alpha: float
    error: float
    consistent: np.ndarray


def from_bodies(depth_body: np.ndarray, depth_map: np.ndarray, confidence: np.ndarray, thickness: np.ndarray) -> BodyScale:
    """The weighted median of the ratios over joints, people and frames, then again over those that agree within their person and frame.

    Args:
        depth_body: (P, T, J) metres, z of the joints.
        depth_map: (P, T, J) in stage 1's unit.
        confidence: (P, T, J), 0 where there is no sample.
        thickness: (P, J) metres, nan where not known.
    """
    front = depth_body - np.nan_to_num(thickness)[:, None]
    use = (confidence > 0) & (depth_map > 0) & (front > 0) & np.isfinite(thickness)[:, None]
    if not use.any():
        return BodyScale(np.nan, np.inf, use)
    ratio = np.where(use, front / np.where(use, depth_map, 1), 0)
    sure = 1 / (1e-3 + (_THICKNESS_ERROR * np.nan_to_num(thickness)[:, None]) ** 2)
    weight = np.where(use, confidence * sure, 0)
    alpha = weighted_median(ratio[use], weight[use])
    gap = front - alpha * depth_map
    person_frame = np.where(use, gap, np.nan).reshape(-1, gap.shape[-1])
    seen = np.isfinite(person_frame).any(1)
    common = np.zeros(len(person_frame))
    common[seen] = np.nanmedian(person_frame[seen], 1)  # the body as a whole may stand wrongly; its joints must agree
    off = gap - common.reshape(*gap.shape[:-1], 1)
    band = max(_SAME_BODY, 3 * spread(off[use], weight[use]))
    consistent = use & (np.abs(off) < band)
    if consistent.any():
        alpha = weighted_median(ratio[consistent], weight[consistent])
    # the table's error is common to all joints of a kind, and so does not average out over frames
    share = weight.sum((0, 1)) / weight.sum()
    far = weighted_median(depth_body[use], weight[use])
    table = _THICKNESS_ERROR * np.linalg.norm(share * np.nan_to_num(thickness).mean(0)) / far
    people = [weighted_median(ratio[p][consistent[p]], weight[p][consistent[p]]) for p in range(len(ratio)) if consistent[p].any()]
    between = max(np.std(people) / alpha, _SIZE_ERROR) / np.sqrt(max(len(people), 1))
    return BodyScale(alpha, float(np.hypot(table, between)), consistent)


def camera_heights(w2c: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """(T,) heights of the cameras above a plane (4,), in the plane's unit."""
    heights: np.ndarray = camera_centres(w2c) @ plane[:3] + plane[3]
    return heights


def from_floor(joints: np.ndarray, seen: np.ndarray, heights: np.ndarray, w2c: np.ndarray, plane: np.ndarray) -> tuple[float, float]:
    """The scale at which the lowest foot of each person stands on the floor: a median over people of medians over frames.

    Args:
        joints: (P, T, J, 3) metres, in the axes of each frame's camera.
        seen: (P, T) bool.
        heights: (P, J) metres that a joint stands above the sole; nan for those that never carry.
        w2c: (T, 4, 4), translation in stage 1's unit.
        plane: (4,) the floor in stage 1's world and unit, up-facing.
    Returns:
        alpha and its relative standard error; nan and inf where nobody is seen or a camera is not above the floor.
    """
    carriers = np.isfinite(heights).all(0)
    up = np.einsum("tij,j->ti", w2c[:, :3, :3], plane[:3])
    above = np.einsum("ptji,ti->ptj", joints[:, :, carriers], up) - heights[:, None, carriers]
    lowest = above.min(-1)  # below the camera, so negative
    camera = camera_heights(w2c, plane)
    use = seen & (camera > 0)[None] & (lowest < 0)
    people = [np.median(-lowest[p][use[p]] / camera[use[p]]) for p in range(len(seen)) if use[p].any()]
    if not people:
        return np.nan, np.inf
    alpha = float(np.median(people))
    foot_error = 0.02 / np.median(-lowest[use])  # how flat a foot stands is known to about two centimetres
    return alpha, float(np.hypot(foot_error, np.std(people) / alpha / np.sqrt(len(people))))


def depth_biases(
    depth_body: np.ndarray, depth_map: np.ndarray, consistent: np.ndarray, thickness: np.ndarray, by_floor: np.ndarray
) -> np.ndarray:
    """(P,) by how much the depth maps show each person too far away, in the logarithm: by the floor under its feet; 0 where that is silent.

    A body that is too large is too far away by its keypoints and too far below the camera, both by as much: sizes cancel.

    Args:
        depth_body, depth_map, thickness: as in `from_bodies`; consistent: (P, T, J) bool, the samples that count.
        by_floor: (P,) the scale at which each person stands on the floor, nan where none does.
    """
    ratio = (depth_body - np.nan_to_num(thickness)[:, None]) / np.where(consistent, depth_map, 1)
    by_depth = np.array([np.median(ratio[p][consistent[p]]) if consistent[p].any() else np.nan for p in range(len(ratio))])
    found = np.log(by_floor / by_depth)
    return np.where(np.isfinite(found), found, 0.0)


def stands_at(joints: np.ndarray, seen: np.ndarray, heights: np.ndarray, w2c: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """(P,) the scale at which each person alone stands on the floor, nan for those who do not; arguments as in `from_floor`."""
    return np.array([from_floor(joints, seen & (np.arange(len(seen)) == p)[:, None], heights, w2c, plane)[0] for p in range(len(seen))])


def combined(estimates: list[tuple[float, float]]) -> float:
    """The mean of positive estimates in the logarithm, weighted by their inverse variances; nan where all are.

    Args:
        estimates: each with its relative standard error.
    """
    known = [(np.log(value), error) for value, error in estimates if np.isfinite(value) and value > 0]
    if not known:
        return np.nan
    logs, errors = (np.array(column) for column in zip(*known, strict=True))
    return float(np.exp(np.average(logs, weights=1 / errors**2)))


def width_of_scale(*, metric: bool, keypoints: bool, tied: bool) -> float:
    """Standard deviation of the logarithm of the scale about where the refinement starts, beside what the refinement's own terms say of it.

    Args:
        metric: whether the tool that made the cameras says what their unit is in metres.
        keypoints: whether any were seen; else nobody says how large people are in the image, depths of joints that miss the body would draw
            the scale with them, and it stays where it starts, with a width of 0.
        tied: whether depth of people or points of the floor tell it, so that nothing is to be added: inf, as where nobody says anything.
    """
    if not keypoints:
        return 0.0
    return math.inf if tied or not metric else _METRIC_ERROR
