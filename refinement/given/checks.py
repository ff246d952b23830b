"""Faults that only show when stages are held against each other: cameras against depth maps, bodies against what was seen in the image."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from pose_priors.body.pinhole import pixel_centres, project, to_camera, to_world, unproject
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.keypoints import Link
from pose_priors.refinement.given.sampling import person_region

FLIP_YZ = np.diag([1.0, -1.0, -1.0, 1.0])
"""From OpenGL's camera axes (y up, z backward) to OpenCV's, and back."""

_PAIRS, _GRID = 6, 32
_LANDED = 0.1
_MISS_OF_BOX = 0.15  # a projected body that misses by more than this share of the person's height belongs to another camera or person
_SURE = 0.3


def check_cameras(recording: UpstreamClip) -> bool:
    """Carries points of the still scene from one camera into another and compares their depth with the depth map there.

    A camera that stands still says nothing; neither does a clip without depth maps.

    Returns:
        whether the depth maps prove that the poses are world to camera.
    Raises:
        UserError: if the poses contradict the depth maps and fit once they are inverted, flipped, or both.
    """
    w2c = recording.cameras.w2c
    candidates: dict[str, np.ndarray] = {
        "": w2c,
        "camera to world where world to camera is expected: store them under 'c2w', or inverted": np.linalg.inv(w2c),
        "in OpenGL axes (y up, z backward) where OpenCV's are expected: multiply them by diag(1, -1, -1, 1) from the left": FLIP_YZ @ w2c,
        "camera to world in OpenGL axes: store their inverse, multiplied by diag(1, -1, -1, 1) from the left": FLIP_YZ @ np.linalg.inv(w2c),
    }
    errors = scene_errors(recording, list(candidates.values()))
    best = int(np.argmin(errors))
    # a right reading leaves the noise of the depth maps, a wrong one parallax; what is not clearly parallax is no proof
    if np.isfinite(errors).any() and best and errors[0] > 2 * errors[best] + 0.01:
        shown = f"{100 * errors[0]:.1f} %" if np.isfinite(errors[0]) else "more than any"
        raise UserError(
            f"{recording.cameras.source} contradict the depth maps by {shown} of the depth, and by {100 * errors[best]:.1f} % once read "
            f"otherwise; they are likely {list(candidates)[best]}"
        )
    return bool(errors[1] > 2 * errors[0] + 0.01)


def scene_errors(recording: UpstreamClip, candidates: list[np.ndarray]) -> np.ndarray:
    """Median relative depth error of still points carried between pairs of frames, for each reading of the cameras; inf where none."""
    cameras = recording.cameras
    frames = np.unique(np.linspace(0, len(cameras.frame_ids) - 1, _PAIRS + 1).round().astype(int))
    maps = [(t, found[0]) for t in frames.tolist() if (found := recording.depth.read(int(cameras.frame_ids[t])))]
    misses: list[list[np.ndarray]] = [[] for _ in candidates]
    landed, tried = np.zeros(len(candidates)), 0
    for (a, depth_a), (b, depth_b) in pairwise(maps):
        still_a, still_b = _still(recording, a, depth_a), _still(recording, b, depth_b)
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
            misses[i].append(np.abs(there[inside, 2] - expected) / expected)
            landed[i] += inside.sum()
    enough = landed > _LANDED * max(tried, 1)
    return np.array([np.median(np.concatenate(m)) if ok else np.inf for m, ok in zip(misses, enough, strict=True)])


def _still(recording: UpstreamClip, t: int, depth: np.ndarray) -> np.ndarray:
    """(h, w) bool: where there is depth and nobody."""
    still = np.isfinite(depth)
    for person in recording.camera_bodies:
        still &= ~person_region(recording, person, int(recording.cameras.frame_ids[t]), depth.shape)
    return still


def pixel_misses(
    joints: np.ndarray, intrinsics: np.ndarray, keypoints: np.ndarray, of: tuple[Link, ...], boxes: np.ndarray, image_size: tuple[int, int]
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
    for k, link in enumerate(of):
        distance[:, k] = np.linalg.norm(pixels[:, list(link.joints)].mean(1) - keypoints[:, k, :2], axis=-1)
    distance[keypoints[..., 2] < _SURE] = np.nan
    outside = np.linalg.norm(np.maximum(boxes[:, None, :2] - pixels, 0) + np.maximum(pixels - boxes[:, None, 2:], 0), axis=-1).mean(1)
    any_point = np.isfinite(distance).any(1)
    out = outside
    out[any_point] = np.nanmedian(distance[any_point], 1)
    seen = (keypoints[..., 2] >= _SURE).any(1) | np.isfinite(boxes).all(1) if len(of) else np.isfinite(boxes).all(1)
    out[behind & seen] = np.hypot(*image_size)
    return out


Miss = Callable[[np.ndarray, np.ndarray], float]
"""(T, J, 3) joints in the axes of (T, 3, 3) cameras -> the median pixel miss of one person over the frames it was seen on."""


def check_camera_bodies(
    recording: UpstreamClip, joints: dict[int, np.ndarray], misses: dict[int, Miss], heights: dict[int, float], warnings: list[str]
) -> tuple[dict[int, float], set[int]]:
    """Projects stage 3 into the image. Of a person who misses what was seen of it, a warning says by how much.

    Args:
        joints: person -> (T, J, 3) of stage 3, gaps included.
        misses: person -> its measure. heights: person -> the usual height of its box in pixels.
    Returns:
        person -> median pixel miss; and the people who miss, whose bodies cannot tell the scale.
    Raises:
        UserError: if most people are missed, and hit once the bodies are flipped or the intrinsics are those of a resized image.
    """
    cameras = recording.cameras
    found = {person: miss(joints[person], cameras.intrinsics) for person, miss in misses.items()}
    wrong = [person for person, miss in found.items() if miss > _MISS_OF_BOX * heights[person]]
    if len(wrong) * 2 > len(found):
        width, height = cameras.image_size
        grid = np.diag([width, height, 1.0]) @ np.diag([*(0.5 / cameras.intrinsics[0, [0, 1], [2, 2]]), 1.0])
        readings = {
            "stage 3 is in OpenGL axes (y up, z backward), OpenCV's (y down, z forward) are expected": lambda j: (
                j * [1, -1, -1],
                cameras.intrinsics,
            ),
            f"the intrinsics are those of a resized image: add 'intrinsics_size' [{2 * cameras.intrinsics[0, 0, 2]:.0f}, "
            f"{2 * cameras.intrinsics[0, 1, 2]:.0f}] to cameras.npz": lambda j: (j, grid @ cameras.intrinsics),
        }
        for cause, read in readings.items():
            again = [misses[person](*read(joints[person])) for person in wrong]
            if np.median(again) < 0.5 * np.median([found[person] for person in wrong]) and all(
                miss <= _MISS_OF_BOX * heights[person] for person, miss in zip(wrong, again, strict=True)
            ):
                raise UserError(
                    f"{recording.camera_bodies[wrong[0]].source}: projected into the image, its people miss their keypoints and boxes by "
                    f"{np.median([found[person] for person in wrong]):.0f} px; likely cause: {cause}"
                )
    left_out = " and is left out of the scale" if len(wrong) < len(found) else ""
    for person in wrong:
        warnings.append(
            f"{recording.camera_bodies[person].source}: projected into the image, the person misses its keypoints or box by "
            f"{found[person]:.0f} px (median){left_out}; are the intrinsics, the frames and the person's id those of stages 1 and 2?"
        )
    return found, set(wrong)


def check_world_body(
    recording: UpstreamClip, person: int, joints: np.ndarray, miss: Miss, reference: float, proven: bool, warnings: list[str]
) -> bool:
    """Projects one person of stage 4 through stage 1; whether it hits as stage 3 does. If not, a warning says by how much, and why.

    Args:
        joints: (T, J, 3) in stage 4's world, nan on frames without a row.
        reference: median pixel miss of stage 3.
        proven: whether stage 1's poses are known to be world to camera.
    """
    cameras = recording.cameras
    found = miss(to_camera(joints, cameras.w2c), cameras.intrinsics)
    if not np.isfinite(found) or found <= 1.5 * reference + 2:
        return True
    inverse = np.linalg.inv(cameras.w2c)
    twice = "the camera was inverted twice when stage 4 was made"
    readings = {
        twice if proven else f"{twice}, or stage 1's poses are c2w where w2c is expected": to_camera(joints, inverse),
        "stage 4 is in OpenGL axes (y and z flipped)": to_camera(joints @ FLIP_YZ[:3, :3], cameras.w2c),
        "stage 4 was left in camera axes": joints,
    }
    again = {cause: miss(there, cameras.intrinsics) for cause, there in readings.items()}
    cause = min(again, key=lambda c: again[c])
    if again[cause] > max(1.5 * reference + 2, 0.5 * found):
        cause = "stage 4 is of another run, or moves smplx's transl as if it were the pelvis"
    warnings.append(
        f"{recording.world_bodies[person].source}: projected through stage 1, the person misses by {found:.0f} px, "
        f"stage 3 by {reference:.0f} px (medians over {int(np.isfinite(joints).all((1, 2)).sum())} seen frames); "
        f"likely cause: {cause}. Stage 4 is rebuilt from stage 3 and the cameras"
    )
    return False
