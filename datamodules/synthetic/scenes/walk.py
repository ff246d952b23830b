"""The walk of the built-in scene: the gait of `gait` at one speed on an arc, each foot planted where it stands.

The pelvis is carried by the feet in turn, as far as these move back beneath it; what slides then is taken out by inverse kinematics of the
legs: while a foot carries, its ball stays at one place of the floor, and between two stances the correction runs on smoothly.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.builtin import BALL_HEIGHT, rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import PARENTS
from pose_priors.datamodules.synthetic.arms import arms_at, wrists
from pose_priors.datamodules.synthetic.body import joined
from pose_priors.datamodules.synthetic.draw import DrawOnce
from pose_priors.datamodules.synthetic.gait import PLANTED, load_shares
from pose_priors.datamodules.synthetic.legs import stride_at
from pose_priors.datamodules.synthetic.legs_ik import BODY_JOINTS, LEGS, carried, reached, shift_to_stances
from pose_priors.datamodules.synthetic.motion import Motion
from pose_priors.datamodules.synthetic.poses import within_limits

_SOFT_KNEES = 0.015  # of the stature: how much lower the pelvis is carried than on legs as straight as the curves have them
_LOOKING_ABOUT = 0.4
# of gesturing hands: how far the wrist goes in metres (lateral, up, forward), and how often in a second
_GESTURE_M, _GESTURE_HZ = (0.05, 0.09, 0.06), (0.55, 0.8, 0.65)


def walk_on_arc(num_frames: int, fps: float, cycle_s: float, turn_deg: float, stature: float, gesturing: bool, seed: int) -> Motion:
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
    pose = torch.cat([conversions.rotvec_composition([heading, pose[:, 0]])[:, None], pose[:, 1:]], 1)

    rest = rest_joints(stature)[:BODY_JOINTS]
    pelvis, pose = _planted(pose, rest, phase, fps, stature)
    keep = slice(margin, margin + num_frames)
    start = pelvis[margin] * pelvis.new_tensor([1.0, 0.0, 1.0])
    return Motion(pose[keep], pelvis[keep] - start, stature, "walking")


def _planted(pose: Tensor, rest: Tensor, phase: Tensor, fps: float, stature: float) -> tuple[Tensor, Tensor]:
    """The pelvis (n, 3) that the feet carry, and the pose with legs that reach down to where these stand."""
    joints, rotations = forward_kinematics(pose, rest, PARENTS[:BODY_JOINTS])
    sides = torch.stack([phase, phase + 0.5], -1) % 1.0
    balls = joints[:, [leg[-1] for leg in LEGS]].numpy()
    above = BALL_HEIGHT * stature

    pelvis = carried(balls, load_shares(sides).numpy(), fps)
    pelvis[:, 1] += above - _SOFT_KNEES * stature
    for side, leg in enumerate(LEGS):
        planted = ((sides[:, side] > PLANTED[0]) & (sides[:, side] < PLANTED[1])).numpy()
        shift = shift_to_stances(pelvis + balls[:, side], planted, above)
        pose = reached(pose, joints, rotations, rest, leg, torch.from_numpy(shift))
    return torch.from_numpy(pelvis), pose
