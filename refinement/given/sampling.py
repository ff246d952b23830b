"""What the depth maps say: the depth at each joint inside its person's mask, and points of the scene outside all masks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pose_priors.body.pinhole import pixel_centres, to_world, unproject
from pose_priors.refinement.formats.clip import UpstreamClip

_WINDOW = 0.004  # half the sampling window, as a share of the image's width: 5 px of 1280, a third of a wrist at 5 m
_SCENE_GRID = 24  # points of the scene across the image's width, on each frame
_KEEP_AFTER_EROSION = 0.5
_MIN_SHARE = 0.3  # of a sampling window, with depth inside the mask


@dataclass(frozen=True)
class DepthSamples:
    """What the depth maps say.

    Attributes:
        depth: (P, T, J) z-depth in stage 1's unit; 0 where there is none.
        confidence: (P, T, J) in [0, 1]: the share of the window with depth inside the mask, times the depth's own weight there.
        scene: (M, 3) points outside all masks, in the stage 1 world and unit.
    """

    depth: np.ndarray
    confidence: np.ndarray
    scene: np.ndarray


def sample_depth(
    clip: UpstreamClip, people: tuple[int, ...], pixels: np.ndarray, seen: np.ndarray, bystanders: Collection[int] = ()
) -> DepthSamples:
    """Reads every depth map and mask once.

    Args:
        people: P ids.
        pixels: (P, T, J, 2) where each joint is seen; nan where it is behind the camera.
        seen: (P, T) bool.
        bystanders: ids of others, who are no part of the scene either.
    """
    depth, confidence = np.zeros(pixels.shape[:-1]), np.zeros(pixels.shape[:-1])
    scene = []
    cameras = clip.cameras
    for t, frame in enumerate(cameras.frame_ids.tolist()):
        if (found := clip.depth.read(frame)) is None:
            continue
        values, weight = found
        occupied = np.zeros(values.shape, bool)
        for person in bystanders:
            occupied |= person_region(clip, person, frame, values.shape)
        for p, person in enumerate(people):
            if not seen[p, t]:
                continue
            mask = person_region(clip, person, frame, values.shape)
            occupied |= mask
            inner = _eroded(mask) & np.isfinite(values)
            depth[p, t], confidence[p, t] = _at_pixels(values, weight, inner, pixels[p, t], cameras.image_size)
        scene.append(_scene_points(values, occupied, cameras.intrinsics[t], cameras.w2c[t], cameras.image_size))
    clip.depth.close()
    clip.masks.close()
    return DepthSamples(depth, confidence, np.concatenate(scene) if scene else np.zeros((0, 3)))


def person_region(clip: UpstreamClip, person: int, frame: int, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) bool on a grid over the image: the person's mask, or the box where there is no mask; empty where there is neither."""
    mask = clip.masks.read(person, frame)
    if mask is not None:
        return mask if mask.shape == shape else mask[_cells(shape, mask.shape)]
    region = np.zeros(shape, bool)
    box = clip.tracks.boxes.get(person, {}).get(frame)
    if box is not None:
        scale = np.array([shape[1], shape[0]] * 2) / np.array([*clip.cameras.image_size] * 2)
        x0, y0, x1, y1 = np.rint(box * scale).astype(int).clip(0)
        region[y0:y1, x0:x1] = True
    return region


@lru_cache(maxsize=4)  # masks of a clip have mostly one shape, as its depth maps do
def _cells(shape: tuple[int, int], whole: tuple[int, int]) -> tuple[slice, slice] | tuple[np.ndarray, ...]:
    """The cells of a grid (h, w) over an image, in another one: every so many of them where they are, which need not be copied."""
    rows, columns = (((np.arange(n) + 0.5) / n * size).astype(int) for n, size in zip(shape, whole, strict=True))
    if all(len(line) > 1 and np.ptp(np.diff(line)) == 0 and line[1] > line[0] for line in (rows, columns)):
        return slice(rows[0], rows[-1] + 1, rows[1] - rows[0]), slice(columns[0], columns[-1] + 1, columns[1] - columns[0])
    return np.ix_(rows, columns)


def _eroded(mask: np.ndarray) -> np.ndarray:
    """Without its rim, where depth maps mix person and background, unless little would be left."""
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    return inner if np.count_nonzero(inner) >= _KEEP_AFTER_EROSION * np.count_nonzero(mask) else mask


def _at_pixels(
    values: np.ndarray, weight: np.ndarray, inside: np.ndarray, pixels: np.ndarray, image_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Median depth and confidence (J,) in a small window round each pixel (J, 2)."""
    height, width = values.shape
    reach = max(1, round(_WINDOW * width))
    cell = np.floor(np.nan_to_num(pixels, nan=-1e6) * [width / image_size[0], height / image_size[1]]).astype(int)
    step = np.arange(-reach, reach + 1)
    rows, columns = cell[:, 1, None, None] + step[:, None], cell[:, 0, None, None] + step
    there = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    there &= inside[rows, columns]
    count = there.sum((1, 2))
    picked = np.where(there, values[rows, columns], np.inf).reshape(len(pixels), -1)
    picked.sort(1)
    # the lower of the two middle values where their number is even: the near side of the window is the person
    median = picked[np.arange(len(pixels)), np.maximum(count - 1, 0) // 2]
    share = count / there[0].size
    trust = np.where(there, weight[rows, columns], 0).sum((1, 2)) / np.maximum(count, 1)
    good = share >= _MIN_SHARE
    return np.where(good, median, 0.0), np.where(good, share * trust, 0.0)


def _scene_points(
    values: np.ndarray, occupied: np.ndarray, intrinsics: np.ndarray, w2c: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    rows, columns, centres = pixel_centres(values.shape, image_size, max(1, values.shape[1] // (_SCENE_GRID * 2)))
    depth = values[rows, columns]
    keep = np.isfinite(depth) & ~occupied[rows, columns]
    return to_world(unproject(centres[keep], depth[keep].astype(float), intrinsics), w2c)
