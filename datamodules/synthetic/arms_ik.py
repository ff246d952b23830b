"""Arms that bring the wrists to places in the world, exactly: the shoulder girdle takes its part, two-link inverse kinematics the rest."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import PARENTS, index_of
from pose_priors.datamodules.synthetic.legs_ik import BODY_JOINTS, LEGS, stretched
from pose_priors.datamodules.synthetic.timing import ramp

_TRUNK = index_of("spine3")
_ARMS = [[index_of(f"{side}_{joint}") for joint in ("collar", "shoulder", "elbow", "wrist")] for side in ("left", "right")]
ARM_JOINTS = sorted(joint for arm in _ARMS for joint in arm)
"""From the collars to the wrists."""
_MIRROR = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
# where elbows point, in the trunk's frame, of a left side (outwards, up, forward), and of arms that hang besides
_ELBOW_TOWARDS, _ELBOW_HANGING = (0.8, -0.9, -0.3), (-0.45, 0.2, -0.6)
_REACH = 0.996  # of the longest that an arm gets
_SHARPNESS, _FOLDING = 64, 16  # how sharply places out of reach, and too near, are told from others
_FOLDED_DEG = 140.0  # elbows are bent hardly further
# the girdle, in degrees: how it rises with the arm's elevation (as in `body`), and comes forward with it
_SHRUG, _SHRUG_AT, _SHRUG_WIDTH, _AT_REST, _PROTRACTION = 32.0, 95.0, 45.0, 5.0, 12.0


def shoulders(pose: Tensor, stature: float) -> Tensor:
    """(n, 2, 3) where the shoulders are, from the pelvis in metres, when the girdle is at rest."""
    rest = rest_joints(stature)[:BODY_JOINTS]
    joints, rotations = forward_kinematics(pose, rest, PARENTS[:BODY_JOINTS])
    return torch.stack([joints[:, c] + (rotations[:, _TRUNK] @ (rest[s] - rest[c])[:, None])[..., 0] for c, s, _, _ in _ARMS], 1)


def from_shoulders(pose: Tensor, stature: float, offset: Tensor) -> Tensor:
    """(n, 2, 3) places from the pelvis that are given from the shoulders in the trunk's frame, both as for a left side, in metres."""
    _, rotations = forward_kinematics(pose, rest_joints(stature)[:BODY_JOINTS], PARENTS[:BODY_JOINTS])
    own = offset * torch.stack([torch.ones_like(_MIRROR), _MIRROR])
    return shoulders(pose, stature) + (rotations[:, None, _TRUNK] @ own[..., None])[..., 0]


def arm_length(stature: float) -> float:
    """From shoulder to wrist in metres, as far as `wrists_to` stretches the arm."""
    rest = rest_joints(stature)
    _, shoulder, elbow, wrist = _ARMS[0]
    return _REACH * float(stretched(rest[elbow] - rest[shoulder], rest[wrist] - rest[elbow], 1))


def thighs(pose: Tensor, stature: float, from_knee: float) -> Tensor:
    """(n, 2, 3) where wrists are that rest on the thighs, so far on the way from knee to hip, from the pelvis in metres."""
    joints, _ = forward_kinematics(pose, rest_joints(stature)[:BODY_JOINTS], PARENTS[:BODY_JOINTS])
    above = joints.new_tensor([[0.01, 0.05, 0.0], [-0.01, 0.05, 0.0]]) * stature
    return torch.stack([joints[:, knee] + from_knee * (joints[:, hip] - joints[:, knee]) for hip, knee, _, _ in LEGS], 1) + above


def wrists_to(pose: Tensor, stature: float, wrist: Tensor, supination: Tensor) -> Tensor:
    """The pose with collars, shoulders and elbows changed so that the wrists are at given places.

    Args:
        pose: (n, 22, 3) whose trunk is as it shall be.
        stature: metres.
        wrist: (n, 2, 3) from the pelvis in metres; what is out of reach is drawn in along the line from the shoulder.
        supination: (n, 2) degrees by which the forearm turns the palm up; half of it is the wrist's.
    """
    rest = rest_joints(stature)[:BODY_JOINTS]
    joints, rotations = forward_kinematics(pose, rest, PARENTS[:BODY_JOINTS])
    trunk = rotations[:, _TRUNK]
    girdle_at_rest = shoulders(pose, stature)
    collar, shoulder, elbow, hand = _ARMS[0]
    clavicle, upper, fore = (rest[b] - rest[a] for a, b in ((collar, shoulder), (shoulder, elbow), (elbow, hand)))
    out = pose.clone()
    for side, (collar, shoulder, elbow, _) in enumerate(_ARMS):
        # both sides are solved as left ones, in the frame of the trunk
        mirror = _MIRROR if side else torch.ones_like(_MIRROR)
        towards = mirror * _inverse(trunk, wrist[:, side] - girdle_at_rest[:, side])
        girdle = _girdle(towards)
        target = mirror * _inverse(trunk, wrist[:, side] - joints[:, collar]) - _applied(girdle, clavicle)
        arm, bend = _two_links(_inverse(girdle, target), upper, fore, _inverse(girdle, _elbow_towards(target)))
        twist = torch.zeros_like(target)
        twist[:, 0] = -supination[:, side].deg2rad() / 2
        forearm = bend @ conversions.rotvec_to_rotmat(twist)
        back = mirror * mirror.prod()  # of a rotation vector in a mirror
        for joint, rotation in ((collar, girdle), (shoulder, arm), (elbow, forearm)):
            out[:, joint] = back * conversions.rotmat_to_rotvec(rotation)
    return out


