"""The cameras of a refined clip, in the world that exports stand in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose_priors.refinement.export.people import upright
from pose_priors.refinement.result.people import read_person


@dataclass(frozen=True)
class Views:
    """Where pictures were taken from, on the frames on which anybody is there.

    Attributes:
        frames: (n,) frame numbers, strictly increasing.
        w2c: (n, 4, 4) world (z up, metres) to camera (OpenCV axes).
        intrinsics: (n, 3, 3) in pixels of the full image.
        image_size: width and height in pixels, as if the first principal point were the middle: results do not say it.
    """

    frames: np.ndarray
    w2c: np.ndarray
    intrinsics: np.ndarray
    image_size: tuple[int, int]


def read_views(folder: Path, people: Sequence[int]) -> Views:
    """The cameras of a folder of stage 5, from the files of its people, who say the same of a frame. Raises `UserError` if they lack it."""
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for person in (read_person(folder, person) for person in people):
        turn, shift = upright(person.ground_plane)
        w2c = person.w2c.copy()
        w2c[:, :3, :3] = person.w2c[:, :3, :3] @ turn.T
        w2c[:, :3, 3] -= w2c[:, :3, :3] @ shift
        found |= zip(person.track.frames.tolist(), zip(w2c, person.intrinsics, strict=True), strict=True)
    frames = sorted(found)
    w2c, intrinsics = (np.stack(part) for part in zip(*(found[frame] for frame in frames), strict=True))
    width, height = np.rint(2 * intrinsics[0, :2, 2]).astype(int).tolist()
    return Views(np.array(frames), w2c, intrinsics, (width, height))
