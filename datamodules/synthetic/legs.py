"""What legs and trunk do: random clinical joint angles, one function for each activity.

Each draws n postures from a few continuous latent quantities (depth of a squat, height of a seat) and derives the other angles from those.
Angles are in degrees; sides are a dimension of size 2, left first, and both are described as a left side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_priors.datamodules.synthetic.arms import Arms
from pose_priors.datamodules.synthetic.draw import Draw
from pose_priors.datamodules.synthetic.gait import gait

# turns a quantity that leans to the left into what it is for each side, described as a left side
_SIDES = torch.tensor([1.0, -1.0], dtype=torch.float64)


@dataclass(frozen=True)
class Legs:
    """Legs and trunk, degrees; (n, 2) for the sides, (n,) for the pelvis and the whole spine."""

    hip_flexion: Tensor
    hip_abduction: Tensor
    hip_external: Tensor
    knee_flexion: Tensor
    dorsiflexion: Tensor
    toe_extension: Tensor
    pelvis_tilt: Tensor
    pelvis_list: Tensor
    pelvis_turn: Tensor
    spine_flexion: Tensor
    spine_bend: Tensor
    spine_twist: Tensor


def flat_foot(pelvis_tilt: Tensor, hip_flexion: Tensor, knee_flexion: Tensor) -> Tensor:
    """Dorsiflexion (n, 2) that keeps the sole level, degrees, saturating smoothly at the ankle's range: then the heel rises."""
    level = pelvis_tilt[:, None] - hip_flexion + knee_flexion
    return 30 - 8 * torch.nn.functional.softplus((30 - level) / 8)


def stand(draw: Draw) -> Legs:
    """Standing, the weight on both legs or shifted to one, whose knee is straight while the other bends (contrapposto)."""
    shift = draw.normal(1, std=1.1) * _SIDES  # > 0: the side that carries
    knee = 2 + 24 * torch.sigmoid(-2 * shift - 1.6) + draw.normal(2, std=2.0)
    tilt, width = draw.normal(mean=6, std=3), draw.between(-3, 18)
    hip = tilt[:, None] + 0.5 * knee - 2
    pelvis_list = -3.0 * shift[:, 0]
    return Legs(
        hip_flexion=hip,
        hip_abduction=width[:, None] + 0.9 * pelvis_list[:, None] * _SIDES,
        hip_external=draw.pair(7, 6, 0.5) + 0.35 * width[:, None],
        knee_flexion=knee,
        dorsiflexion=flat_foot(tilt, hip, knee),
        toe_extension=draw.normal(2, mean=1, std=2),
        pelvis_tilt=tilt,
        pelvis_list=pelvis_list,
        pelvis_turn=draw.normal(std=3),
        spine_flexion=-0.7 * tilt + draw.normal(mean=4, std=6),
        spine_bend=-0.8 * pelvis_list + draw.normal(std=4),
        spine_twist=draw.normal(std=9),
    )


def walk_or_run(draw: Draw) -> tuple[Legs, Arms]:
    """A random instant of walking or running, with a person's own stride, posture and arm swing."""
    running = torch.special.ndtr(draw.normal(mean=-0.6, std=1.2))
    return stride_at(draw, draw.uniform(), running)


def stride_at(draw: Draw, phase: Tensor, running: Tensor, stride: Tensor | None = None) -> tuple[Legs, Arms]:
    """Given instants of walking or running, see `gait` for both; posture, arm swing and, where it is not given, stride are drawn.

    Args:
        stride: (n,) by what the legs' angles of an average stride are multiplied.
    """
    at = gait(phase, running)
    drawn, lift, swing = (draw.between(0.65, 1.25)[:, None] for _ in range(3))
    stride = drawn if stride is None else stride[:, None]
    lean = draw.normal(mean=2, std=2.5) + 6 * running
    legs = Legs(
        hip_flexion=at.hip_flexion * stride + at.pelvis_tilt[:, None] * 0.5,
        hip_abduction=draw.normal(1, mean=3, std=1.5) + at.pelvis_list[:, None] * _SIDES,
        hip_external=draw.pair(5, 4, 0.6) - at.pelvis_turn[:, None] * _SIDES,
        knee_flexion=at.knee_flexion * (0.5 * lift + 0.5 * stride),
        dorsiflexion=at.dorsiflexion * stride,
        toe_extension=at.toe_extension * stride,
        pelvis_tilt=at.pelvis_tilt,
        pelvis_list=at.pelvis_list,
        pelvis_turn=at.pelvis_turn * stride[:, 0],
        spine_flexion=lean,
        spine_bend=0.7 * -at.pelvis_list,
        spine_twist=at.spine_twist * swing[:, 0],
    )
    elbow = at.elbow_flexion * (0.6 + 0.4 * swing)
    arms = Arms(
        flexion=at.shoulder_flexion * swing + lean[:, None],
        abduction=8 + 8 * running[:, None] + draw.pair(2, 3, 0.6),
        internal=15 + 0.25 * elbow + draw.pair(0, 7, 0.6),
        elbow_flexion=elbow,
        supination=draw.pair(-10, 10, 0.6),
        wrist_extension=draw.pair(-3, 8, 0.5),
        radial_deviation=draw.pair(2, 4, 0.5),
        closing=0.8 * running[:, None].expand(-1, 2),
    )
    return legs, arms


