"""Turning on the spot: steps of both feet in turn about the middle between them, the head before the trunk and the trunk before the pelvis.

The order of head, trunk and feet is that of Hollands, Ziavra & Bronstein, "A new paradigm to investigate the roles of head and eye
movements in the coordination of whole-body movements", Experimental Brain Research 154, 2004. The inner foot goes first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.builtin import BALL_HEIGHT
from pose_priors.datamodules.synthetic.arms import hang
from pose_priors.datamodules.synthetic.arms_ik import hanging, wrists_to
from pose_priors.datamodules.synthetic.body import joined
from pose_priors.datamodules.synthetic.draw import DrawOnce
from pose_priors.datamodules.synthetic.legs import stand
from pose_priors.datamodules.synthetic.legs_ik import Feet, on_feet
from pose_priors.datamodules.synthetic.motion import Motion
from pose_priors.datamodules.synthetic.poses import within_limits
from pose_priors.datamodules.synthetic.standing import over_feet, sway
from pose_priors.datamodules.synthetic.timing import pulse, ramp, smoothed, wander

_SWING = 0.66  # the part of a step's time in which its foot is in the air
_SHOULDERS_LEAD_S, _HEAD_LEADS_S = 0.08, 0.28
_SMOOTH_S = 0.11
_LOWERED = 0.006  # of the stature: the pelvis, from its height on straight legs
_LOOKING_DEG, _LOOKING_S = 4.0, 0.4
_ARMS_LAG_S = 0.12
# of the stature: half the distance of the feet, the balls before the middle of the ankles, the rise of a swinging foot
_HALF_WIDTH, _BALL_FORWARD, _RISE = (0.045, 0.08), 0.065, (0.02, 0.055)
_TOES_OUT_RAD, _RAISED_RAD = (0.0, math.radians(18)), (math.radians(10), math.radians(40))


@dataclass(frozen=True)
class Turn:
    """What a turn shall be.

    Attributes:
        angle_deg: by how much the person turns to the left in all; positive.
        step_deg: at most how much of it in each step.
        step_s: seconds from one foot's lift to the other's.
        begin_s: seconds before the first foot lifts.
    """

    angle_deg: float
    step_deg: float
    step_s: float
    begin_s: float

    @property
    def num_steps(self) -> int:
        """Of both feet together; the last brings the feet side by side."""
        return math.ceil(self.angle_deg / self.step_deg) + 1

    @property
    def seconds(self) -> float:
        """Until the last foot stands."""
        return self.begin_s + self.num_steps * self.step_s


def turning(plan: Turn, num_frames: int, fps: float, stature: float, generator: torch.Generator) -> Motion:
    """A person who stands at (0, 0), looking along z, and turns to the left; posture, stance and the height of the steps are drawn.

    Args:
        num_frames: T.
        stature: metres.
    """
    margin = math.ceil((_HEAD_LEADS_S + 3 * _SMOOTH_S) * fps)
    at = torch.arange(-margin, num_frames + margin, dtype=torch.float64) / fps
    draw = DrawOnce(len(at), generator)
    # the pelvis turns evenly, but for a gentle beginning and end
    first, last = plan.begin_s + 0.2 * plan.step_s, plan.seconds - 0.2 * plan.step_s
    even = math.radians(plan.angle_deg) * ((at - first) / (last - first)).clamp(0, 1)
    yaw = smoothed(even, _SMOOTH_S * fps)

    def ahead_deg(seconds: float) -> Tensor:
        return torch.from_numpy(np.interp((at + seconds).numpy(), at.numpy(), yaw.numpy()) - yaw.numpy()).rad2deg()

    legs = stand(draw)
    legs = replace(legs, spine_twist=legs.spine_twist + ahead_deg(_SHOULDERS_LEAD_S))
    look = torch.stack([ahead_deg(_HEAD_LEADS_S), torch.zeros_like(yaw)], -1)
    look = look + draw.normal(2, std=8) + _LOOKING_DEG * wander(generator, len(at), _LOOKING_S * fps, 2)
    unrest, swayed = sway(generator, len(at), fps)
    pose = within_limits(joined(draw, legs, hang(draw, legs.pelvis_tilt + legs.spine_flexion), look).pose + unrest)
    turn = torch.stack([torch.zeros_like(yaw), yaw, torch.zeros_like(yaw)], -1)
    pose = torch.cat([conversions.rotvec_composition([turn, pose[:, 0]])[:, None], pose[:, 1:]], 1)

    feet, load = _steps(plan, at, yaw, stature, draw)
    pelvis = over_feet(feet, smoothed(load, _SMOOTH_S * fps), yaw, stature, _LOWERED * stature)
    pose, pelvis = on_feet(pose, pelvis + swayed, stature, feet, fps)
    # arms that hang are left behind
    wrist = hanging(pose, stature, yaw + ahead_deg(-_ARMS_LAG_S).deg2rad())
    pose = wrists_to(pose, stature, wrist, draw.pair(-10, 12, 0.6))
    keep = slice(margin, margin + num_frames)
    return Motion(pose[keep].clone(), pelvis[keep].clone(), stature, "turning")


def _steps(plan: Turn, at: Tensor, yaw: Tensor, stature: float, draw: DrawOnce) -> tuple[Feet, Tensor]:
    """The feet (n instants), and how much of the weight each carries (n, 2)."""
    half_width, out, rise, raised = (draw.between(*bounds)[0] for bounds in (_HALF_WIDTH, _TOES_OUT_RAD, _RISE, _RAISED_RAD))
    angle = torch.zeros(len(at), 2, dtype=torch.float64)
    height, pitch = torch.full_like(angle, BALL_HEIGHT * stature), torch.zeros_like(angle)
    load = torch.full_like(angle, 0.5)
    placed = [0.0, 0.0]
    total = math.radians(plan.angle_deg)
    for step in range(plan.num_steps):
        side = step % 2
        lift = plan.begin_s + step * plan.step_s
        land = lift + _SWING * plan.step_s
        # a foot is put down to where the pelvis will be half way to its next step; the last two end the turn
        there = float(np.interp(land + 0.5 * plan.step_s, at.numpy(), yaw.numpy()))
        there = total if step >= plan.num_steps - 2 else there
        angle[:, side] += (there - placed[side]) * ramp(at, lift, land)
        placed[side] = there
        height[:, side] += rise * stature * pulse(at, lift, land)
        pitch[:, side] += raised * pulse(at, lift - 0.3 * plan.step_s, lift + 0.7 * (land - lift))
        share = 0.5 * (ramp(at, lift - 0.25 * plan.step_s, lift) - ramp(at, land, land + 0.25 * plan.step_s))
        load[:, side] -= share
        load[:, 1 - side] += share
    sign = angle.new_tensor([1.0, -1.0])
    lateral = sign * half_width * stature
    # around the middle between the ankles the feet go on an arc: neither hits the other
    forward = _BALL_FORWARD * stature
    ball = torch.stack(
        [
            lateral * torch.cos(angle) + forward * torch.sin(angle),
            height,
            forward * torch.cos(angle) - lateral * torch.sin(angle),
        ],
        -1,
    )
    return Feet(ball, angle + sign * out, pitch), load
