"""Walking people over time: the gait of `gait` along a curved path, each foot planted where it stands.

The pelvis is carried by the feet in turn, as far as these move back beneath it; what slides then is taken out by inverse kinematics of the
legs: while a foot carries, its ball stays at one place of the floor, and between two stances the correction runs on smoothly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import roma
import torch
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from body.builtin import BALL_HEIGHT, rest_joints
from body.model import forward_kinematics
from body.skeleton import PARENTS, index_of
from datamodules.synthetic.arms import arms_at, wrists
from datamodules.synthetic.body import joined
from datamodules.synthetic.draw import DrawOnce
from datamodules.synthetic.legs import stride_at
from datamodules.synthetic.poses import within_limits

_NUM_JOINTS = 22
_LEGS = [[index_of(f"{side}_{joint}") for joint in ("hip", "knee", "ankle", "foot")] for side in ("left", "right")]
# share of the cycle since the foot's contact in which its ball stands on the floor, and in which it takes weight
_PLANTED, _LOADED = (0.08, 0.58), (0.04, 0.62)
_SMOOTH_S = 0.06
_SOFT_KNEES = 0.015  # of the stature: how much lower the pelvis is carried than on legs as straight as the curves have them
_LIFT_M = 0.01
_LOOKING_ABOUT = 0.4
# of gesturing hands: how far the wrist goes in metres (lateral, up, forward), and how often in a second
_GESTURE_M, _GESTURE_HZ = (0.05, 0.09, 0.06), (0.55, 0.8, 0.65)


@dataclass(frozen=True)
class Motion:
    """One person over time, y up, the floor at y = 0.

    Attributes:
        pose: (T, 22, 3) float64 rotation vectors of the body's joints in radians, the root's relative to the world.
        pelvis: (T, 3) metres.
    """

    pose: Tensor
    pelvis: Tensor


def walk(num_frames: int, fps: float, cycle_s: float, turn_deg: float, stature: float, gesturing: bool, seed: int) -> Motion:
    """A person who walks on an arc, from (0, 0) on, at first in the direction of z.

    Args:
        num_frames: T.
        cycle_s: seconds that a cycle of two steps takes.
        turn_deg: by how much the heading turns to the left in all.
        stature: metres.
        gesturing: whether both hands talk in front of the chest, instead of swinging.
        seed: of stride, posture, arm swing and the instant of the cycle.
    """
    margin = math.ceil(fps * cycle_s)  # splines through stances need one before and one after
    at = torch.arange(-margin, num_frames + margin, dtype=torch.float64)
    draw = DrawOnce(len(at), torch.Generator().manual_seed(seed))
    phase = draw.uniform() + at / (fps * cycle_s)
    legs, arms = stride_at(draw, phase, torch.zeros_like(at))
    if gesturing:
        wrist = wrists(draw, "gesture", legs.pelvis_tilt + legs.spine_flexion)
        turns = at[:, None, None] / fps * at.new_tensor(_GESTURE_HZ) + draw.uniform(2, 3)
        arms = arms_at(draw, "gesture", wrist + at.new_tensor(_GESTURE_M) * torch.sin(2 * math.pi * turns))
    pose = within_limits(joined(draw, legs, arms, _LOOKING_ABOUT * draw.normal(2, std=20)).pose)
    heading = torch.zeros(len(at), 3, dtype=torch.float64)
    heading[:, 1] = math.radians(turn_deg) * at / num_frames
    pose = torch.cat([roma.rotvec_composition([heading, pose[:, 0]])[:, None], pose[:, 1:]], 1)

    rest = rest_joints(stature)[:_NUM_JOINTS]
    pelvis, pose = _planted(pose, rest, phase, fps, stature)
    keep = slice(margin, margin + num_frames)
    start = pelvis[margin] * pelvis.new_tensor([1.0, 0.0, 1.0])
    return Motion(pose[keep], pelvis[keep] - start)


def _planted(pose: Tensor, rest: Tensor, phase: Tensor, fps: float, stature: float) -> tuple[Tensor, Tensor]:
    """The pelvis (n, 3) that the feet carry, and the pose with legs that reach down to where these stand."""
    joints, rotations = forward_kinematics(pose, rest, PARENTS[:_NUM_JOINTS])
    sides = torch.stack([phase, phase + 0.5], -1) % 1.0
    place = (sides - _LOADED[0]) / (_LOADED[1] - _LOADED[0])
    load = torch.where((place > 0) & (place < 1), torch.sin(math.pi * place), 0).square()
    load = (load / load.sum(-1, keepdim=True)).numpy()[..., None]
    balls = joints[:, [leg[-1] for leg in _LEGS]].numpy()
    above = BALL_HEIGHT * stature

    width = _SMOOTH_S * fps
    speed = -(load * np.gradient(balls, axis=0)).sum(1)
    pelvis = np.cumsum(gaussian_filter1d(speed, width, axis=0), 0)
    pelvis[:, 1] = above - _SOFT_KNEES * stature - gaussian_filter1d((load * balls).sum(1)[:, 1], width)

    for side, leg in enumerate(_LEGS):
        planted = ((sides[:, side] > _PLANTED[0]) & (sides[:, side] < _PLANTED[1])).numpy()
        shift = _shift_to_stances(pelvis + balls[:, side], planted, above)
        pose = _reached(pose, joints, rotations, rest, leg, torch.from_numpy(shift))
    return torch.from_numpy(pelvis), pose


def _shift_to_stances(ball: np.ndarray, planted: np.ndarray, height: float) -> np.ndarray:
    """(n, 3) what brings the ball of a foot (n, 3) to one place of the floor in each stance (n,), and smoothly from one to the next."""
    shift = np.zeros_like(ball)
    rows = np.flatnonzero(planted)
    for stance in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
        shift[stance] = ball[stance].mean(0) - ball[stance]
        shift[stance, 1] = height - ball[stance, 1]
    shift = CubicSpline(rows, shift[rows])(np.arange(len(ball)).clip(rows[0], rows[-1]))
    # a swinging foot clears the floor: below the height of a stance it is lifted, smoothly, and hardly changed elsewhere
    clearance = ball[:, 1] + shift[:, 1] - height
    shift[:, 1] += (np.hypot(clearance, _LIFT_M) - _LIFT_M - clearance) / 2
    return shift


def _reached(pose: Tensor, joints: Tensor, rotations: Tensor, rest: Tensor, leg: list[int], shift: Tensor) -> Tensor:
    """The pose with one leg's hip, knee and ankle changed so that the foot is shifted (n, 3) and keeps its direction."""
    hip, knee, ankle, _ = leg
    thigh, shank = rest[knee] - rest[hip], rest[ankle] - rest[knee]
    target = joints[:, ankle] + shift - joints[:, hip]
    bend = roma.rotvec_to_rotmat(pose[:, knee])
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
    bend = roma.rotvec_to_rotmat(turn) @ bend

    upper = rotations[:, hip]
    reached = (upper @ (thigh + (bend @ shank[:, None])[..., 0])[..., None])[..., 0]
    axis = torch.linalg.cross(reached, target)
    angle = torch.atan2(axis.norm(dim=-1), (reached * target).sum(-1))
    swing = torch.nn.functional.normalize(axis, dim=-1) * angle[:, None]
    upper = roma.rotvec_to_rotmat(swing) @ upper
    lower = upper @ bend
    out = pose.clone()
    for joint, local in (
        (hip, rotations[:, 0].transpose(1, 2) @ upper),
        (knee, bend),
        (ankle, lower.transpose(1, 2) @ rotations[:, ankle]),
    ):
        out[:, joint] = roma.rotmat_to_rotvec(local)
    return out
