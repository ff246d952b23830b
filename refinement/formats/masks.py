"""Person masks of stage 2, read one at a time: `.png` or `.npy`, person and frame in the name in either order, any grid."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from pose_priors.datamodules.containers.regular import one_line, open_regular
from pose_priors.refinement.formats.files import listed, read_array

_MOST_PIXELS = 1 << 27
_NAMES = (
    re.compile(r"frame_(?P<frame>[0-9]{1,18})_person_(?P<person>[0-9]{1,18})"),
    re.compile(r"person_(?P<person>[0-9]{1,18})_frame_(?P<frame>[0-9]{1,18})"),
)


class Masks:
    """The masks below a stage 2 folder, by person and frame."""

    def __init__(self, stage2_dir: Path, warnings: list[str]) -> None:
        self._folder = stage2_dir / "masks"
        self._files: dict[tuple[int, int], Path] = {}
        self._unread: dict[str, None] = {}  # in order, each once however often it is asked for
        self._warnings = warnings
        for path in sorted(self._folder.iterdir()) if self._folder.is_dir() else []:
            match = next((m for name in _NAMES if (m := name.fullmatch(path.stem))), None)
            if match and path.suffix in (".png", ".npy"):
                self._files[int(match["person"]), int(match["frame"])] = path
        if not self._files:
            warnings.append(f"{self._folder}: no masks named frame_<t>_person_<id> or person_<id>_frame_<t>; boxes take their place")

    def read(self, person: int, frame: int) -> np.ndarray | None:
        """(h, w) bool, true on the person; None where there is no readable mask."""
        path = self._files.get((person, frame))
        if path is None:
            return None
        try:
            mask = read_array(path).squeeze() if path.suffix == ".npy" else _picture(path)
        except Exception as error:  # whatever a damaged picture makes the decoder raise, it costs this mask only
            self._unread[f"{path} ({one_line(error)})"] = None
            return None
        if mask.ndim != 2:
            self._unread[f"{path} (shape {mask.shape})"] = None
            return None
        # smoothed rims are half on the person; numbers of people are small and on them wholly
        return mask > (127 if mask.dtype == np.uint8 and mask.max(initial=0) > 127 else 0)

    def close(self) -> None:
        """Says which masks could not be read."""
        if self._unread:
            self._warnings.append(f"{len(self._unread)} masks could not be read: {listed([*self._unread], 2)}")
            self._unread = {}


def _picture(path: Path) -> np.ndarray:
    """The brightness of a PNG (h, w) uint8, or where its palette's first colour is not; raises what the decoder raises."""
    with open_regular(path) as stream, Image.open(stream, formats=("PNG",)) as image:
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels; at most {_MOST_PIXELS:,} are read")
        # of a picture with a palette, as DAVIS and SAM 2 write them, the index says who it is and the colour nothing
        return np.asarray(image) > 0 if image.mode == "P" else np.asarray(image.convert("L"))