def _inverse(rotation: Tensor, vector: Tensor) -> Tensor:
    return (rotation.transpose(-1, -2) @ vector[..., None])[..., 0]


def _applied(rotation: Tensor, vector: Tensor) -> Tensor:
    return (rotation @ vector[..., None])[..., 0]


def _girdle(towards: Tensor) -> Tensor:
    """The collar's rotations (n, 3, 3) for an arm towards a place (n, 3) in the trunk's frame."""
    unit = torch.nn.functional.normalize(towards, dim=-1)
    elevation = torch.rad2deg(torch.atan2(torch.hypot(unit[:, 0], unit[:, 2]), -unit[:, 1]))
    shrug = _SHRUG * torch.special.ndtr((elevation - _SHRUG_AT) / _SHRUG_WIDTH) - _AT_REST
    collar: Tensor = conversions.rotvec_to_rotmat(torch.stack([torch.zeros_like(shrug), -_PROTRACTION * unit[:, 2], shrug], -1).deg2rad())
    return collar


def _elbow_towards(target: Tensor) -> Tensor:
    """(n, 3) where the elbow points; no such field is smooth everywhere, and this one breaks above the other shoulder."""
    down = -torch.nn.functional.normalize(target, dim=-1)[:, 1:2]
    return target.new_tensor(_ELBOW_TOWARDS) + ramp(down, -0.3, 1.0) * target.new_tensor(_ELBOW_HANGING)


def _two_links(target: Tensor, upper: Tensor, fore: Tensor, elbow_towards: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations (n, 3, 3) of a left shoulder and of its elbow, which bends about -y, that bring the wrist to a target (n, 3)."""
    reach = _REACH * stretched(upper, fore, 1)
    length = target.norm(dim=-1)
    folded = (upper.square().sum() + fore.square().sum() + 2 * upper.norm() * fore.norm() * math.cos(math.radians(_FOLDED_DEG))).sqrt()
    span = (length**_FOLDING + folded**_FOLDING) ** (1 / _FOLDING)
    span = span / (1 + (span / reach) ** _SHARPNESS) ** (1 / _SHARPNESS)
    # upper . (turn about y of fore) = cosine * cos + sine * sin + along sets how long the arm is
    cosine, sine = upper[0] * fore[0] + upper[2] * fore[2], upper[0] * fore[2] - upper[2] * fore[0]
    wanted = (span.square() - upper.square().sum() - fore.square().sum()) / 2 - upper[1] * fore[1]
    turn = torch.zeros_like(target)
    turn[:, 1] = torch.atan2(sine, cosine) - torch.acos((wanted / torch.hypot(cosine, sine)).clamp(-1, 1))
    bend = conversions.rotvec_to_rotmat(turn)
    hinge = target.new_tensor([0.0, 1.0, 0.0]).expand_as(target)
    own = _frame(upper + _applied(bend, fore), hinge)
    return _frame(target, torch.linalg.cross(target, elbow_towards)) @ own.transpose(-1, -2), bend


def _frame(along: Tensor, beside: Tensor) -> Tensor:
    """Rotations (n, 3, 3) whose first column is along one vector, the second in the plane of both."""
    x = torch.nn.functional.normalize(along, dim=-1)
    y = torch.nn.functional.normalize(beside - (beside * x).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def hanging(pose: Tensor, stature: float, yaw: Tensor) -> Tensor:
    """(n, 2, 3) where the wrists of arms are that hang, a little bent and before the hips, from the pelvis in metres.

    Args:
        yaw: (n,) where the body points, in radians.
    """
    length = arm_length(stature)
    drop = torch.tensor([[0.09, -0.965, 0.10], [-0.09, -0.965, 0.10]], dtype=torch.float64) * length
    zero = torch.zeros_like(yaw)
    turn: Tensor = conversions.rotvec_to_rotmat(torch.stack([zero, yaw, zero], -1))
    return shoulders(pose, stature) + (turn[:, None] @ drop[..., None])[..., 0]
