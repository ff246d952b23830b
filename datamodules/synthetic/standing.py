"""People who stand: where their feet are, the pelvis above them, and how they sway."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pose_priors.body.builtin import ANKLE_HEIGHT, BALL_HEIGHT, rest_joints
from pose_priors.body.skeleton import index_of
from pose_priors.datamodules.synthetic.draw import DrawOnce
from pose_priors.datamodules.synthetic.legs_ik import BODY_JOINTS, LEGS, Feet, foot_rotations
from pose_priors.datamodules.synthetic.timing import wander

_TO_STANCE = 0.35  # how far the pelvis goes from between the feet to the one that stands
_FORWARD = 0.02  # of the stature: by how much the pelvis is before the ankles
# half the distance of the feet and by how much one is before the other, of the stature; how far the toes point out
_HALF_WIDTH, _STAGGER, _TOES_OUT_RAD = (0.045, 0.095), 0.012, (0.0, math.radians(20))
# standard deviation and time scale of the pelvis in standing (as of the centre of pressure: Winter, "Human balance and posture control
# during standing and walking", Gait & Posture 3, 1995), and of the joints of trunk and arms
_SWAY_M, _SWAY_S = (0.004, 0.0008, 0.005), 0.45
_UNREST_DEG, _UNREST_S = 0.7, 0.3
_UPPER = [index_of(name) for name in ("spine1", "spine2", "spine3", "neck", "head")]


def standing_feet(draw: DrawOnce, stature: float, apart: float) -> Feet:
    """Feet flat on the floor, the middle between the ankles about at (0, 0), the body looking along z; width and toes are drawn.

    Args:
        apart: by what their usual distance is multiplied.
    """
    half_width, out = apart * draw.between(*_HALF_WIDTH), draw.between(*_TOES_OUT_RAD)
    sign = half_width.new_tensor([1.0, -1.0])
    yaw = sign * (out[:, None] + draw.normal(2, std=math.radians(2)))
    zero = torch.zeros_like(yaw)
    ankle = torch.stack([sign * half_width[:, None], zero, sign * draw.normal(1, std=_STAGGER)], -1) * stature
    rest = rest_joints(stature)
    forward = torch.stack([rest[ball] - rest[ankle_] for _, _, ankle_, ball in LEGS])
    ball = ankle + (foot_rotations(yaw, zero) @ forward[..., None])[..., 0]
    ball[..., 1] = BALL_HEIGHT * stature
    return Feet(ball, yaw, zero)


def over_feet(feet: Feet, load: Tensor, yaw: Tensor, stature: float, lowered: float) -> Tensor:
    """Where the pelvis of someone is who stands upright, a little towards the foot that carries.

    Args:
        feet: n instants.
        load: (n, 2) the share of the weight that each foot carries.
        yaw: (n,) where the pelvis points, in radians.
        lowered: by how much it is below that of straight legs, in metres.
    Returns:
        (n, 3) metres.
    """
    rest = rest_joints(stature)
    back = torch.stack([rest[ankle] - rest[ball] for _, _, ankle, ball in LEGS])
    ankle = feet.ball + (foot_rotations(feet.yaw, torch.zeros_like(feet.yaw)) @ back[..., None])[..., 0]
    middle = ankle.mean(1)
    pelvis = middle + _TO_STANCE * ((load[..., None] * ankle).sum(1) - middle)
    pelvis = pelvis + _FORWARD * stature * torch.stack([torch.sin(yaw), torch.zeros_like(yaw), torch.cos(yaw)], -1)
    pelvis[:, 1] = ANKLE_HEIGHT * stature - rest[LEGS[0][2], 1] - lowered
    return pelvis


def leg_lengths(stature: float) -> tuple[float, float]:
    """Of thigh and shank, from joint to joint, in metres."""
    rest = rest_joints(stature)
    hip, knee, ankle, _ = LEGS[0]
    return float((rest[knee] - rest[hip]).norm()), float((rest[ankle] - rest[knee]).norm())


def sway(generator: torch.Generator, num_frames: int, fps: float) -> tuple[Tensor, Tensor]:
    """What nobody who lives can hold still: (n, 22, 3) rotation vectors to be added to the pose, (n, 3) metres to the pelvis."""
    pose = torch.zeros(num_frames, BODY_JOINTS, 3, dtype=torch.float64)
    pose[:, _UPPER] = math.radians(_UNREST_DEG) * wander(generator, num_frames, _UNREST_S * fps, len(_UPPER), 3)
    pelvis = pose.new_tensor(_SWAY_M) * wander(generator, num_frames, _SWAY_S * fps, 3)
    return pose, pelvis
