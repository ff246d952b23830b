"""How far each joint can turn: bounds on the components of its rotation vector, and by how much a pose exceeds them.

Clinical ranges of motion are from the American Academy of Orthopaedic Surgeons, "Joint Motion: Method of Measuring and Recording",
1965, and Norkin & White, "Measurement of Joint Motion", 4th ed., 2009; the eyes' from Guitton & Volle, J. Neurophysiology 58(3), 1987; the
tibia's axial rotation from Almquist et al., Clinical Biomechanics 17, 2002; the thumb's from Barakat, Field & Taylor, Hand 8, 2013.

A component of a rotation vector is the clinical angle only for rotations about one axis, so the bounds are those of a box around the
clinical range: where a joint turns about several axes at once (hip, shoulder, wrist) the box is that of the combined rotations, and hinges
have room about their other axes, because the axes of SMPL-X are not the anatomical ones. A clinical range shared by several joints of
SMPL-X (spine, neck, shoulder girdle, forearm) is divided among them, with overlap. To stay in the box is necessary for a possible pose,
not sufficient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.body.skeleton import JOINT_NAMES, MIRROR

# Lower and upper bound in degrees about x, y, z, for joints of the middle and of the left side.
# Left side: hip -x flexion, +z abduction, +y external rotation; knee +x flexion; ankle +x plantar flexion, -z inversion; shoulder +z
# elevation from T-pose, -y forward; elbow -y flexion, +x pronation; wrist -z flexion, -y radial deviation; fingers -z flexion.
_BOUNDS_DEG: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "pelvis": ((-180, 180), (-180, 180), (-180, 180)),  # which way the body faces knows no limit
    "spine1": ((-25, 60), (-25, 25), (-30, 30)),
    "spine2": ((-25, 45), (-25, 25), (-25, 25)),
    "spine3": ((-20, 35), (-30, 30), (-25, 25)),
    "neck": ((-40, 40), (-50, 50), (-30, 30)),
    "head": ((-40, 40), (-50, 50), (-30, 30)),
    "jaw": ((-5, 35), (-15, 15), (-10, 10)),
    "left_eye_smplhf": ((-45, 45), (-50, 50), (-10, 10)),
    "left_hip": ((-130, 35), (-60, 60), (-50, 65)),
    "left_knee": ((-10, 150), (-40, 40), (-25, 25)),
    "left_ankle": ((-45, 55), (-30, 30), (-35, 30)),
    "left_foot": ((-75, 45), (-20, 20), (-20, 20)),
    "left_collar": ((-30, 30), (-50, 30), (-45, 45)),
    "left_shoulder": ((-105, 95), (-120, 60), (-105, 95)),
    "left_elbow": ((-90, 90), (-150, 15), (-75, 75)),
    "left_wrist": ((-95, 90), (-50, 50), (-85, 80)),
    "left_thumb1": ((-70, 70), (-60, 60), (-60, 60)),
    "left_thumb2": ((-55, 55), (-65, 65), (-55, 55)),
    "left_thumb3": ((-50, 60), (-80, 80), (-50, 60)),
}
_KNUCKLE = ((-20, 20), (-30, 30), (-100, 45))
_PROXIMAL = ((-15, 15), (-15, 15), (-115, 15))
_DISTAL = ((-15, 15), (-15, 15), (-90, 20))
for _finger in ("index", "middle", "ring", "pinky"):
    for _i, _bounds in enumerate((_KNUCKLE, _PROXIMAL, _DISTAL), start=1):
        _BOUNDS_DEG[f"left_{_finger}{_i}"] = _bounds


def _limits() -> Tensor:
    bounds = torch.empty(len(JOINT_NAMES), 3, 2, dtype=torch.float64)
    for index, name in enumerate(JOINT_NAMES):
        if name in _BOUNDS_DEG:
            bounds[index] = torch.tensor(_BOUNDS_DEG[name], dtype=torch.float64)
        else:  # the right side is the left in a mirror: rotations about y and z change their sign, and so lower and upper their places
            left = torch.tensor(_BOUNDS_DEG[JOINT_NAMES[MIRROR[index]]], dtype=torch.float64)
            bounds[index] = torch.stack([left[0], -left[1].flip(0), -left[2].flip(0)])
    return bounds.deg2rad()


JOINT_LIMITS: Tensor = _limits()
"""(55, 3, 2) float64: for each joint and component of its rotation vector the lower and the upper bound, in radians."""


def limit_violations(pose: Tensor) -> Tensor:
    """How far each joint is outside its bounds.

    Args:
        pose: (*batch, 55, 3) canonical rotation vectors in radians, joints in SMPL-X order.
    Returns:
        (*batch, 55) in radians: the distance from the joint's rotation vector to the box `JOINT_LIMITS`; 0 inside.
    """
    lower, upper = JOINT_LIMITS.to(pose).unbind(-1)
    outside: Tensor = torch.linalg.vector_norm((lower - pose).clamp_min(0) + (pose - upper).clamp_min(0), dim=-1)
    return outside