def sit(draw: Draw) -> Legs:
    """Sitting: the seat's height sets hips and knees, the slump of the pelvis rounds the spine; feet under the knees or stretched out."""
    height, slump, apart = draw.normal(), draw.normal(), draw.between(-4, 28)
    tilt = -8 - 7 * slump
    stretch = draw.pair(0, 1, 0.7)
    hip = 84 - 9 * height[:, None] + 0.6 * tilt[:, None] + draw.normal(2, std=3)
    knee = 88 - 8 * height[:, None] - 24 * torch.tanh(stretch) + draw.normal(2, std=3)
    flat = flat_foot(tilt, hip, knee)
    return Legs(
        hip_flexion=hip,
        hip_abduction=apart[:, None] + draw.normal(2, std=3),
        hip_external=0.5 * apart[:, None] + draw.pair(0, 5, 0.2),
        knee_flexion=knee,
        dorsiflexion=flat - 10 * torch.sigmoid(3 * stretch - 2) * (flat + 25) / 25,
        toe_extension=draw.normal(2, mean=2, std=2),
        pelvis_tilt=tilt,
        pelvis_list=draw.normal(std=2.5),
        pelvis_turn=draw.normal(std=2),
        spine_flexion=16 + 13 * slump + draw.normal(std=5),
        spine_bend=draw.normal(std=6),
        spine_twist=draw.normal(std=11),
    )


def squat(draw: Draw) -> Legs:
    """Half and deep squats: thighs and shanks tilt in opposite directions and the trunk leans, so that the body stays above the feet; past
    the ankle's range the heels rise and the toes extend."""
    depth, apart = draw.between(0.05, 1.0), draw.between(2, 26)
    tilt = 10 + 24 * torch.sin(0.85 * math.pi * depth) + draw.normal(std=4)
    thigh, shank = 6 + 92 * depth**0.9, 5 + 32 * torch.tanh(1.5 * depth) + draw.normal(std=4)
    hip = (thigh + tilt)[:, None] + draw.normal(2, std=3)
    knee = (thigh + shank)[:, None] + draw.normal(2, std=3)
    level = tilt[:, None] - hip + knee
    dorsiflexion = flat_foot(tilt, hip, knee)
    return Legs(
        hip_flexion=hip,
        hip_abduction=(apart * (0.5 + 0.5 * depth))[:, None] + draw.normal(2, std=2),
        hip_external=(4 + 0.6 * apart)[:, None] + draw.normal(2, std=3),
        knee_flexion=knee,
        dorsiflexion=dorsiflexion,
        toe_extension=(level - dorsiflexion) * 0.9 + draw.normal(2, std=2),
        pelvis_tilt=tilt,
        pelvis_list=draw.normal(std=2),
        pelvis_turn=draw.normal(std=2),
        spine_flexion=6 + 16 * depth + draw.normal(std=7),
        spine_bend=draw.normal(std=3),
        spine_twist=draw.normal(std=7),
    )


def lunge(draw: Draw) -> Legs:
    """One foot far ahead or on a step: the front leg folds and carries, the rear hip extends and its heel leaves the ground."""
    front, depth, rise = draw.side(), draw.between(0.1, 1.0)[:, None], draw.between(0, 1)[:, None]
    rear = 1 - front
    tilt = draw.normal(mean=7, std=4) + 10 * depth[:, 0]
    hip = front * (28 + 62 * depth + 18 * rise) + rear * (6 - 26 * depth * (1 - rise)) + draw.normal(2, std=3)
    knee = front * (18 + 80 * depth) + rear * (10 + 45 * depth**1.5 * (1 - 0.7 * rise)) + draw.normal(2, std=3)
    level = tilt[:, None] - hip + knee
    dorsiflexion = flat_foot(tilt, hip, knee)
    return Legs(
        hip_flexion=hip,
        hip_abduction=draw.pair(7, 5, 0.3),
        hip_external=draw.pair(6, 6, 0.3) + 8 * rear * depth,
        knee_flexion=knee,
        dorsiflexion=dorsiflexion,
        toe_extension=(level - dorsiflexion) * 0.7 + draw.normal(2, std=2),
        pelvis_tilt=tilt,
        pelvis_list=draw.normal(std=3) + 3 * (front[:, 0] - rear[:, 0]),
        pelvis_turn=-7 * depth[:, 0] * (front[:, 0] - rear[:, 0]) + draw.normal(std=3),
        spine_flexion=8 * depth[:, 0] + draw.normal(std=6),
        spine_bend=draw.normal(std=4),
        spine_twist=6 * depth[:, 0] * (front[:, 0] - rear[:, 0]) + draw.normal(std=8),
    )


def bend(draw: Draw) -> Legs:
    """Bending forward in lumbopelvic rhythm (Esola et al., Spine 21, 1996): first the spine, later the pelvis over legs whose hips
    move back."""
    lean = draw.between(15, 125)
    spine = 62 * torch.tanh(lean / 75) + draw.normal(std=4)
    tilt = lean - spine
    soft = draw.between(0, 0.45)[:, None]
    knee = 3 + soft * lean[:, None] + draw.normal(2, std=2)
    hip = tilt[:, None] + 0.6 * knee + 0.07 * lean[:, None] + draw.normal(2, std=2)
    turn = draw.normal(std=0.6)
    return Legs(
        hip_flexion=hip,
        hip_abduction=draw.between(-1, 20)[:, None] + draw.normal(2, std=1.5),
        hip_external=draw.pair(7, 5, 0.5),
        knee_flexion=knee,
        dorsiflexion=flat_foot(tilt, hip, knee),
        toe_extension=draw.normal(2, mean=2, std=2),
        pelvis_tilt=tilt,
        pelvis_list=draw.normal(std=2),
        pelvis_turn=2 * turn,
        spine_flexion=spine,
        spine_bend=-6 * turn + draw.normal(std=3),
        spine_twist=16 * turn + draw.normal(std=4),
    )
