"""The 77 joints of SOMA, NVIDIA's body, as GEM-X writes its poses, and bodies of SMPL-X that have them.

Joints turn about the world's axes at rest, as SMPL's do; at rest the body stands upright with its arms out to the sides, y up, facing +z.
Rest places are those of SOMA's neutral body (Apache-2.0), to a millimetre, the right side mirrored from the left; what identity and scale
coefficients make of them takes SOMA's own files, which are not read: people have the neutral proportions, times the size that a file says.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_priors.body.fitting.points import Fit
from pose_priors.datamodules.capture.recorded import Recorded, posed
from pose_priors.datamodules.capture.retarget import fitted
from pose_priors.datamodules.capture.skeletons import recognised

_FINGERS = ("Thumb", "Index", "Middle", "Ring", "Pinky")
_MIDDLE = ("Hips", "Spine1", "Spine2", "Chest", "Neck1", "Neck2", "Head", "HeadEnd", "Jaw", "LeftEye", "RightEye")
_HAND = tuple(f"Hand{finger}{part}" for finger in _FINGERS for part in ((*"123", "End") if finger == "Thumb" else (*"1234", "End")))
_ARM, _LEG = ("Shoulder", "Arm", "ForeArm", "Hand", *_HAND), ("Leg", "Shin", "Foot", "ToeBase", "ToeEnd")
NAMES: tuple[str, ...] = (*_MIDDLE, *(f"{side}{name}" for part in (_ARM, _LEG) for side in ("Left", "Right") for name in part))
"""In the files' order."""
_MIDDLE_MM = (
    (0, 0, 0),
    (0, 52, 3),
    (0, 122, 3),
    (0, 193, -5),
    (0, 451, -14),
    (0, 510, 3),
    (0, 561, 20),
    (0, 720, 4),
    (0, 566, 52),
    (32, 619, 97),
    (-32, 619, 97),
)
_ARM_MM = (
    (16, 415, 47),
    (177, 415, -12),
    (437, 415, -12),
    (687, 415, -12),
    (708, 402, 18),
    (747, 384, 34),
    (774, 384, 34),
    (805, 384, 34),
    (718, 410, 10),
    (782, 410, 12),
    (817, 410, 12),
    (839, 410, 12),
    (864, 409, 11),
    (718, 418, -2),
    (779, 415, -12),
    (821, 415, -12),
    (850, 415, -12),
    (872, 412, -13),
    (715, 415, -16),
    (773, 410, -29),
    (814, 410, -29),
    (840, 410, -29),
    (858, 411, -29),
    (715, 413, -29),
    (763, 400, -46),
    (794, 400, -46),
    (812, 400, -46),
    (831, 398, -45),
)
_LEG_MM = (
    (119, -90, 25),
    (119, -525, 25),
    (119, -942, 25),
    (119, -989, 150),
    (119, -1006, 213),
)


def _parent(name: str) -> str | None:
    """The name of a joint's parent."""
    side = next((side for side in ("Left", "Right") if name.startswith(side) and not name.endswith("Eye")), "")
    base = name.removeprefix(side)
    chains = {"": _MIDDLE[:8], "limbs": _ARM[:4], "legs": _LEG}
    if base in ("Jaw", "LeftEye", "RightEye"):
        return "Head"
    for chain in chains.values():
        if base in chain[1:]:
            return side + chain[chain.index(base) - 1]
    if base in _HAND:
        before = _HAND[_HAND.index(base) - 1] if not base.endswith("1") else "Hand"
        return side + before
    return {"Hips": None, "Shoulder": "Chest", "Leg": "Hips"}[base]


PARENTS: tuple[int, ...] = tuple(-1 if (parent := _parent(name)) is None else NAMES.index(parent) for name in NAMES)
"""-1 for the hips; parents come before their children."""
_MIRRORED = np.array([-1, 1, 1])
_LEFT = (np.array(_ARM_MM), np.array(_LEG_MM))
REST: np.ndarray = np.concatenate([np.array(_MIDDLE_MM), *(rows for left in _LEFT for rows in (left, left * _MIRRORED))]) / 1000
"""(77, 3) metres from the hips."""


def recorded(turns: np.ndarray, hips: np.ndarray, size: float, source: str) -> Recorded:
    """A person in any axes, where its joints are.

    Args:
        turns: (T, 77, 3) rotation vectors, the hips' first, each relative to its parent.
        hips: (T, 3) metres.
        size: what the neutral body is multiplied by.
        source: of messages.
    """
    offsets = np.tile(size * np.concatenate([REST[:1], REST[1:] - REST[list(PARENTS[1:])]]), (len(turns), 1, 1))
    offsets[:, 0] = hips
    matrices = Rotation.from_rotvec(turns.reshape(-1, 3)).as_matrix().reshape(*turns.shape[:2], 3, 3)
    places, whole = posed(PARENTS, offsets, matrices)
    return Recorded(source, NAMES, PARENTS, places, whole, None)


def on_smplx(person: Recorded) -> tuple[Fit, torch.Tensor]:
    """The body of SMPL-X that has a person's joints, 55 joints, hands too, in the same axes; and (T, K) metres by which those that both
    have are apart."""
    _, at = recognised(NAMES, person.source)
    found = fitted(person, at, 1.0, np.eye(3))
    return found.fit, found.off
