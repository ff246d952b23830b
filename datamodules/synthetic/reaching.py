"""Reaching: one hand or both go to a place at the height of a shelf, of a table or near the floor, stay there and come back.

Hands move with the least jerk (Flash & Hogan, "The coordination of arm movements", J. Neuroscience 5, 1985). Where the arm is too short,
trunk and knees take part in the same rhythm: spine and pelvis share the lean (Esola et al., Spine 21, 1996), and people differ in how much
they leave to their knees (Burgess-Limerick et al., "Self-selected manual lifting technique", Human Factors 37, 1995).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pose_priors.datamodules.synthetic.arms import hang
from pose_priors.datamodules.synthetic.arms_ik import arm_length, hanging, shoulders, thighs, wrists_to
from pose_priors.datamodules.synthetic.body import joined
from pose_priors.datamodules.synthetic.draw import DrawOnce
from pose_priors.datamodules.synthetic.legs import Legs, flat_foot
from pose_priors.datamodules.synthetic.legs_ik import Feet, on_feet
from pose_priors.datamodules.synthetic.motion import Motion
from pose_priors.datamodules.synthetic.poses import within_limits
from pose_priors.datamodules.synthetic.standing import leg_lengths, over_feet, standing_feet, sway
from pose_priors.datamodules.synthetic.timing import ramp

_EFFORTS = 33  # tried between standing and as low as this person goes
_LEAN_DEG, _KNEES_DEG = (135.0, 88.0), (18.0, 106.0)  # of people who leave all to the trunk, and all to the knees
_SHANK_DEG, _SHANK_SHARE = 27.0, 0.42  # at most, and of the knee's flexion as long as there is little
# nobody goes down for what is above that fraction of the stature, nor far for what is little below
_UPRIGHT_ABOVE, _FULL_BELOW, _LEAST = 0.9, 0.5, 0.08
_SPINE_DEG, _SPINE_AT_DEG = 58.0, 75.0
_STRETCHED = (0.91, 0.98)  # of the arm, when the hand is there
_PELVIS_TURN, _SPINE_TURN = 0.25, 0.45  # of the direction of the target
_LOWERED = 0.006  # of the stature: the pelvis of who stands, from its height on straight legs
_ASIDE, _BEFORE = 0.06, 0.06  # of the stature: by how much hands go round the knees, and the shoulders
_ON_KNEES = 0.1  # where resting hands are, from the knees to the hips
_LOOKS_S = 0.2
_HEAD_HEIGHT = 0.92  # of the stature
_HIPS_BACK = 0.09  # of the stature: how far hips go back to balance a trunk that leans over straight legs


@dataclass(frozen=True)
class Reach:
    """What a reach shall be.

    Attributes:
        height: of the target above the floor, as a fraction of the stature.
        forward: how far before the ankles, likewise.
        left_deg: its direction from straight ahead, to the left.
        apart: for both hands, half their distance as a fraction of the stature; 0 when the left hand goes alone.
        knees: the share of knees in lowering the body, 0 (stoop) to 1 (squat).
        begin_s, there_s: seconds before the movement, and at the target.
        out_s, back_s: seconds that the movements take.
    """

    height: float
    forward: float
    left_deg: float
    apart: float
    knees: float
    begin_s: float
    out_s: float
    there_s: float
    back_s: float

    @property
    def seconds(self) -> float:
        """Until the hands are back."""
        return self.begin_s + self.out_s + self.there_s + self.back_s

    def progress(self, at: Tensor) -> Tensor:
        """(n,) from 0 to 1 at the target and back to 0."""
        there = self.begin_s + self.out_s
        return ramp(at, self.begin_s, there) - ramp(at, there + self.there_s, self.seconds)

    def target(self, stature: float) -> Tensor:
        """(2, 3) where the wrists shall be in metres, if that is within reach; the left one alone matters if it goes alone."""
        angle = math.radians(self.left_deg)
        sign = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
        towards = torch.tensor([[math.sin(angle), 0, math.cos(angle)]], dtype=torch.float64)
        beside = torch.tensor([[math.cos(angle), 0, -math.sin(angle)]], dtype=torch.float64)
        up = torch.tensor([[0.0, self.height, 0.0]], dtype=torch.float64)
        return stature * (self.forward * towards + self.apart * sign * beside + up)


def reaching(plan: Reach, num_frames: int, fps: float, stature: float, generator: torch.Generator) -> Motion:
    """A person who stands at (0, 0), looking along z, and reaches with the left hand or both; posture and stance are drawn.

    Args:
        num_frames: T.
        stature: metres.
    """
    at = torch.arange(num_frames, dtype=torch.float64) / fps
    person = int(torch.randint(2**62, (), generator=generator))
    effort, target = effort_for(plan, stature, person)
    there = plan.progress(at)
    pose, pelvis, feet = _posture(plan, effort * there, there, plan.progress(at + _LOOKS_S), stature, person)
    unrest, swayed = sway(generator, num_frames, fps)
    pose, pelvis = on_feet(within_limits(pose + unrest), pelvis + swayed, stature, feet, fps)

    # hands that are left alone hang, or come to rest on the thighs as the body goes down
    wrist = hanging(pose, stature, torch.zeros_like(at))
    low = ramp(_knee_deg(plan, effort * there), 20, 75)[:, None, None]
    wrist = wrist + low * (thighs(pose, stature, _ON_KNEES) - wrist)
    go = there[:, None, None] * wrist.new_tensor([[1.0], [1.0 if plan.apart else 0.0]])
    # on their way up hands pass before the shoulders, on their way to the floor beside the knees
    bow = wrist.new_tensor([[_ASIDE * effort, 0, _BEFORE * (1 - effort)], [-_ASIDE * effort, 0, _BEFORE * (1 - effort)]])
    wrist = wrist + go * (target - pelvis[:, None] - wrist) + 4 * go * (1 - go) * stature * bow
    palms = DrawOnce(num_frames, generator).pair(-15, 18, 0.6)
    return Motion(wrists_to(pose, stature, wrist, palms), pelvis, stature, "reaching")


def effort_for(plan: Reach, stature: float, person: int) -> tuple[float, Tensor]:
    """How far someone goes down, from 0 (not at all) to 1 (as far as this person does), and where the wrists are then.

    Args:
        person: the seed of posture and stance.
    Returns:
        the effort, and (2, 3) metres: the target, or the nearest place to it that can be reached.
    """
    most = float(np.clip((_UPRIGHT_ABOVE - plan.height) / _FULL_BELOW, _LEAST, 1))
    efforts = torch.linspace(0, most, _EFFORTS, dtype=torch.float64)
    there = torch.ones_like(efforts)
    pose, pelvis, _ = _posture(plan, efforts, there, there, stature, person)
    shoulder = pelvis[:, None] + shoulders(pose, stature)
    target = plan.target(stature)
    far = (target - shoulder).norm(dim=-1)
    far = far.max(-1).values if plan.apart else far[:, 0]
    stretched = _STRETCHED[0] + (_STRETCHED[1] - _STRETCHED[0]) * np.random.default_rng(person).random()
    wanted = stretched * arm_length(stature)
    near = torch.nonzero(far <= wanted)[:, 0]
    if len(near) == 0:
        best = int(far.argmin())
        from_shoulder = target - shoulder[best]
        short = (wanted / from_shoulder.norm(dim=-1, keepdim=True)).clamp(max=1)
        return float(efforts[best]), shoulder[best] + short * from_shoulder
    first = int(near[0])
    if first == 0:
        return 0.0, target
    part = float((far[first - 1] - wanted) / (far[first - 1] - far[first]))
    return float(efforts[first - 1] + part * efforts[1]), target


def _knee_deg(plan: Reach, effort: Tensor) -> Tensor:
    return effort * (_KNEES_DEG[0] + plan.knees * (_KNEES_DEG[1] - _KNEES_DEG[0]))


def _posture(plan: Reach, effort: Tensor, there: Tensor, looking: Tensor, stature: float, person: int) -> tuple[Tensor, Tensor, Feet]:
    """The pose with legs that are about right, the pelvis and the feet, n instants of a person who is drawn.

    Args:
        effort: (n,) how far the body goes down.
        there, looking: (n,) how far it is turned to the target, and the eyes are.
    """
    draw = DrawOnce(len(effort), torch.Generator().manual_seed(person))
    knee = _knee_deg(plan, effort)
    lean = effort * (_LEAN_DEG[0] + plan.knees * (_LEAN_DEG[1] - _LEAN_DEG[0]))
    spine = _SPINE_DEG * torch.tanh(lean / _SPINE_AT_DEG)
    own_tilt = draw.normal(mean=5, std=2.5)
    tilt = own_tilt + lean - spine
    shank = _SHANK_DEG * torch.tanh(_SHANK_SHARE * knee / _SHANK_DEG)
    hip, bent = (knee - shank + tilt)[:, None].expand(-1, 2), (knee + 4)[:, None].expand(-1, 2)
    turn = plan.left_deg * there
    legs = Legs(
        hip_flexion=hip,
        hip_abduction=draw.between(0, 10, 1) * torch.ones(2, dtype=torch.float64) + 0.06 * knee[:, None],
        hip_external=draw.pair(6, 4, 0.6) + 0.1 * knee[:, None],
        knee_flexion=bent,
        dorsiflexion=flat_foot(tilt, hip, bent),
        toe_extension=torch.zeros_like(hip),
        pelvis_tilt=tilt,
        pelvis_list=draw.normal(std=1),
        pelvis_turn=_PELVIS_TURN * turn + draw.normal(std=2),
        spine_flexion=spine - 0.7 * own_tilt + draw.normal(mean=4, std=4),
        spine_bend=draw.normal(std=2),
        spine_twist=_SPINE_TURN * turn + draw.normal(std=3),
    )
    # `joined` holds the head up against part of the lean
    eyes = _HEAD_HEIGHT - 0.35 * effort
    down = torch.rad2deg(torch.atan2(eyes - plan.height, torch.full_like(eyes, plan.forward + 0.1))) - 0.55 * lean
    look = torch.stack([plan.left_deg * looking, down * looking], -1) + draw.normal(2, std=5)
    pose = joined(draw, legs, hang(draw, tilt + legs.spine_flexion), look).pose

    feet = standing_feet(draw, stature, 1 + 0.5 * plan.knees)
    half = torch.full((len(effort), 2), 0.5, dtype=torch.float64)
    pelvis = over_feet(feet, half, torch.zeros_like(effort), stature, _LOWERED * stature)
    thigh, calf = leg_lengths(stature)
    folded, tipped = (knee - shank).deg2rad(), shank.deg2rad()
    pelvis[:, 1] -= thigh * (1 - torch.cos(folded)) + calf * (1 - torch.cos(tipped))
    back = _HIPS_BACK * (1 - plan.knees) * stature * torch.sin(lean.clamp(max=90).deg2rad())
    pelvis[:, 2] += calf * torch.sin(tipped) - thigh * torch.sin(folded) - back
    return pose, pelvis, feet
