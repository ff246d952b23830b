"""What a clip of a person can be: how fast people move, how many frames a second there are, in which unit positions are, and which numbers
are rotations and places at all."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pose_priors.body.motion_state import FPS
from pose_priors.body.skeleton import index_of
from pose_priors.configs.base import UserError

MIN_FPS, MAX_FPS = 1.0, 1000.0
"""Frames a second that a file may state; beyond, it is no frame rate."""

MAX_ANGLE = 1000.0
"""Radians; of a rotation vector that is one. Joints do not turn 160 times, and single precision, in which files are kept, tells angles
there apart by 6e-5 rad; of one of 1e8 rad it does not know the turn that is left over."""
_TWICE_AROUND = 4 * np.pi  # no joint but the root does; as degrees, 12.6, it is less than nearly every pose has somewhere

MAX_COORDINATE = 1e7
"""Of a place, in whatever unit a file has: ten kilometres in millimetres."""
MAX_DISTANCE = 1e4
"""Metres from the origin; there single precision tells places apart by a millimetre."""

MAX_SPEED = 12.5
"""Metres a second; the fastest that anybody has run (Bolt, 2009, 12.4 m/s: Graubner & Nixdorf, New Studies in Athletics 26, 2011)."""
# A person may fall, jump or be thrown in some frames; a share that is faster than this is the file's mistake.
_SHARE = 0.9

UNITS = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001}
"""Metres in each unit that files of the field have translations in."""
_FEET = [index_of("left_foot"), index_of("right_foot")]
_MOVED_M = 0.0005  # in a frame: below, noise is as large as movement
# two feet that move at random by as much as the pelvis have a misfit of 0.54
_FITS, _FITS_NOT = 0.45, 0.8
_MIN_FRAMES = 10


def are_turns(rotvec: np.ndarray) -> np.ndarray:
    """Which rotation vectors (..., 3) are finite and no longer than `MAX_ANGLE`: (...) bool."""
    with np.errstate(over="ignore", invalid="ignore"):
        wide = np.asarray(rotvec, float)
        found: np.ndarray = np.einsum("...i,...i->...", wide, wide) <= MAX_ANGLE**2
    return found


def refuse_degrees(rotvec: np.ndarray, source: str) -> None:
    """Raises `UserError` if joints turn as far as they do in degrees: in most poses one of them further than twice around.

    Args:
        rotvec: (N, J, 3) in radians, it is hoped, without the root, which may go around and around; not finite where nothing is known.
        source: what is said to hold them.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        angles = np.sqrt(np.einsum("...i,...i->...", np.asarray(rotvec, float), rotvec, dtype=float))
    widest = angles[(angles <= MAX_ANGLE).all(-1)].max(-1, initial=0.0)
    wide = widest > _TWICE_AROUND
    if 2 * wide.sum() > len(wide):
        raise UserError(
            f"{source}: in {wide.sum()} of {len(wide)} poses a joint turns by more than {_TWICE_AROUND:.1f} radians, up to "
            f"{widest.max():.1f}; radians are expected, are these degrees?"
        )


def are_places(points: np.ndarray) -> np.ndarray:
    """Which points (..., 3) are finite and nearer than `MAX_COORDINATE`: (...) bool."""
    with np.errstate(invalid="ignore"):
        found: np.ndarray = (np.abs(points) < MAX_COORDINATE).all(-1)
    return found


def is_too_fast(pelvis: Tensor) -> bool:
    """Whether a pelvis (T, 3) in metres at 30 frames a second moves faster than people do, in more than a tenth of its frames."""
    if len(pelvis) < 2:
        return False
    speed = torch.linalg.vector_norm(torch.diff(pelvis, dim=0), dim=-1) * FPS
    return not bool(speed.quantile(_SHARE) <= MAX_SPEED)  # not a number is too fast


def find_unit(joints: Tensor, pelvis: Tensor) -> str:
    """In which of `UNITS` a pelvis moves, told by its feet: while one of them is planted, the pelvis moves as far as that foot moves back
    beneath it, which joint angles and bone lengths give in metres.

    Args:
        joints: (T, 22, 3) metres from the pelvis, in the axes of the world.
        pelvis: (T, 3) in the unknown unit.
    Returns:
        metres, unless feet are planted in another unit and in metres are not.
    """
    back = -torch.diff(joints[:, _FEET], dim=0)
    moved = torch.diff(pelvis, dim=0)[:, None]
    clear = torch.linalg.vector_norm(back, dim=-1).amax(1) > _MOVED_M
    if clear.sum() < _MIN_FRAMES:
        return "metres"

    def misfit(metres: float) -> float:
        """0 where one foot is planted, 1 where nothing fits; in the median of the frames on which the feet move."""
        size = torch.linalg.vector_norm(back, dim=-1) + torch.linalg.vector_norm(moved * metres, dim=-1)
        slid = torch.linalg.vector_norm(back - moved * metres, dim=-1) / size.clamp_min(1e-12)
        return float(slid.amin(1)[clear].median())

    misfits = {unit: misfit(metres) for unit, metres in UNITS.items()}
    best = min(misfits, key=lambda unit: misfits[unit])
    return best if misfits[best] < _FITS and misfits["metres"] > _FITS_NOT else "metres"
