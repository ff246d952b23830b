"""Which way is up, by a program that looks at the pictures: GeoCalib (Veicht et al., ECCV 2024) or any other.

A file holds `up`, unit vectors away from the ground: (3,) for the clip, or (N, 3), a row for each frame (or for those in `frame_ids`). They
are in the axes of each frame's OpenCV camera (x right, y down, z forward), so that a level camera has (0, -1, 0); a single one is in those
of the first camera. With `frame` = "world" they are in the world of stage 1. GeoCalib's `gravity.vec3d` is such a vector: it points up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.configs.base import UserError, listed
from pose_priors.datamodules.arrays import UNNAMED
from pose_priors.refinement.formats.cameras import CameraTrack
from pose_priors.refinement.formats.files import numbers
from pose_priors.refinement.formats.witnesses.beside import clip_rows, contents, the_file

_KNOWN = ("up", "frame", "frame_ids", UNNAMED)
_FRAMES = ("camera", "world")
_UNIT = 0.05  # by which the length of a unit vector may be off
_APART = 10.0  # degrees from the middle beyond which a frame is wrong about it
_REFITS = 5


@dataclass(frozen=True)
class Gravity:
    """Which way is up in the world.

    Attributes:
        up: (3,) unit vector.
        told: what it was read from and how well its frames agree, one line.
        doubt: why it may be wrong, one line; empty where its frames agree.
    """

    up: np.ndarray
    told: str
    doubt: str


def read_gravity(path: Path, cameras: CameraTrack, *, cut: bool) -> Gravity:
    """The direction that most frames of a file agree on.

    Args:
        path: a file of `.json`, `.npz`, `.npy`, ..., or the folder that holds it alone.
        cameras: of the clip, which carry the directions into the world.
        cut: whether these are the first ones of a clip that the file may know whole.
    Raises:
        UserError: if it holds no such vectors, or not as many as the clip has frames.
    """
    file = the_file(path)
    found = contents(file)
    if unknown := sorted(found.keys() - set(_KNOWN)):
        raise UserError(f"{file}: holds {listed(unknown)}; 'up' is expected, and perhaps 'frame' (camera, world) and 'frame_ids'")
    key = "up" if "up" in found else UNNAMED
    if key not in found:
        raise UserError(f"{file}: no 'up' in it, unit vectors (3,) or (N, 3) away from the ground")
    given = numbers(found[key], f"{file}: 'up'")
    if given.dtype == bool:
        raise UserError(f"{file}: 'up' holds truth values; unit vectors are expected")
    vectors = given.astype(float)
    alone = vectors.shape == (3,)
    if not alone and (vectors.ndim != 2 or vectors.shape[1] != 3 or not len(vectors)):
        raise UserError(f"{file}: 'up' has shape {vectors.shape}; (3,) for the clip or (N, 3), a row for each frame, is expected")
    in_world = _frame(found.get("frame", _FRAMES[0]), file) == _FRAMES[1]
    if alone and "frame_ids" in found:
        raise UserError(f"{file}: 'frame_ids' beside a single 'up', which is of the clip; (N, 3) is expected, a row for each of them")
    if alone:
        rows, at = np.zeros(1, int), np.zeros(1, int)
    else:
        rows, at = clip_rows(f"{file}: 'up'", len(vectors), found.get("frame_ids"), cameras.frame_ids, cut=cut)
    vectors = vectors.reshape(-1, 3)[rows]
    known = np.isfinite(vectors).all(1)
    vectors, at = vectors[known], at[known]
    if not len(vectors):
        raise UserError(f"{file}: 'up' is not finite on any frame of the clip")
    length = np.linalg.norm(vectors, axis=1)
    if (np.abs(length - 1) > _UNIT).any():
        worst = float(length[np.abs(length - 1).argmax()])
        raise UserError(f"{file}: 'up' holds a vector of length {worst:.3g}; unit vectors are expected")
    vectors = vectors / length[:, None]
    if not in_world:
        vectors = np.einsum("nij,ni->nj", cameras.w2c[at, :3, :3], vectors)
    up, off = _agreed(vectors)
    told = f"{file}: says which way is up" + ("" if alone else f", on {len(vectors)} frames that agree to {np.median(off):.1f} degrees")
    wrong = float((off > _APART).mean())
    doubt = f"{file}: {wrong:.0%} of its frames are more than {_APART:g} degrees from the direction of the others" if wrong >= 0.5 else ""
    return Gravity(up, told, doubt)


def _frame(given: Any, file: Path) -> str:
    text = str(given.reshape(-1)[0]) if isinstance(given, np.ndarray) and given.size == 1 else given
    if not isinstance(text, str) or text not in _FRAMES:
        shown = f"an array of shape {text.shape}" if isinstance(text, np.ndarray) else repr(text)
        raise UserError(f"{file}: 'frame' is {shown}; {' or '.join(_FRAMES)} is expected")
    return text


def _agreed(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean (3,) of the unit vectors (N, 3) that are near it, from the one that most are near, and how far off each is in degrees."""
    tried = vectors[:: max(1, len(vectors) // 200)]
    up = tried[(_degrees(tried @ vectors.T) < _APART).sum(1).argmax()]
    for _ in range(_REFITS):
        mean = vectors[_degrees(vectors @ up) < _APART].mean(0)
        up = mean / np.linalg.norm(mean)
    return up, _degrees(vectors @ up)


def _degrees(cosine: np.ndarray) -> np.ndarray:
    degrees: np.ndarray = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return degrees
