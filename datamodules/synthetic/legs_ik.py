"""Feet that stand: where the feet carry the pelvis, where they stand meanwhile, and the legs that reach down to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.builtin import ANKLE_HEIGHT, BALL_HEIGHT, rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import PARENTS, index_of

BODY_JOINTS = 22
LEGS = [[index_of(f"{side}_{joint}") for joint in ("hip", "knee", "ankle", "foot")] for side in ("left", "right")]
_LIFT_M = 0.01
_SMOOTH_S = 0.06
_HEEL_BEHIND = 0.038  # of the stature: a quarter of the foot's length (Winter, 2009)
_KNEE_FOLLOWS = 0.6  # of what the foot is turned against the leg, how much the thigh turns with it
_STRAIGHT = 0.9965  # of the longest that a leg gets: legs are not stretched further, since there the knee's speed has no bound
_FADE_M = 0.025


@dataclass(frozen=True)
class Feet:
    """Where both feet are over time, left first.

    Attributes:
        ball: (n, 2, 3) the balls in metres, y up, the floor at y = 0.
        yaw: (n, 2) where the feet point, in radians from z to the left.
        pitch: (n, 2) by how much the heels are raised, in radians; negative with the toes up.
    """

    ball: Tensor
    yaw: Tensor
    pitch: Tensor


def carried(ball: np.ndarray, load: np.ndarray, fps: float) -> np.ndarray:
    """The path of a pelvis that the feet carry in turn: it goes forward as far as these move back beneath it.

    Args:
        ball: (n, 2, 3) balls from the pelvis in metres.
        load: (n, 2) the share of the weight that each foot carries.
    Returns:
        (n, 3) metres; the height is that of the pelvis above the balls.
    """
    load, width = load[..., None], _SMOOTH_S * fps
    pelvis = np.cumsum(gaussian_filter1d(-(load * np.gradient(ball, axis=0)).sum(1), width, axis=0), 0)
    pelvis[:, 1] = -gaussian_filter1d((load * ball).sum(1)[:, 1], width)
    return pelvis


def settling(track: np.ndarray, planted: np.ndarray, fixed: tuple[float, ...]) -> np.ndarray:
    """What holds quantities of a foot still in each of its stances, and runs on smoothly from one to the next.

    Args:
        track: (n, k) quantities over time.
        planted: (n,) when the foot stands.
        fixed: (k,) the values that they have in stances; where not a number, the mean over each stance.
    Returns:
        (n, k) to be added.
    """
    shift = np.zeros_like(track)
    rows = np.flatnonzero(planted)
    for stance in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
        shift[stance] = np.where(np.isnan(fixed), track[stance].mean(0), fixed) - track[stance]
    added: np.ndarray = CubicSpline(rows, shift[rows])(np.arange(len(track)).clip(rows[0], rows[-1]))
    return added


def shift_to_stances(ball: np.ndarray, planted: np.ndarray, height: float) -> np.ndarray:
    """(n, 3) what brings the ball of a foot (n, 3) to one place of the floor in each stance (n,), and smoothly from one to the next."""
    shift = settling(ball, planted, (np.nan, height, np.nan))
    # a swinging foot clears the floor: below the height of a stance it is lifted, smoothly, and hardly changed elsewhere
    clearance = ball[:, 1] + shift[:, 1] - height
    shift[:, 1] += (np.hypot(clearance, _LIFT_M) - _LIFT_M - clearance) / 2
    return shift


def reached(pose: Tensor, joints: Tensor, rotations: Tensor, rest: Tensor, leg: list[int], shift: Tensor) -> Tensor:
    """The pose with one leg's hip, knee and ankle changed so that the ankle is shifted (n, 3) and the foot has its direction.

    Args:
        pose: (n, 22, 3) rotation vectors.
        joints: (n, 22, 3) of that pose, from the pelvis.
        rotations: (n, 22, 3, 3) relative to the world: the thigh's is changed as little as possible, the foot's is kept.
        rest: (22, 3).
        leg: of `LEGS`.
        shift: (n, 3) metres.
    """
    hip, knee, ankle, _ = leg
    thigh, shank = rest[knee] - rest[hip], rest[ankle] - rest[knee]
    target = joints[:, ankle] + shift - joints[:, hip]
    bend = conversions.rotvec_to_rotmat(pose[:, knee])
    below = (bend @ shank[:, None])[..., 0]
    # thigh . (turn about x of below) = cosine * cos + sine * sin + along sets how long the leg is
    cosine = thigh[1] * below[:, 1] + thigh[2] * below[:, 2]
    sine = thigh[2] * below[:, 1] - thigh[1] * below[:, 2]
    along = thigh[0] * below[:, 0]
    wanted = (target.square().sum(-1) - thigh.square().sum() - below.square().sum(-1)) / 2
    size = torch.hypot(cosine, sine)
    straight = torch.atan2(sine, cosine)
    # knees bend backwards only, which is a turn by more than the straight leg's
    turn = torch.zeros_like(pose[:, knee])
    turn[:, 0] = straight + torch.acos(((wanted - along) / size).clamp(-1, 1))
    bend = conversions.rotvec_to_rotmat(turn) @ bend

    upper = rotations[:, hip]
    reached = (upper @ (thigh + (bend @ shank[:, None])[..., 0])[..., None])[..., 0]
    axis = torch.linalg.cross(reached, target)
    angle = torch.atan2(axis.norm(dim=-1), (reached * target).sum(-1))
    swing = torch.nn.functional.normalize(axis, dim=-1) * angle[:, None]
    upper = conversions.rotvec_to_rotmat(swing) @ upper
    lower = upper @ bend
    out = pose.clone()
    for joint, local in (
        (hip, rotations[:, 0].transpose(1, 2) @ upper),
        (knee, bend),
        (ankle, lower.transpose(1, 2) @ rotations[:, ankle]),
    ):
        out[:, joint] = conversions.rotmat_to_rotvec(local)
    return out


def stretched(upper: Tensor, lower: Tensor, hinge: int) -> Tensor:
    """The greatest length () of two bones (3,) in a row of which the lower turns about one axis of the upper's."""
    across = torch.ones_like(upper)
    across[hinge] = 0
    inner = (across * upper).norm() * (across * lower).norm() + upper[hinge] * lower[hinge]
    length: Tensor = (upper.square().sum() + lower.square().sum() + 2 * inner).sqrt()
    return length


