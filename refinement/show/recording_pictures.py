"""The pictures of a recording: images that lie beside a sequence, or depth maps in greys."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from pose_priors.configs.base import UserError
from pose_priors.datamodules.containers.regular import open_regular
from pose_priors.refinement.formats.files import numbered_files
from pose_priors.refinement.formats.pictures import MOST_PIXELS

_SUFFIXES, _FORMATS = (".jpg", ".jpeg", ".png", ".webp"), ("JPEG", "PNG", "WEBP")
_FOLDERS = ("images", "frames", "img")
_WIDTH = 640  # enough to recognise people, and a tenth of the bytes of a large photograph
_QUALITY = 80
_SHOWN_QUANTILES = 0.02, 0.98


def find_images(folder: Path | None, source: Path | None, clip: list[int]) -> dict[int, Path]:
    """The image of each frame, may be empty.

    Args:
        folder: images numbered as the frames, or as many as there are frames, in order; None for one named `images`, `frames` or `img`
            beside what was refined, if there is one.
        source: what was refined, a folder or a file, or None where it is not known.
        clip: the numbers of all frames.
    Raises:
        UserError: if there are no images in `folder`.
    """
    if folder is not None:
        found = numbered_files(folder, _SUFFIXES)
        if not found:
            raise UserError(f"{folder}: no numbered images ({', '.join(_SUFFIXES)}); a folder with one for each frame is expected")
    else:
        home = None if source is None else source if source.is_dir() else source.parent
        folders = () if home is None else (home / name for name in _FOLDERS)
        found = next(filter(None, (numbered_files(folder, _SUFFIXES) for folder in folders)), {})
    # as many as frames: the first is of the first frame, whatever number it was given
    return dict(zip(clip, (found[n] for n in sorted(found)), strict=True)) if len(found) == len(clip) else found


def read_picture(path: Path | None, width: int = _WIDTH) -> np.ndarray | None:
    """(h, w, 3) uint8, no wider than `width`; None where there is none that can be read, which costs this picture only."""
    if path is None:
        return None
    try:
        with open_regular(path) as stream, Image.open(stream, formats=_FORMATS) as file:
            if file.width * file.height > MOST_PIXELS:
                return None
            image: Image.Image = file
            if image.width > width:
                image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.BOX)
            return np.asarray(image.convert("RGB"))
    except (UserError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def shown_depths(depth: np.ndarray) -> tuple[float, float]:
    """The nearest and the farthest depth of a map (h, w) that `greys` tells apart, without stray values."""
    known = depth[np.isfinite(depth)]
    return tuple(np.quantile(known, _SHOWN_QUANTILES).tolist()) if len(known) else (0.0, 1.0)


def greys(depth: np.ndarray, shown: tuple[float, float]) -> np.ndarray:
    """A depth map (h, w) as a picture (h, w, 3): near is light, far and unknown is dark."""
    near, far = shown
    light = (far - depth) / max(far - near, 1e-6)
    return np.repeat((np.nan_to_num(light).clip(0, 1) * 255).astype(np.uint8)[..., None], 3, -1)


def encoded(picture: np.ndarray) -> bytes:
    """A picture (h, w, 3) as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
