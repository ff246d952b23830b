"""PNG files of numbers: depth maps and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pose_priors.datamodules.containers.regular import open_regular

MOST_PIXELS = 1 << 27
"""Of a picture that is decoded."""


def read_png(path: Path) -> np.ndarray:
    """The values of a PNG (h, w): bits, or brightness of 8 or 16 bits; where there is a palette the index, uint16 as it is no brightness.

    Raises what the decoder raises.
    """
    with open_regular(path) as stream, Image.open(stream, formats=("PNG",)) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels; at most {MOST_PIXELS:,} are read")
        # of a picture with a palette, as DAVIS and SAM 2 write them, the index says who it is and the colour nothing
        if image.mode == "P":
            return np.asarray(image).astype(np.uint16)
        return np.asarray(image if image.mode in ("1", "L") or image.mode.startswith("I") else image.convert("L"))
