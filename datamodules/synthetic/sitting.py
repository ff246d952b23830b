"""Sitting down on a seat and standing up from it, the feet where they are.

The phases of standing up are those of Schenkman et al., "Whole-body movements during rising to standing from sitting", Physical Therapy 70,
1990: the trunk flexes over the thighs, the body leaves the seat at a third of the time, and while it rises the trunk extends; the trunk's
and the pelvis' angles over time are those of Nuzik et al., "Sit-to-stand movement pattern", Physical Therapy 66, 1986. Sitting down is the
same in reverse, but for its timing: Kralj, Jaeger & Munih, "Analysis of standing up and sitting down in humans", J. Biomechanics 23, 1990.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_priors.body.builtin import ANKLE_HEIGHT, rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import PARENTS
from pose_priors.datamodules.synthetic.arms import hang
from pose_priors.datamodules.synthetic.arms_ik import hanging, thighs, wrists_to
from pose_priors.datamodules.synthetic.body import joined
from pose_priors.datamodules.synthetic.draw import DrawOnce
from pose_priors.datamodules.synthetic.legs import Legs, flat_foot
from pose_priors.datamodules.synthetic.legs_ik import BODY_JOINTS, LEGS, on_feet
from pose_priors.datamodules.synthetic.motion import Motion
from pose_priors.datamodules.synthetic.poses import within_limits
from pose_priors.datamodules.synthetic.standing import leg_lengths, standing_feet, sway
from pose_priors.datamodules.synthetic.timing import pulse, ramp

HIPS_ABOVE_SEAT = 0.05
"""Height of the hip joints of someone who sits above the seat, as a fraction of the stature."""

# begin and end within the movement: going up or down, going forward or back, and the trunk's lean, which comes and goes
_UP, _FORWARD, _UP_LEAN = (0.33, 0.95), (0.26, 0.88), (0.0, 0.43, 1.0)
_DOWN, _BACK, _DOWN_LEAN = (0.08, 0.74), (0.05, 0.76), (0.0, 0.55, 1.0)
_HANDS = (0.35, 0.85)  # of rising: when the hands leave the thighs
_PELVIS_LEAN = 0.6  # of the trunk's
_STANDS_BEFORE = 0.012  # of the stature: the hips of who stands before the ankles
_LOWERED = 0.006  # of the stature: the hips, from their height on straight legs
_ARMS_FORWARD = 0.11  # of the stature: by how much the hands of one who rises swing forward
_ON_THIGHS = 0.35


@dataclass(frozen=True)
class Sit:
    """What someone does with a seat.

    Attributes:
        seat: its height as a fraction of the stature.
        shank_deg: by how much the shanks lean forward in sitting: the feet are drawn back.
        lean_deg: by how much the trunk flexes besides when the body leaves the seat, or nears it.
        sits_down: whether the person stands at first, and sits down.
        stands_up: whether the person stands up after sitting.
        begin_s, down_s, seated_s, up_s: seconds before, of sitting down, between the two, of standing up.
    """

    seat: float
    shank_deg: float
    lean_deg: float
    sits_down: bool
    stands_up: bool
    begin_s: float
    down_s: float
    seated_s: float
    up_s: float

    @property
    def seconds(self) -> float:
        """Until the last movement ends."""
        return self.begin_s + self.sits_down * self.down_s + self.seated_s + self.stands_up * self.up_s

    def phases(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) how much of sitting down, and of standing up, is over: below 0 before, above 1 after."""
        down = (at - self.begin_s) / self.down_s if self.sits_down else torch.full_like(at, 2.0)
        up = (at - self.seconds + self.up_s) / self.up_s if self.stands_up else torch.full_like(at, -1.0)
        return down, up


