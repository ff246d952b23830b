"""Faults that only show when stages are held against each other: cameras against depth maps, bodies against what was seen in the image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from pose_priors.body.pinhole import project, to_camera
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.clip import MaskSource, NoPictures, UpstreamClip
from pose_priors.refinement.formats.keypoints import Correspondence
from pose_priors.refinement.given.parallax import Rescaled, best_ratio, scene_errors

FLIP_YZ = np.diag([1.0, -1.0, -1.0, 1.0])
"""From OpenGL's camera axes (y up, z backward) to OpenCV's, and back."""

_LOOKS = 6
_INSIDE = 0.3
_MAX_RESIDUAL = 0.15  # a projected body that is off by more than this share of the person's height belongs to another camera or person
MIN_CONFIDENCE = 0.3
"""Of a keypoint that is believed by itself."""


def check_cameras(clip: UpstreamClip, warnings: list[str]) -> tuple[UpstreamClip, bool]:
    """Carries points of the still scene from one camera into another and compares their depth with the depth map there.

    A camera that stands still says nothing; neither does a clip without depth maps. Depth in another unit than the cameras' is brought into
    theirs, with a line in `warnings`.

    Returns:
        the clip, and whether the depth maps prove that the poses are world to camera.
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
    if (found := best_ratio(clip, errors)) is not None:
        clip = replace(clip, depth=Rescaled(clip.depth, found.ratio))
        warnings.append(
            f"{clip.cameras.source}: the depth maps contradict the camera's path by {_percent(errors[0])} of the depth, and by "
            f"{_percent(found.error)} in a unit of {found.ratio:.4g} of the path's; they are taken in that"
        )
        errors = scene_errors(clip, list(candidates.values()))
    best = int(np.argmin(errors))
    # a right reading leaves the noise of the depth maps, a wrong one parallax; what is not clearly parallax is no proof
    if np.isfinite(errors).any() and best and errors[0] > 2 * errors[best] + 0.01:
        raise UserError(
            f"{clip.cameras.source} contradict the depth maps by {_percent(errors[0])} of the depth, and by {_percent(errors[best])} once "
            f"read otherwise; they are likely {list(candidates)[best]}"
        )
    return clip, bool(errors[1] > 2 * errors[0] + 0.01)


def check_masks(clip: UpstreamClip, warnings: list[str]) -> UpstreamClip:
    """The clip without the masks of people whose masks are empty, or lie outside their boxes, on all frames that are looked at; `warnings`
    takes a line for each. Boxes take their place."""
    wrong = set()
    for person in clip.camera_bodies:
        boxes = clip.tracks.boxes.get(person, {})
        frames = sorted(boxes.keys() & set(clip.cameras.frame_ids.tolist()))
        looked = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, _LOOKS).round().astype(int))] if frames else []
        masks = {frame: mask for frame in looked if (mask := clip.masks.read(person, frame)) is not None}
        if not masks:
            continue
        inside = [_share_inside(mask, boxes[frame], clip.cameras.image_size) for frame, mask in masks.items() if mask.any()]
        if not inside or max(inside) < _INSIDE:
            wrong.add(person)
            fault = f"lie outside their boxes (at most {max(inside):.0%} inside)" if inside else "are empty where there are boxes"
            warnings.append(
                f"{clip.camera_bodies[person].source}: the masks of person {person} {fault}, on {len(masks)} frames of {len(masks)}; boxes "
                "take their place; are they of this clip, and is the person's number its id?"
            )
    return replace(clip, masks=_Without(clip.masks, frozenset(wrong))) if wrong else clip


@dataclass(frozen=True)
class _Without:
    """Masks, but for those of some people."""

    masks: MaskSource
    people: frozenset[int]

    def decode(self, people: Iterable[int], frames: Iterable[int]) -> None:
        self.masks.decode(set(people) - self.people, frames)

    def read(self, person: int, frame: int) -> np.ndarray | None:
        return None if person in self.people else self.masks.read(person, frame)

    def close(self) -> None:
        self.masks.close()


def _share_inside(mask: np.ndarray, box: np.ndarray, image_size: tuple[int, int]) -> float:
    """Of a mask that is not empty, the share that lies in a box (4,) of corners."""
    (height, width), (across, down) = mask.shape, image_size
    x, y = (np.arange(width) + 0.5) * across / width, (np.arange(height) + 0.5) * down / height
    inside = mask[(y > box[1]) & (y < box[3])][:, (x > box[0]) & (x < box[2])]
    return float(np.count_nonzero(inside) / np.count_nonzero(mask))


def check_grid(clip: UpstreamClip, warnings: list[str]) -> UpstreamClip:
    """The clip without its depth maps, told in `warnings`, if they stand upright where the image lies, or the other way round.

    A grid of any other shape covers the image.
    """
    width, height = clip.cameras.image_size
    found = next((depth for frame in clip.cameras.frame_ids[:_LOOKS].tolist() if (depth := clip.depth.read(frame)) is not None), None)
    if found is None or (found[0].shape[1] - found[0].shape[0]) * (width - height) >= 0:
        return clip
    warnings.append(
        f"{clip.cameras.source}: the image has {width} x {height} pixels, the depth maps {found[0].shape[1]} x {found[0].shape[0]}, which "
        "are left aside; is one of them turned, or image_size [height, width]?"
    )
    return replace(clip, depth=NoPictures())


def _percent(error: float) -> str:
    return f"{100 * error:.1f} %" if np.isfinite(error) else "more than any"


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
