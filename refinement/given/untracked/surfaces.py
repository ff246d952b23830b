"""What a depth map shows that nobody's mask claims, and what it shows of a person and of others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_priors.body.pinhole import pixel_centres, to_camera, to_world, unproject
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.given.sampling import person_region
from pose_priors.refinement.given.start import scaled


@dataclass(frozen=True)
class Surfaces:
    """The points of one depth map, metric, in the world.

    Attributes:
        unclaimed: (N, 3) in no mask of anybody else.
        own: (N, 3) in the person's own mask; N is 0 where there is none.
        others: (N, 3) in masks, or boxes, of others.
    """

    unclaimed: np.ndarray
    own: np.ndarray
    others: np.ndarray


def surfaces(clip: UpstreamClip, person: int, others: tuple[int, ...], row: int, alpha: float) -> Surfaces | None:
    """What the depth map of a frame shows; None where there is none.

    Args:
        person: whose mask is their own.
        others: ids of everybody else.
        row: of the frame among the cameras.
        alpha: metric = alpha * stage 1.
    """
    cameras = clip.cameras
    frame = int(cameras.frame_ids[row])
    if (found := clip.depth.read(frame)) is None:
        return None
    depth = found[0]
    taken = np.zeros(depth.shape, bool)
    for other in others:
        taken |= person_region(clip, other, frame, depth.shape)
    mine = np.zeros(depth.shape, bool) if clip.masks.read(person, frame) is None else person_region(clip, person, frame, depth.shape)
    _, _, centres = pixel_centres(depth.shape, cameras.image_size)
    there = np.isfinite(depth).ravel()
    found_at = unproject(centres[there], alpha * depth.ravel()[there].astype(float), cameras.intrinsics[row])
    points = to_world(found_at, scaled(cameras.w2c, alpha)[row])
    claimed, own = taken.ravel()[there], mine.ravel()[there]
    return Surfaces(points[~claimed], points[own & ~claimed], points[claimed])


def depths(points: np.ndarray, clip: UpstreamClip, row: int, alpha: float) -> np.ndarray:
    """(N,) metres before a frame's camera."""
    found: np.ndarray = to_camera(points, scaled(clip.cameras.w2c, alpha)[row])[:, 2]
    return found
