"""The built-in skeleton: the rest joints of an average adult, for use where no SMPL-X model file is at hand.

The numbers are our own, made from published anthropometry, and stand under this project's licence:

- Heights of the joints, and lengths of thigh, shank, upper arm, forearm, hand and foot as fractions of stature: Drillis & Contini, "Body
  Segment Parameters", New York University Technical Report 1166.03, 1966, as printed in Winter, "Biomechanics and Motor Control of Human
  Movement", 4th ed., 2009, fig. 4.1. Joint centres lie inside the breadths of that figure: the hips 0.10 of stature apart (Bell, Pedersen &
  Brand, J. Biomechanics 23, 1990), the shoulders 0.21.
- Metacarpals and phalanges: Buryanov & Kotiuk, "Proportions of Hand Segments", Int. J. Morphology 28(3), 2010, mean bone lengths, scaled
  so that the hand is as long as Drillis & Contini's.
- Interpupillary distance: Dodgson, "Variation and extrema of human interpupillary distance", Proc. SPIE 5291, 2004.

The spine's bend, the directions of the metacarpals and the places of collar, jaw and eyes are ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pose_priors.body.skeleton import JOINT_NAMES, MIRROR

STATURE = 1.70
"""Body height in metres that `rest_joints` assumes unless told otherwise."""

ANKLE_HEIGHT = 0.039
"""Height of the ankle joint above the sole, as a fraction of stature."""

BALL_HEIGHT = 0.010
"""Height of the ball of the foot above the sole, as a fraction of stature."""

HIP_HEIGHT = 0.530
"""Height of the hip joint above the sole, as a fraction of stature."""

_KNEE_HEIGHT, _PELVIS_HEIGHT, _SHOULDER_HEIGHT = 0.285, 0.570, 0.818
_UPPER_ARM, _FOREARM, _HAND, _FOOT = 0.186, 0.146, 0.108, 0.152
_INTERPUPILLARY_M = 0.063

# lateral, height above the sole and forward, as fractions of stature
_MIDLINE = {
    "pelvis": (0, _PELVIS_HEIGHT, 0),
    "spine1": (0, 0.625, -0.012),
    "spine2": (0, 0.695, -0.006),
    "spine3": (0, 0.740, -0.008),
    "neck": (0, 0.852, -0.022),
    "head": (0, 0.905, -0.006),
    "jaw": (0, 0.912, 0.006),
}
_LEFT = {
    "hip": (0.050, HIP_HEIGHT, 0),
    "knee": (0.050, _KNEE_HEIGHT, 0.002),
    "ankle": (0.050, ANKLE_HEIGHT, -0.010),
    # the ball of the foot: the ankle stands a quarter of the foot's length from the heel, the ball at 0.72 of it
    "foot": (0.056, BALL_HEIGHT, 0.47 * _FOOT - 0.010),
    "collar": (0.022, 0.800, -0.006),
    "shoulder": (0.105, _SHOULDER_HEIGHT, -0.016),
    "elbow": (0.105 + _UPPER_ARM, _SHOULDER_HEIGHT, -0.018),
    "wrist": (0.105 + _UPPER_ARM + _FOREARM, _SHOULDER_HEIGHT, -0.016),
}
_EYE_HEIGHT, _EYE_FORWARD = 0.936, 0.044

# metacarpal, proximal, middle and distal phalanx with the soft tissue of the tip, in mm; the thumb has no middle phalanx
_RAYS_MM = {
    "index": (68.12, 39.78, 22.38, 15.82 + 3.84),
    "middle": (64.60, 44.63, 26.33, 17.40 + 3.95),
    "ring": (58.00, 41.37, 25.65, 17.30 + 3.95),
    "pinky": (53.69, 32.74, 18.11, 15.96 + 3.73),
    "thumb": (46.22, 31.57, 21.67 + 5.67),
}
# The root of each ray from the wrist, as fractions of the hand's length, and the angles in degrees of the metacarpal and of the fingers
# from the forearm's axis, towards the thumb; palm down, the hand lies in the horizontal plane but for the thumb, which points below it.
_CARPUS = {"index": (0.14, 0.075), "middle": (0.147, 0.02), "ring": (0.145, -0.035), "pinky": (0.135, -0.08), "thumb": (0.10, 0.10)}
_SPREAD_DEG = {"index": (8, 5), "middle": (1, 0), "ring": (-7, -5), "pinky": (-14, -11), "thumb": (45, 38)}
_THUMB_BELOW_PALM_DEG = 22


def rest_joints(stature: float = STATURE) -> Tensor:
    """The 55 joints of the built-in skeleton in T-pose: arms along x, palms down, thumbs forward; symmetric about x = 0.

    Args:
        stature: body height in metres; all lengths are proportional to it.
    Returns:
        (55, 3) float64, in metres from the pelvis; x to the body's left, y up, z forward.
    """
    place = {name: torch.tensor(xyz, dtype=torch.float64) * stature for name, xyz in _MIDLINE.items()}
    place |= {f"left_{name}": torch.tensor(xyz, dtype=torch.float64) * stature for name, xyz in _LEFT.items()}
    eye = (_INTERPUPILLARY_M / 2 / STATURE, _EYE_HEIGHT, _EYE_FORWARD)
    place["left_eye_smplhf"] = torch.tensor(eye, dtype=torch.float64) * stature
    place |= {f"left_{name}": place["left_wrist"] + offset for name, offset in _hand(_HAND * stature).items()}

    joints = torch.zeros(len(JOINT_NAMES), 3, dtype=torch.float64)
    for index, name in enumerate(JOINT_NAMES):
        joints[index] = place[name] if name in place else place[JOINT_NAMES[MIRROR[index]]] * joints.new_tensor([-1, 1, 1])
    return joints - joints[0]


def _hand(length: float) -> dict[str, Tensor]:
    """The joints of a left hand of that length (wrist to tip of the middle finger, in metres), from the wrist."""
    scale = length * (1 - _CARPUS["middle"][0]) / sum(_RAYS_MM["middle"])
    joints: dict[str, Tensor] = {}
    for name, bones in _RAYS_MM.items():
        along, across = _CARPUS[name]
        point = torch.tensor([along, 0, across], dtype=torch.float64) * length
        metacarpal, finger = (_direction(deg, _THUMB_BELOW_PALM_DEG if name == "thumb" else 0) for deg in _SPREAD_DEG[name])
        # a finger's first joint is where its proximal phalanx begins, the thumb's where its metacarpal does; no joint ends the last bone
        chain = [point, point + bones[0] * scale * metacarpal]
        for bone in bones[1:-1]:
            chain.append(chain[-1] + bone * scale * finger)
        joints |= {f"{name}{i}": joint for i, joint in enumerate(chain if name == "thumb" else chain[1:], start=1)}
    return joints


def _direction(towards_thumb_deg: float, below_deg: float) -> Tensor:
    a, b = math.radians(towards_thumb_deg), math.radians(below_deg)
    return torch.tensor([math.cos(b) * math.cos(a), -math.sin(b), math.cos(b) * math.sin(a)], dtype=torch.float64)
