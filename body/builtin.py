"""The built-in skeleton: the rest joints of an average adult, for use where no SMPL-X model file is at hand.

Joints stand where SMPL-X has them on average, as near as can be said without its model file, so that a pose means the same here and there.
Not all of it was found without SMPL-X: several proportions, chosen within what the sources below leave open, were tuned until the joints
came near a published table of SMPL-X's mean joints (to half a centimetre, left and right averaged; it stands in `tests/body/test_model.py`,
which allows 1.5 cm on average and 3 cm at most). That they agree with this table is no evidence for the sources. Those are:

- Pelvis, legs, lower spine and forearms: the mean joints of SMPL, as the Apache-licensed ProtoMotions states them
  (`smpl_humanoid.xml`; Loper et al., "SMPL", SIGGRAPH Asia 2015), left and right averaged. Hips and ankles are moved by up to a
  centimetre towards where radiographs have them (Bell, Pedersen & Brand, J. Biomechanics 23, 1990).
- Neck and head: SMPL-X has the neck, unlike SMPL, at the height of the breast bone's notch (0.82 of stature), and the head a little below
  the ears' (0.915); heights after Drillis & Contini, "Body Segment Parameters", New York University Technical Report 1166.03, 1966, and
  Gordon et al., "2012 Anthropometric Survey of U.S. Army Personnel", NATICK/TR-15/007, 2014. So are the heights of eyes and ankles, and
  the lengths of hand and foot.
- Shoulder girdle: the shoulders 0.18 of stature apart, between the acromia of Gordon et al. less what the deltoids are thick; arms sink a
  little in the rest pose, as SMPL-X's do.
- Metacarpals and phalanges: Buryanov & Kotiuk, "Proportions of Hand Segments", Int. J. Morphology 28(3), 2010, mean bone lengths, scaled
  so that the hand is as long as Drillis & Contini's.
- Interpupillary distance: Dodgson, "Variation and extrema of human interpupillary distance", Proc. SPIE 5291, 2004.

Licences: nothing was copied from SMPL's or SMPL-X's files, which may not be used commercially without a licence, and none was opened. The
table that it was tuned towards is known from an Apache-licensed package that was calibrated by SMPL-X's model, so how near the joints come
to SMPL-X's is owed to that model at second hand; whether its licence reaches so far, nobody has said. Who must be free of it for certain
puts proportions of their own in `rest_joints`' place.

`pose-priors body --compare MODEL` measures how far all this is from a model file of the user's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pose_priors.body.skeleton import FINGERS, JOINT_NAMES, MIRROR

STATURE = 1.70
"""Body height in metres that `rest_joints` assumes unless told otherwise."""

ANKLE_HEIGHT = 0.039
"""Height of the ankle joint above the sole, as a fraction of stature."""

BALL_HEIGHT = 0.010
"""Height of the ball of the foot above the sole, as a fraction of stature."""

HIP_HEIGHT = 0.497
"""Height of the hip joint above the sole, as a fraction of stature."""

_HAND = 0.108
_INTERPUPILLARY_M = 0.063

# Each joint from the one that carries it: to the left, up and forward, in metres of the mean adult.
_BONES_M = {
    "left_hip": ("pelvis", 0.067, -0.095, -0.014),
    "left_knee": ("left_hip", 0.043, -0.375, -0.008),
    "left_ankle": ("left_knee", -0.022, -0.404, -0.032),
    "spine1": ("pelvis", 0.0, 0.109, -0.027),
    "spine2": ("spine1", 0.0, 0.132, -0.002),
    "spine3": ("spine2", 0.0, 0.052, 0.027),
    "neck": ("spine3", 0.0, 0.165, -0.030),
    "head": ("neck", 0.0, 0.158, 0.020),
    "left_collar": ("spine3", 0.047, 0.087, -0.015),
    "left_shoulder": ("left_collar", 0.108, 0.055, -0.014),
    "left_elbow": ("left_shoulder", 0.258, -0.038, -0.028),
    "left_wrist": ("left_elbow", 0.250, 0.009, -0.006),
}
# the ball of the foot: the ankle stands a quarter of the foot's length from the heel, the ball at 0.72 of it
_BALL_ASIDE_M, _BALL_BEFORE_ANKLE = 0.034, 0.47 * 0.152
_JAW_FROM_HEAD_M, _EYE_HEIGHT, _EYE_FROM_HEAD_M = (0.0, 0.012, 0.020), 0.936, 0.085

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
    """The 55 joints of the built-in skeleton in SMPL-X's rest pose: arms along x and a little down, palms down, thumbs forward; symmetric
    about x = 0.

    Args:
        stature: body height in metres; all lengths are proportional to it.
    Returns:
        (55, 3) float64, in metres from the pelvis; x to the body's left, y up, z forward.
    """
    size = stature / STATURE
    place = {"pelvis": torch.zeros(3, dtype=torch.float64)}
    for name, (carrier, *bone) in _BONES_M.items():
        place[name] = place[carrier] + size * torch.tensor(bone, dtype=torch.float64)
    ankle, head = place["left_ankle"], place["head"]
    drop = (BALL_HEIGHT - ANKLE_HEIGHT) * stature
    place["left_foot"] = ankle + ankle.new_tensor([size * _BALL_ASIDE_M, drop, _BALL_BEFORE_ANKLE * stature])
    place["jaw"] = head + size * head.new_tensor(_JAW_FROM_HEAD_M)
    eye_height = ankle[1] + (_EYE_HEIGHT - ANKLE_HEIGHT) * stature
    place["left_eye_smplhf"] = torch.stack([head.new_tensor(size * _INTERPUPILLARY_M / 2), eye_height, head[2] + size * _EYE_FROM_HEAD_M])
    place |= {f"left_{name}": place["left_wrist"] + offset for name, offset in _hand(_HAND * stature)[0].items()}

    joints = torch.zeros(len(JOINT_NAMES), 3, dtype=torch.float64)
    for index, name in enumerate(JOINT_NAMES):
        joints[index] = place[name] if name in place else place[JOINT_NAMES[MIRROR[index]]] * joints.new_tensor([-1, 1, 1])
    return joints


def rest_fingertips(stature: float = STATURE) -> Tensor:
    """The ten fingertips of the built-in skeleton in its rest pose, which its joints leave out: of the left hand, then of the right; each
    index, middle, pinky, ring, thumb, as the joints are.

    Returns:
        (10, 3) float64, in metres from the pelvis; the last joint of its finger carries each.
    """
    tips = _hand(_HAND * stature)[1]
    wrist = rest_joints(stature)[JOINT_NAMES.index("left_wrist")]
    left = torch.stack([wrist + tips[finger] for finger in FINGERS])
    return torch.cat([left, left * left.new_tensor([-1, 1, 1])])


def _hand(length: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The joints, and by finger the tips, of a left hand of that length (wrist to tip of the middle finger, in metres), from the wrist."""
    scale = length * (1 - _CARPUS["middle"][0]) / sum(_RAYS_MM["middle"])
    joints, tips = dict[str, Tensor](), dict[str, Tensor]()
    for name, bones in _RAYS_MM.items():
        along, across = _CARPUS[name]
        point = torch.tensor([along, 0, across], dtype=torch.float64) * length
        metacarpal, finger = (_direction(deg, _THUMB_BELOW_PALM_DEG if name == "thumb" else 0) for deg in _SPREAD_DEG[name])
        # a finger's first joint is where its proximal phalanx begins, the thumb's where its metacarpal does; no joint ends the last bone
        chain = [point, point + bones[0] * scale * metacarpal]
        for bone in bones[1:-1]:
            chain.append(chain[-1] + bone * scale * finger)
        tips[name] = chain[-1] + bones[-1] * scale * finger
        joints |= {f"{name}{i}": joint for i, joint in enumerate(chain if name == "thumb" else chain[1:], start=1)}
    return joints, tips


def _direction(towards_thumb_deg: float, below_deg: float) -> Tensor:
    a, b = math.radians(towards_thumb_deg), math.radians(below_deg)
    return torch.tensor([math.cos(b) * math.cos(a), -math.sin(b), math.cos(b) * math.sin(a)], dtype=torch.float64)
