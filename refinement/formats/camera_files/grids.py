"""How programs shrink and cut an image before they look at it, undone: intrinsics of the whole image, depth on a grid that covers it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.clip import DepthSource

_SLAM_AREA, _SLAM_STEP = 384 * 512, 8
_PATCH, _SQUARE = 14, 518


@dataclass(frozen=True)
class Grid:
    """A grid that an image was shrunk to and cut, or padded, to: `grid pixel = scale * image pixel - offset`.

    Attributes:
        size: width and height of the grid.
        scale: (2,) in x and y.
        offset: (2,) grid pixels that were cut off at the left and at the top; negative where it was padded.
        whole: width and height of the whole image, in grid pixels.
    """

    size: tuple[int, int]
    scale: np.ndarray
    offset: np.ndarray
    whole: tuple[int, int]

    def intrinsics(self, intrinsics: np.ndarray) -> np.ndarray:
        """(k, 3, 3) of the image, of those of the grid."""
        moved = intrinsics.copy()
        moved[:, :2, 2] += self.offset
        found: np.ndarray = np.diag([*(1 / self.scale), 1.0]) @ moved
        return found

    def covering(self, values: np.ndarray, fill: float) -> np.ndarray:
        """Values (h, w) of the grid on one that covers the image, `fill` where the image was cut off."""
        out = np.full(self.whole[::-1], fill, values.dtype)
        left, top = np.rint(self.offset).astype(int)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + values.shape[1], self.whole[0]), min(top + values.shape[0], self.whole[1])
        if x1 > x0 and y1 > y0:
            out[y0:y1, x0:x1] = values[y0 - top : y1 - top, x0 - left : x1 - left]
        return out


@dataclass(frozen=True)
class OnImage:
    """Depth maps of a grid, on the whole image."""

    source: DepthSource
    grid: Grid

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        """As `DepthSource.read`; nothing is known where the image was cut off, and on a map of another size than the grid's."""
        found = self.source.read(frame)
        if found is None or found[0].shape != self.grid.size[::-1]:
            return None
        return self.grid.covering(found[0], np.nan), self.grid.covering(found[1], 0.0)

    def close(self) -> None:
        """The source's."""
        self.source.close()


def slam_grid(image_size: tuple[int, int], size: tuple[int, int], source: str) -> Grid:
    """DROID-SLAM's and MegaSaM's: as many pixels as 512 x 384 has, cut at the right and at the bottom to a multiple of 8.

    Args:
        image_size: of the clip; size: of the file's images, both width and height.
    Raises:
        UserError: if such an image is not shrunk to such a grid.
    """
    whole = np.array([int(side * np.sqrt(_SLAM_AREA / (image_size[0] * image_size[1]))) for side in image_size])
    if not np.array_equal(whole - whole % _SLAM_STEP, size):
        raise _another(image_size, size, source)
    return Grid(size, whole / np.array(image_size), np.zeros(2), (int(whole[0]), int(whole[1])))


def vggt_grid(image_size: tuple[int, int], size: tuple[int, int], source: str) -> Grid:
    """VGGT's: 518 pixels wide and cut to a height of 518 from the middle, or padded to a square of 518. Raises as `slam_grid`."""
    width, height = image_size
    cropped = (_SQUARE, round(height * (_SQUARE / width) / _PATCH) * _PATCH)
    padded = cropped if width >= height else (round(width * (_SQUARE / height) / _PATCH) * _PATCH, _SQUARE)
    if size == (_SQUARE, min(cropped[1], _SQUARE)):
        whole, offset = cropped, (0, max(cropped[1] - _SQUARE, 0) // 2)
    elif size == (_SQUARE, _SQUARE):
        whole, offset = padded, (-((_SQUARE - padded[0]) // 2), -((_SQUARE - padded[1]) // 2))
    else:
        raise _another(image_size, size, source)
    return Grid(size, np.array(whole) / np.array(image_size), np.array(offset, float), whole)


def _another(image_size: tuple[int, int], size: tuple[int, int], source: str) -> UserError:
    return UserError(
        f"{source}: has images of {size[0]} x {size[1]} pixels, to which the clip's {image_size[0]} x {image_size[1]} are not brought; is "
        "it of this video, and of this size of it?"
    )