def sitting(plan: Sit, num_frames: int, fps: float, stature: float, generator: torch.Generator) -> Motion:
    """A person whose ankles are about at (0, 0), looking along z, and who sits down, sits and stands up; posture and stance are drawn.

    Args:
        num_frames: T.
        stature: metres.
    """
    at = torch.arange(num_frames, dtype=torch.float64) / fps
    draw = DrawOnce(num_frames, generator)
    down, up = plan.phases(at)
    seated = ramp(down, *_DOWN) - ramp(up, *_UP)
    to_sit, to_rise = (ramp(x, start, top) - ramp(x, top, end) for x, (start, top, end) in ((down, _DOWN_LEAN), (up, _UP_LEAN)))
    lean = to_sit + to_rise
    hips = _hips(plan, seated, ramp(down, *_BACK) - ramp(up, *_FORWARD), stature)

    legs = _legs(draw, plan, seated, plan.lean_deg * lean)
    look = draw.normal(2, std=7)
    unrest, swayed = sway(generator, num_frames, fps)
    arms = hang(draw, legs.pelvis_tilt + legs.spine_flexion)
    pose = within_limits(joined(draw, legs, arms, look).pose + unrest)
    joints, _ = forward_kinematics(pose, rest_joints(stature)[:BODY_JOINTS], PARENTS[:BODY_JOINTS])
    pelvis = hips - joints[:, [leg[0] for leg in LEGS]].mean(1) + (1 - seated[:, None]) * swayed
    pose, pelvis = on_feet(pose, pelvis, stature, standing_feet(draw, stature, 1.2), fps)

    wrist = hanging(pose, stature, torch.zeros_like(at))
    wrist[..., 2] += _ARMS_FORWARD * stature * (pulse(up, 0.2, 1.1) + pulse(down, 0.0, 0.9))[:, None]
    resting = (ramp(1 - down, *_HANDS) if plan.sits_down else torch.zeros_like(at)) + ramp(up, *_HANDS)
    wrist = wrist + (1 - resting)[:, None, None] * (thighs(pose, stature, _ON_THIGHS) - wrist)
    return Motion(wrists_to(pose, stature, wrist, draw.pair(-25, 12, 0.7)), pelvis, stature, "sitting")


def _hips(plan: Sit, seated: Tensor, back: Tensor, stature: float) -> Tensor:
    """(n, 3) the middle of the hips in metres."""
    thigh, shank = leg_lengths(stature)
    ankle = ANKLE_HEIGHT * stature
    tipped = math.radians(plan.shank_deg)
    high = (plan.seat + HIPS_ABOVE_SEAT) * stature
    behind = shank * math.sin(tipped) - thigh * math.cos(math.asin((high - ankle - shank * math.cos(tipped)) / thigh))
    stands = ankle + thigh + shank - _LOWERED * stature
    before = _STANDS_BEFORE * stature
    return torch.stack([torch.zeros_like(seated), stands + seated * (high - stands), before + back * (behind - before)], -1)


def _legs(draw: DrawOnce, plan: Sit, seated: Tensor, lean: Tensor) -> Legs:
    """Pelvis, spine, and legs that are about right."""
    slump, own_tilt, own_spine = draw.normal(), draw.normal(mean=5, std=2.5), draw.normal(std=4)
    tilt = own_tilt + seated * (-10 - 5 * slump - own_tilt) + _PELVIS_LEAN * lean
    spine = 4 - 0.7 * own_tilt + seated * (12 + 8 * slump) + own_spine + (1 - _PELVIS_LEAN) * lean
    thigh, shank = 88 * seated, plan.shank_deg * seated
    hip, knee = (thigh + tilt)[:, None].expand(-1, 2), (thigh + shank + 4)[:, None].expand(-1, 2)
    return Legs(
        hip_flexion=hip,
        hip_abduction=2 + seated[:, None] * draw.between(0, 12, 1) + draw.normal(2, std=1.5),
        hip_external=draw.pair(5, 4, 0.6),
        knee_flexion=knee,
        dorsiflexion=flat_foot(tilt, hip, knee),
        toe_extension=torch.zeros_like(hip),
        pelvis_tilt=tilt,
        pelvis_list=draw.normal(std=1),
        pelvis_turn=draw.normal(std=1.5),
        spine_flexion=spine,
        spine_bend=draw.normal(std=3),
        spine_twist=draw.normal(std=4),
    )