def foot_angles(rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Yaw and pitch, as in `Feet`, of feet with rotations (..., 3, 3) relative to the world."""
    # from the foot's lateral axis, which tells where it points even when its toes alone touch the floor
    yaw = torch.atan2(-rotation[..., 2, 0], rotation[..., 0, 0])
    return yaw, torch.atan2(-rotation[..., 1, 2], rotation[..., 1, 1])


def foot_rotations(yaw: Tensor, pitch: Tensor) -> Tensor:
    """Rotations (..., 3, 3) relative to the world of feet with yaw and pitch (...) as in `Feet`, which do not roll."""
    zero = torch.zeros_like(yaw)
    turn, raise_ = torch.stack([zero, yaw, zero], -1), torch.stack([pitch, zero, zero], -1)
    rotation: Tensor = conversions.rotvec_to_rotmat(turn) @ conversions.rotvec_to_rotmat(raise_)
    return rotation


def heel_height(feet: Feet, stature: float) -> Tensor:
    """(n, 2) how high the soles of the heels are, in metres."""
    rest = rest_joints(stature)
    rotation = foot_rotations(feet.yaw, feet.pitch)
    heel = torch.stack([rest[ankle] - rest[ball] for _, _, ankle, ball in LEGS])
    heel = heel - heel.new_tensor([0, ANKLE_HEIGHT, _HEEL_BEHIND]) * stature
    return feet.ball[..., 1] + (rotation @ heel[..., None])[..., 1, 0]


def on_feet(pose: Tensor, pelvis: Tensor, stature: float, feet: Feet, fps: float) -> tuple[Tensor, Tensor]:
    """Legs that reach from the pelvis to the feet; toes stay level while their ball is on the floor.

    Args:
        pose: (n, 22, 3) whose legs are about right.
        pelvis: (n, 3) metres; where legs would be too short it is lowered, smoothly.
        stature: metres.
        feet: where they shall be.
    Returns:
        pose and pelvis.
    """
    rest = rest_joints(stature)[:BODY_JOINTS]
    joints, rotations = forward_kinematics(pose, rest, PARENTS[:BODY_JOINTS])
    rotations = rotations.clone()
    wanted = foot_rotations(feet.yaw, feet.pitch)
    ankles = []
    for side, (hip, _, ankle, ball) in enumerate(LEGS):
        astray = feet.yaw[:, side] - foot_angles(rotations[:, ankle])[0]
        astray = torch.atan2(torch.sin(astray), torch.cos(astray))
        follow = foot_rotations(_KNEE_FOLLOWS * astray, torch.zeros_like(astray))
        rotations[:, hip] = follow @ rotations[:, hip]
        rotations[:, ankle] = wanted[:, side]
        ankles.append(feet.ball[:, side] - (wanted[:, side] @ (rest[ball] - rest[ankle])[:, None])[..., 0])

    pelvis = pelvis.clone()
    pelvis[:, 1] -= _too_high(pelvis, joints, rest, ankles, fps)
    for side, leg in enumerate(LEGS):
        pose = reached(pose, joints, rotations, rest, leg, ankles[side] - pelvis - joints[:, leg[2]])
        level = torch.exp(-((feet.ball[:, side, 1] - BALL_HEIGHT * stature) / _FADE_M).square())
        pose[:, leg[3], 0] = (1 - level) * pose[:, leg[3], 0] - level * feet.pitch[:, side]
    return pose, pelvis


def _too_high(pelvis: Tensor, joints: Tensor, rest: Tensor, ankles: list[Tensor], fps: float) -> Tensor:
    """(n,) by how much the pelvis is lowered, smoothly, for both legs to reach."""
    excess = []
    for (hip, knee, ankle, _), place in zip(LEGS, ankles, strict=True):
        reach = _STRAIGHT * stretched(rest[knee] - rest[hip], rest[ankle] - rest[knee], 0)
        down = pelvis + joints[:, hip] - place
        excess.append(down[:, 1] - (reach.square() - down[:, [0, 2]].square().sum(-1)).clamp_min(0).sqrt())
    need = torch.maximum(*excess).clamp_min(0).numpy()
    width = _SMOOTH_S * fps
    return torch.from_numpy(gaussian_filter1d(maximum_filter1d(need, 2 * round(2 * width) + 1), width, truncate=2))
