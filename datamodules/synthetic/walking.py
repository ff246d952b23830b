"""Walking at any speed, straight, along curves and round corners, and how it begins and ends.

Cadence and length of the steps follow from the speed by Grieve & Gear, "The relationships between length of stride, step frequency, time of
swing and speed of walking for children and adults", Ergonomics 9, 1966. A walk begins and ends with one shorter step (Breniere & Do, "When
and how does steady state gait movement induced from upright posture begin?", J. Biomechanics 19, 1986).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.builtin import BALL_HEIGHT, rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import PARENTS
from pose_priors.datamodules.synthetic.arms import Arms, wrists
from pose_priors.datamodules.synthetic.arms_ik import ARM_JOINTS, from_shoulders, wrists_to
from pose_priors.datamodules.synthetic.body import joined
from pose_priors.datamodules.synthetic.draw import DrawOnce
from pose_priors.datamodules.synthetic.gait import PLANTED, load_shares
from pose_priors.datamodules.synthetic.legs import Legs, stand, stride_at
from pose_priors.datamodules.synthetic.legs_ik import (
    BODY_JOINTS,
    LEGS,
    Feet,
    carried,
    foot_angles,
    heel_height,
    on_feet,
    settling,
    shift_to_stances,
)
from pose_priors.datamodules.synthetic.motion import Motion
from pose_priors.datamodules.synthetic.poses import within_limits
from pose_priors.datamodules.synthetic.standing import sway
from pose_priors.datamodules.synthetic.timing import pulse, ramp, wander

# Grieve & Gear's adults: strides in a minute = factor * (statures in a second) ^ exponent
_GRIEVE_FACTOR, _GRIEVE_EXPONENT = 64.8, 0.57
_STANDING_PHASE = PLANTED[1]  # one foot is about to leave the floor, the other has just come to stand
_GO_S = 0.7  # until a cadence is reached, and until it is left
_STEP = 0.5  # the part of a cycle in which strides grow from nothing
_LATE = 0.075  # the part of a cycle by which the very first foot is carried on later than others, since its step is short
_FIRST = 1.5  # by how much more that foot is raised besides, since its knee bends less
_MARGIN_S = 2.0
_SOFT_KNEES = 0.001  # of the stature: how much lower the pelvis is carried than on legs as straight as the curves have them
_CLEARANCE = 0.008  # of the stature: by how much the middle of a swing is raised
_HEEL_M = 2e-3  # how softly heels are kept above the floor
_TOE_OFF_RAD = math.radians(68.0)  # heels are raised no further
_FLAT_RAD = math.radians(1.0)
# of gesturing hands: how far the wrist goes in metres (lateral, up, forward), and the time scale
_GESTURE_M, _GESTURE_S = (0.035, 0.06, 0.045), 0.22
_LIST = 0.3
_ABDUCTION_DEG = 7.5  # of arms that swing past the body, at least
_LOOKING_DEG, _LOOKING_S = 6.0, 0.5

_Speed = TypeVar("_Speed", Tensor, float)


@dataclass(frozen=True)
class Walk:
    """What a walk shall be.

    Attributes:
        speed: (begin, end) in metres a second, between which it changes smoothly.
        turn_deg: by how much the heading turns to the left in a cycle of two steps, throughout.
        corner_deg: by how much it turns besides, within about two cycles in the middle.
        starts, stops: whether the person stands at the beginning, at the end.
        gesturing: whether both hands talk in front of the chest, instead of swinging.
        vigour: the cadence relative to that of Grieve & Gear's average adult at this speed.
    """

    speed: tuple[float, float]
    turn_deg: float
    corner_deg: float
    starts: bool
    stops: bool
    gesturing: bool
    vigour: float


def cadence(speed: _Speed, stature: float) -> _Speed:
    """Cycles of two steps in a second at a walking speed in metres a second (Grieve & Gear, 1966)."""
    cycles: _Speed = _GRIEVE_FACTOR / 60 * (speed / stature) ** _GRIEVE_EXPONENT
    return cycles


def walking(plan: Walk, num_frames: int, fps: float, stature: float, generator: torch.Generator) -> Motion:
    """A person who walks from (0, 0) on, at first in the direction of z; posture, arm swing and the instant of the cycle are drawn.

    Args:
        num_frames: T.
        stature: metres.
    """
    margin = math.ceil(fps * _MARGIN_S)
    at = torch.arange(-margin, num_frames + margin, dtype=torch.float64) / fps
    draw = DrawOnce(len(at), generator)
    seconds = num_frames / fps
    speed = plan.speed[0] + (plan.speed[1] - plan.speed[0]) * ramp(at, 0, seconds)
    rate = plan.vigour * cadence(speed, stature)
    phase, size = _phases(plan, at, rate, float(draw.uniform()[0]), seconds)
    stride = _angle_scale(speed / rate / stature)

    walking_legs, arms = stride_at(draw, phase, torch.zeros_like(at), stride)
    standing_legs = stand(draw)
    # who is about to walk, or has just walked, stands with the feet hardly wider apart than in walking
    abduction = walking_legs.hip_abduction.mean(0) + draw.between(-0.5, 3.0, 1)
    legs = _blend(replace(standing_legs, hip_abduction=abduction, pelvis_list=_LIST * standing_legs.pelvis_list), walking_legs, size)
    arms = _swinging_less(arms, size * stride.clamp(max=1.2))
    look = draw.normal(2, std=8) + _LOOKING_DEG * wander(generator, len(at), _LOOKING_S * fps, 2)
    pose = within_limits(joined(draw, legs, arms, look).pose + sway(generator, len(at), fps)[0])

    cycles = phase - phase[margin]
    middle = float(cycles[margin + num_frames // 2])
    heading = torch.zeros(len(at), 3, dtype=torch.float64)
    heading[:, 1] = math.radians(plan.turn_deg) * cycles + math.radians(plan.corner_deg) * ramp(cycles, middle - 1, middle + 1)
    pose = torch.cat([conversions.rotvec_composition([heading, pose[:, 0]])[:, None], pose[:, 1:]], 1)

    pose, pelvis = _planted(pose, phase, plan.starts, fps, stature)
    if plan.gesturing:
        pose = _talking(pose, stature, draw, generator, legs.pelvis_tilt + legs.spine_flexion, fps)
    keep = slice(margin, margin + num_frames)
    start = pelvis[margin] * pelvis.new_tensor([1.0, 0.0, 1.0])
    return Motion(pose[keep].clone(), pelvis[keep] - start, stature, "walking")


def _phases(plan: Walk, at: Tensor, rate: Tensor, first: float, seconds: float) -> tuple[Tensor, Tensor]:
    """(n,) the phase of the gait cycle, and how large the strides are: 0 in standing, 1 in walking."""
    step = float(at[1] - at[0])
    zero = int(torch.searchsorted(at, 0.0))
    started = -0.2 + 0.3 * first if plan.starts else float(at[0]) - 2 * _GO_S
    rate = rate * ramp(at, started, started + _GO_S)
    phase = torch.cumsum(rate, 0) * step
    phase = phase - phase[0] + _STANDING_PHASE if plan.starts else phase - phase[zero] + first
    if plan.stops:
        # a ramp down is worth half its time, so that one which begins in time ends in standing
        candidate = phase + rate * _GO_S / 2
        latest = float(candidate[int(torch.searchsorted(at, seconds - _GO_S - 0.3 * (1 - first)))])
        last = _STANDING_PHASE + math.floor((latest - _STANDING_PHASE) / _STEP) * _STEP
        begin = float(np.interp(last, candidate.numpy(), at.numpy()))
        slowed = torch.cumsum(rate * (1 - ramp(at, begin, begin + _GO_S)), 0) * step
        slowed = slowed - slowed[zero] + phase[zero]
        phase = slowed + (last - slowed[-1]) * ramp(at, begin, begin + _GO_S)
    size = torch.ones_like(at)
    if plan.starts:
        size = ramp(phase, _STANDING_PHASE, _STANDING_PHASE + _STEP)
    if plan.stops:
        size = size * (1 - ramp(phase, last - _STEP, last))
    return phase, size


def _blend(a: Legs, b: Legs, weight: Tensor) -> Legs:
    """From a to b as the weight (n,) goes from 0 to 1."""
    parts = {field.name: (getattr(a, field.name), getattr(b, field.name)) for field in fields(Legs)}
    return Legs(**{name: x + (weight[:, None] if x.ndim > 1 else weight) * (y - x) for name, (x, y) in parts.items()})


def _swinging_less(arms: Arms, size: Tensor) -> Arms:
    """The same arms, their swing made (n,) times as large, and past the thighs."""
    kept = {}
    for name in ("flexion", "elbow_flexion"):
        swing = getattr(arms, name)
        kept[name] = swing.mean(0) + size[:, None] * (swing - swing.mean(0))
    return replace(arms, abduction=arms.abduction.clamp(min=_ABDUCTION_DEG), **kept)


def _talking(pose: Tensor, stature: float, draw: DrawOnce, generator: torch.Generator, lean: Tensor, fps: float) -> Tensor:
    """The pose with hands that talk in front of the chest."""
    moved = wander(generator, len(pose), _GESTURE_S * fps, 2, 3)
    offset = wrists(draw, "gesture", lean) + lean.new_tensor(_GESTURE_M) * moved
    pose = wrists_to(pose, stature, from_shoulders(pose, stature, offset), draw.pair(10, 20, 0.5))
    pose[:, ARM_JOINTS] = within_limits(pose)[:, ARM_JOINTS]
    return pose


def _planted(pose: Tensor, phase: Tensor, starts: bool, fps: float, stature: float) -> tuple[Tensor, Tensor]:
    """The pose with legs that reach down to where the feet stand, and the pelvis that these carry."""
    rest = rest_joints(stature)[:BODY_JOINTS]
    joints, rotations = forward_kinematics(pose, rest, PARENTS[:BODY_JOINTS])
    sides = torch.stack([phase, phase + 0.5], -1) % 1.0
    balls = joints[:, [leg[-1] for leg in LEGS]].numpy()
    above = BALL_HEIGHT * stature
    pelvis = carried(balls, load_shares(sides).numpy(), fps)
    pelvis[:, 1] += above - _SOFT_KNEES * stature

    ball, yaw, pitch = [], [], []
    # who stands at the very edge of a stance does stand
    first = (starts & (phase < _STANDING_PHASE + _STEP)).double()[:, None]
    late = _LATE * first
    planted = ((sides > PLANTED[0] - 1e-6) & (sides < PLANTED[1] + late + 1e-6)).numpy()
    for side, leg in enumerate(LEGS):
        track = pelvis + balls[:, side]
        ball.append(torch.from_numpy(track + shift_to_stances(track, planted[:, side], above)))
        towards, raised = foot_angles(rotations[:, leg[2]])
        unwrapped = np.unwrap(towards.numpy())[:, None]
        yaw.append(torch.from_numpy(unwrapped + settling(unwrapped, planted[:, side], (np.nan,)))[:, 0])
        raised = raised / (1 + (raised / _TOE_OFF_RAD) ** 8) ** (1 / 8)
        # no heel is below the floor while the ball stands on it
        s = (sides[:, side] + 0.5) % 1 - 0.5
        swinging = torch.where(s < -0.02, ramp(sides[:, side], PLANTED[1], 0.75), 1 - ramp(s, -0.02, PLANTED[0]))
        raised_only = (raised + torch.hypot(raised, torch.full_like(raised, _FLAT_RAD))) / 2
        pitch.append(raised_only + swinging * (raised - raised_only))
    feet = Feet(torch.stack(ball, 1), torch.stack(yaw, 1), torch.stack(pitch, 1))
    heel = heel_height(feet, stature)
    lift = torch.where(torch.from_numpy(planted), 0.0, (torch.hypot(heel, torch.full_like(heel, _HEEL_M)) - heel) / 2)
    # the first foot is lifted before it is carried on: its step is so short that it would slide first
    swing = pulse((sides - PLANTED[1]) % 1.0, 0.0, 1 + PLANTED[0] - PLANTED[1])
    up = lift + _CLEARANCE * (1 + _FIRST * first) * stature * swing
    feet = replace(feet, ball=feet.ball + torch.stack([torch.zeros_like(up), up, torch.zeros_like(up)], -1))
    return on_feet(pose, torch.from_numpy(pelvis), stature, feet, fps)


def _angle_scale(stride_length: Tensor) -> Tensor:
    """By what the angles of an average stride are multiplied for strides of a length, (n,) in statures."""
    scale, length = _stride_lengths()
    return torch.from_numpy(np.interp(stride_length.numpy(), length, scale))


@lru_cache(maxsize=1)
def _stride_lengths() -> tuple[np.ndarray, np.ndarray]:
    """Multiples of the angles of an average stride, and how long strides they make, in statures."""
    phase = torch.arange(100, dtype=torch.float64).repeat(2) / 100
    scales = np.linspace(0.3, 1.6, 14)
    lengths = []
    for scale in scales:
        draw = DrawOnce(len(phase), torch.Generator().manual_seed(0))
        legs, arms = stride_at(draw, phase, torch.zeros_like(phase), torch.full_like(phase, scale))
        pose = within_limits(joined(draw, legs, arms, torch.zeros(len(phase), 2, dtype=torch.float64)).pose)
        joints, _ = forward_kinematics(pose, rest_joints(1.0)[:BODY_JOINTS], PARENTS[:BODY_JOINTS])
        balls = joints[:, [leg[-1] for leg in LEGS]].numpy()
        path = carried(balls, load_shares(torch.stack([phase, phase + 0.5], -1) % 1.0).numpy(), 100.0)
        lengths.append(path[150, 2] - path[50, 2])
    return scales, np.array(lengths)
