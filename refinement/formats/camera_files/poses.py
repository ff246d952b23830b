"""What every file of cameras is turned into: world to camera, OpenCV's axes, intrinsics of the clip's own image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pose_priors.body.pinhole import intrinsic_matrices
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.clip import DepthSource, NoPictures

Unit = Literal["free", "near", "metres", "none"]
"""Of the translations: one for the file that nobody knows; metres as far as a network can tell; metres; none at all, the steps are of
different units."""

_SAME_SHAPE = 0.02  # by which two images of one video differ in width over height


@dataclass(frozen=True)
class CameraFile:
    """Cameras as a program of its own found them.

    Attributes:
        tool: the program's name.
        source: file and key, for messages.
        frames: (k,) the video's frames that the poses are of, increasing.
        w2c: (k, 4, 4) float64 world to camera, OpenCV axes, translation in the file's unit.
        intrinsics: (k, 3, 3) in pixels of the clip's image; None where the file has none.
        unit: of the translations, and of depth.
        depth: by the numbers of `frames`, in the file's unit, on grids that cover the clip's image.
        counted: whether `frames` merely counts the poses, and the file does not say which frames they are of.
    """

    tool: str
    source: str
    frames: np.ndarray
    w2c: np.ndarray
    intrinsics: np.ndarray | None
    unit: Unit
    depth: DepthSource = field(default_factory=NoPictures)
    counted: bool = True


@dataclass(frozen=True)
class Renumbered:
    """Depth maps by the clip's frames.

    Attributes:
        source: by the file's.
        of: clip's frame -> file's frame.
    """

    source: DepthSource
    of: Mapping[int, int]

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        """As `DepthSource.read`."""
        return self.source.read(self.of[frame]) if frame in self.of else None

    def close(self) -> None:
        """The source's."""
        self.source.close()


def matrices(parameters: np.ndarray, source: str) -> np.ndarray:
    """(k, 3, 3) intrinsics of fx, fy, cx, cy (k, 4). Raises `UserError` if a focal length is not positive."""
    return checked_intrinsics(intrinsic_matrices(parameters), source)


def checked_intrinsics(intrinsics: np.ndarray, source: str) -> np.ndarray:
    """(k, 3, 3) as they are. Raises `UserError` if one is not finite, or no intrinsics."""
    focal = intrinsics[:, [0, 1], [0, 1]]
    if not np.isfinite(intrinsics).all() or (focal <= 0).any() or not np.allclose(intrinsics[:, 2], [0, 0, 1], atol=1e-4):
        raise UserError(f"{source}: {intrinsics[0].round(2).tolist()} are no intrinsics [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")
    return intrinsics


def of_image(intrinsics: np.ndarray, own: tuple[int, int], image_size: tuple[int, int], source: str) -> np.ndarray:
    """Intrinsics (k, 3, 3) of an image of the file's own width and height, for the clip's.

    Raises:
        UserError: if the two are not of one shape.
    """
    ratio = np.array(image_size, float) / np.array(own, float)
    if min(own) <= 0 or abs(np.log(ratio[0] / ratio[1])) > _SAME_SHAPE:
        raise UserError(
            f"{source}: is of an image of {own[0]} x {own[1]} pixels, and the clip's of {image_size[0]} x {image_size[1]}; is it of this "
            "video?"
        )
    found: np.ndarray = np.diag([*ratio, 1.0]) @ intrinsics
    return found
