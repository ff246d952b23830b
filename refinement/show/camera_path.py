"""Where the pictures of a result were taken from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pose_priors.body.pinhole import to_world
from pose_priors.refinement.formats.cameras import CameraTrack
from pose_priors.refinement.result.people import RefinedPerson


@dataclass(frozen=True)
class CameraPath:
    """Where the picture was taken from, on the frames on which anybody is there.

    Attributes:
        frames: (n,) frame numbers, strictly increasing.
        T_world_camera: (n, 4, 4) camera to world, OpenCV axes, metres, at the refined scale.
        intrinsics: (n, 3, 3) in pixels of the full image.
        image_size: width and height in pixels.
    """

    frames: np.ndarray
    T_world_camera: np.ndarray
    intrinsics: np.ndarray
    image_size: tuple[int, int]


def cameras_of(people: Sequence[RefinedPerson], image_size: tuple[int, int] | None) -> CameraPath:
    """From the files of the people, which are metric; several people say the same of a frame. An image of unknown size is taken to
    lie evenly round its principal point."""
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for person in people:
        found |= zip(person.track.frames.tolist(), zip(person.w2c, person.intrinsics, strict=True), strict=True)
    frames = sorted(found)
    w2c, intrinsics = (np.stack(part) for part in zip(*(found[frame] for frame in frames), strict=True))
    width, height = np.rint(2 * intrinsics[0, :2, 2]).astype(int).tolist()
    return CameraPath(np.array(frames), _to_world(w2c), intrinsics, image_size or (width, height))


def cameras_at_scale(cameras: CameraTrack, alpha: float) -> CameraPath:
    """The cameras of an input, whose unit is alpha metres."""
    pose = _to_world(cameras.w2c)
    pose[:, :3, 3] *= alpha
    return CameraPath(cameras.frame_ids, pose, cameras.intrinsics, cameras.image_size)


def _to_world(w2c: np.ndarray) -> np.ndarray:
    """(n, 4, 4) camera to world."""
    pose = np.tile(np.eye(4), (len(w2c), 1, 1))
    pose[:, :3, :3] = w2c[:, :3, :3].transpose(0, 2, 1)
    pose[:, :3, 3] = to_world(np.zeros((len(w2c), 1, 3)), w2c)[:, 0]
    return pose
