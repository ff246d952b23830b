"""PNG files of numbers: depth maps and masks."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from pose_priors.datamodules.containers.regular import open_regular

MOST_PIXELS = 1 << 27
"""Of a picture that is decoded."""


def read_png(path: Path) -> np.ndarray:
    """The values of a PNG (h, w): bits, or brightness of 8 or 16 bits; where there is a palette the index, uint16 as it is no brightness.

    Raises `ValueError` if it is none, and what the decoder raises.
    """
    with open_regular(path) as stream, _opened(stream) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels; at most {MOST_PIXELS:,} are read")
        # of a picture with a palette, as DAVIS and SAM 2 write them, the index says who it is and the colour nothing
        if image.mode == "P":
            return np.asarray(image).astype(np.uint16)
        return np.asarray(image if image.mode in ("1", "L") or image.mode.startswith("I") else image.convert("L"))


def _opened(stream: IO[bytes]) -> Image.Image:
    try:
        return Image.open(stream, formats=("PNG",))
    except UnidentifiedImageError as error:  # which names the stream and not the file
        raise ValueError("no picture in PNG") from error
