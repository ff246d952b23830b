"""Faults that only show when stages are held against each other: cameras against depth maps, bodies against what was seen in the image."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from pose_priors.body.pinhole import pixel_centres, project, to_camera, to_world, unproject
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.keypoints import Correspondence
from pose_priors.refinement.given.sampling import person_region

FLIP_YZ = np.diag([1.0, -1.0, -1.0, 1.0])
"""From OpenGL's camera axes (y up, z backward) to OpenCV's, and back."""

_PAIRS, _GRID = 6, 32
_LANDED = 0.1
_MAX_RESIDUAL = 0.15  # a projected body that is off by more than this share of the person's height belongs to another camera or person
MIN_CONFIDENCE = 0.3
"""Of a keypoint that is believed by itself."""


def check_cameras(clip: UpstreamClip) -> bool:
    """Carries points of the still scene from one camera into another and compares their depth with the depth map there.

    A camera that stands still says nothing; neither does a clip without depth maps.

    Returns:
        whether the depth maps prove that the poses are world to camera.
    Raises:
        UserError: if the poses contradict the depth maps and fit once they are inverted, flipped, or both.
    """
    w2c = clip.cameras.w2c
    candidates: dict[str, np.ndarray] = {
        "": w2c,
        "camera to world where world to camera is expected: store them under 'c2w', or inverted": np.linalg.inv(w2c),
        "in OpenGL axes (y up, z backward) where OpenCV's are expected: multiply them by diag(1, -1, -1, 1) from the left": FLIP_YZ @ w2c,
        "camera to world in OpenGL axes: store their inverse, multiplied by diag(1, -1, -1, 1) from the left": FLIP_YZ @ np.linalg.inv(w2c),
    }
    errors = scene_errors(clip, list(candidates.values()))
    best = int(np.argmin(errors))
    # a right reading leaves the noise of the depth maps, a wrong one parallax; what is not clearly parallax is no proof
    if np.isfinite(errors).any() and best and errors[0] > 2 * errors[best] + 0.01:
        shown = f"{100 * errors[0]:.1f} %" if np.isfinite(errors[0]) else "more than any"
        raise UserError(
            f"{clip.cameras.source} contradict the depth maps by {shown} of the depth, and by {100 * errors[best]:.1f} % once read "
            f"otherwise; they are likely {list(candidates)[best]}"
        )
    return bool(errors[1] > 2 * errors[0] + 0.01)


def scene_errors(clip: UpstreamClip, candidates: list[np.ndarray]) -> np.ndarray:
    """Median relative depth error of still points carried between pairs of frames, for each reading of the cameras; inf where none."""
    cameras = clip.cameras
    frames = np.unique(np.linspace(0, len(cameras.frame_ids) - 1, _PAIRS + 1).round().astype(int))
    maps = [(t, found[0]) for t in frames.tolist() if (found := clip.depth.read(int(cameras.frame_ids[t])))]
    residuals: list[list[np.ndarray]] = [[] for _ in candidates]
    landed, tried = np.zeros(len(candidates)), 0
    for (a, depth_a), (b, depth_b) in pairwise(maps):
        still_a, still_b = _still(clip, a, depth_a), _still(clip, b, depth_b)
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
            residuals[i].append(np.abs(there[inside, 2] - expected) / expected)
            landed[i] += inside.sum()
    enough = landed > _LANDED * max(tried, 1)
    return np.array([np.median(np.concatenate(r)) if ok else np.inf for r, ok in zip(residuals, enough, strict=True)])


def _still(clip: UpstreamClip, t: int, depth: np.ndarray) -> np.ndarray:
    """(h, w) bool: where there is depth and nobody."""
    still: np.ndarray = np.isfinite(depth)
    for person in clip.camera_bodies:
        still &= ~person_region(clip, person, int(clip.cameras.frame_ids[t]), depth.shape)
    return still


def pixel_residuals(
    joints: np.ndarray,
    intrinsics: np.ndarray,
    keypoints: np.ndarray,
    of: tuple[Correspondence, ...],
    boxes: np.ndarray,
    image_size: tuple[int, int],
) -> np.ndarray:
    """How far a body lands from where it was seen.

    Args:
        joints: (T, J, 3) in the axes of each frame's camera.
        intrinsics: (T, 3, 3).
        keypoints: (T, K, 3) pixels and confidence; of: what each observes.
        boxes: (T, 4) corners, nan where there is none.
    Returns:
        (T,) pixels: the median over keypoints, or, where there are none, the mean distance of the joints from the box; the image's diagonal
        for a body behind its camera, nan where nothing was seen.
    """
    pixels = project(joints, intrinsics)
    behind = ~np.isfinite(pixels).all((1, 2))
    distance = np.full(keypoints.shape[:2], np.nan)
    for k, pair in enumerate(of):
        distance[:, k] = np.linalg.norm(pixels[:, list(pair.joints)].mean(1) - keypoints[:, k, :2], axis=-1)
    distance[keypoints[..., 2] < MIN_CONFIDENCE] = np.nan
    outside = np.maximum(boxes[:, None, :2] - pixels, 0) + np.maximum(pixels - boxes[:, None, 2:], 0)
    residual: np.ndarray = np.linalg.norm(outside, axis=-1).mean(1)
    matched = np.isfinite(distance).any(1)
    residual[matched] = np.nanmedian(distance[matched], 1)
    seen = (keypoints[..., 2] >= MIN_CONFIDENCE).any(1) | np.isfinite(boxes).all(1) if len(of) else np.isfinite(boxes).all(1)
    residual[behind & seen] = np.hypot(*image_size)
    return residual


Residual = Callable[[np.ndarray, np.ndarray], float]
"""(T, J, 3) joints in the axes of (T, 3, 3) cameras -> the median residual in pixels of one person over the frames it was seen on."""


def check_camera_bodies(
    clip: UpstreamClip, joints: dict[int, np.ndarray], residuals: dict[int, Residual], heights: dict[int, float], warnings: list[str]
) -> tuple[dict[int, float], set[int]]:
    """Projects stage 3 into the image. Of a person who is off what was seen of it, a warning says by how much.

    Args:
        joints: person -> (T, J, 3) of stage 3, gaps included.
        residuals: person -> its measure. heights: person -> the usual height of its box in pixels.
    Returns:
        person -> median residual in pixels; and the people who are off, whose bodies cannot tell the scale.
    Raises:
        UserError: if most people are off, and hit once the bodies are flipped or the intrinsics are those of a resized image.
    """
    cameras = clip.cameras
    found = {person: residual(joints[person], cameras.intrinsics) for person, residual in residuals.items()}
    wrong = [person for person, residual in found.items() if residual > _MAX_RESIDUAL * heights[person]]
    if len(wrong) * 2 > len(found):
        width, height = cameras.image_size
        grid = np.diag([width, height, 1.0]) @ np.diag([*(0.5 / cameras.intrinsics[0, [0, 1], [2, 2]]), 1.0])
        readings: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
            "stage 3 is in OpenGL axes (y up, z backward), OpenCV's (y down, z forward) are expected": lambda j: (
                j * [1, -1, -1],
                cameras.intrinsics,
            ),
            f"the intrinsics are those of a resized image: add 'intrinsics_size' [{2 * cameras.intrinsics[0, 0, 2]:.0f}, "
            f"{2 * cameras.intrinsics[0, 1, 2]:.0f}] to cameras.npz": lambda j: (j, grid @ cameras.intrinsics),
        }
        for cause, read in readings.items():
            again = [residuals[person](*read(joints[person])) for person in wrong]
            if np.median(again) < 0.5 * np.median([found[person] for person in wrong]) and all(
                residual <= _MAX_RESIDUAL * heights[person] for person, residual in zip(wrong, again, strict=True)
            ):
                raise UserError(
                    f"{clip.camera_bodies[wrong[0]].source}: projected into the image, its people miss their keypoints and boxes by "
                    f"{np.median([found[person] for person in wrong]):.0f} px; likely cause: {cause}"
                )
    left_out = " and is left out of the scale" if len(wrong) < len(found) else ""
    for person in wrong:
        warnings.append(
            f"{clip.camera_bodies[person].source}: projected into the image, the person misses its keypoints or box by "
            f"{found[person]:.0f} px (median){left_out}; are the intrinsics, the frames and the person's id those of stages 1 and 2?"
        )
    return found, set(wrong)


def check_world_body(
    clip: UpstreamClip, person: int, joints: np.ndarray, residual: Residual, reference: float, proven: bool, warnings: list[str]
) -> bool:
    """Projects one person of stage 4 through stage 1; whether it hits as stage 3 does. If not, a warning says by how much, and why.

    Args:
        joints: (T, J, 3) in stage 4's world, nan on frames without a row.
        reference: median residual of stage 3 in pixels.
        proven: whether stage 1's poses are known to be world to camera.
    """
    cameras = clip.cameras
    found = residual(to_camera(joints, cameras.w2c), cameras.intrinsics)
    if not np.isfinite(found) or found <= 1.5 * reference + 2:
        return True
    inverse = np.linalg.inv(cameras.w2c)
    twice = "the camera was inverted twice when stage 4 was made"
    readings = {
        twice if proven else f"{twice}, or stage 1's poses are c2w where w2c is expected": to_camera(joints, inverse),
        "stage 4 is in OpenGL axes (y and z flipped)": to_camera(joints @ FLIP_YZ[:3, :3], cameras.w2c),
        "stage 4 was left in camera axes": joints,
    }
    again = {cause: residual(there, cameras.intrinsics) for cause, there in readings.items()}
    cause = min(again, key=lambda c: again[c])
    if again[cause] > max(1.5 * reference + 2, 0.5 * found):
        cause = "stage 4 is of another run, or moves smplx's transl as if it were the pelvis"
    warnings.append(
        f"{clip.world_bodies[person].source}: projected through stage 1, the person misses by {found:.0f} px, "
        f"stage 3 by {reference:.0f} px (medians over {int(np.isfinite(joints).all((1, 2)).sum())} seen frames); "
        f"likely cause: {cause}. Stage 4 is rebuilt from stage 3 and the cameras"
    )
    return False
