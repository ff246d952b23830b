"""What arms do: wrists are put at places that an activity asks for, and two-link inverse kinematics in the trunk's frame finds the angles.

Angles are in degrees; sides are a dimension of size 2, left first, and both are described as a left side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.builtin import rest_joints
from pose_priors.body.skeleton import index_of
from pose_priors.datamodules.synthetic.draw import Draw


@dataclass(frozen=True)
class Arms:
    """Arms relative to the trunk, degrees, (n, 2) each. The humerus swings from hanging by (flexion, abduction) about a horizontal axis and
    turns inwards about itself by `internal`."""

    flexion: Tensor
    abduction: Tensor
    internal: Tensor
    elbow_flexion: Tensor
    supination: Tensor
    wrist_extension: Tensor
    radial_deviation: Tensor
    closing: Tensor
    """How much the activity closes the hand: -1 to 1."""


_JOINTS = rest_joints()
UPPER_ARM, FOREARM = (
    float((_JOINTS[index_of(f"left_{a}")] - _JOINTS[index_of(f"left_{b}")]).norm()) for a, b in (("elbow", "shoulder"), ("wrist", "elbow"))
)


def arms_towards(wrist: Tensor, swivel_deg: Tensor, supination: Tensor, extension: Tensor, deviation: Tensor, closing: Tensor) -> Arms:
    """Arms that bring the wrists to given places.

    Args:
        wrist: (n, 2, 3) in metres from the shoulder, in the trunk's frame (a left side: x lateral, y up, z forward); places out of
            reach are drawn in smoothly.
        swivel_deg: (n, 2) how far the elbow is turned outwards about the line from shoulder to wrist; 0 points it down and outwards.
        supination, extension, deviation, closing: (n, 2), taken over.
    """
    reach = UPPER_ARM + FOREARM
    length = wrist.norm(dim=-1)
    span = 0.998 * length / (1 + (length / reach) ** 24) ** (1 / 24)
    towards = wrist / length[..., None]
    # law of cosines: the elbow's angle, and the angle between humerus and the line to the wrist
    cos_inner = ((UPPER_ARM**2 + FOREARM**2 - span**2) / (2 * UPPER_ARM * FOREARM)).clamp(-1, 1)
    cos_lift = ((UPPER_ARM**2 + span**2 - FOREARM**2) / (2 * UPPER_ARM * span)).clamp(-1, 1)
    lift = torch.acos(cos_lift)[..., None]

    # No field of elbow directions is smooth for all directions of the wrist; this one breaks where wrists rarely are, across the body
    # above the other shoulder and low behind the side.
    below = wrist.new_tensor([0.8, -0.9, -0.5]).expand_as(wrist)
    below = torch.nn.functional.normalize(below - (below * towards).sum(-1, keepdim=True) * towards, dim=-1)
    outwards = torch.linalg.cross(towards, below)
    swivel = swivel_deg.deg2rad()[..., None]
    humerus = torch.cos(lift) * towards + torch.sin(lift) * (torch.cos(swivel) * below + torch.sin(swivel) * outwards)
    forearm = (span[..., None] * towards - UPPER_ARM * humerus) / FOREARM

    elevation = torch.acos((-humerus[..., 1]).clamp(-1, 1))
    horizontal = torch.nn.functional.normalize(humerus[..., [0, 2]], dim=-1)
    abduction, flexion = elevation * horizontal[..., 0], elevation * horizontal[..., 1]
    # the forearm bends towards the local z axis: its angle about the humerus, from where the swing alone would leave it
    swing = conversions.rotvec_to_rotmat(torch.stack([-flexion, torch.zeros_like(flexion), abduction], -1))
    hanging = conversions.rotvec_to_rotmat(wrist.new_tensor([0.0, 0.0, -math.pi / 2]))
    local = ((swing @ hanging).transpose(-1, -2) @ forearm[..., None])[..., 0]
    internal = torch.atan2(-local[..., 1], local[..., 2])
    elbow = math.pi - torch.acos(cos_inner)
    return Arms(
        flexion=flexion.rad2deg(),
        abduction=abduction.rad2deg(),
        internal=internal.rad2deg(),
        elbow_flexion=elbow.rad2deg(),
        supination=supination,
        wrist_extension=extension,
        radial_deviation=deviation,
        closing=closing,
    )


def wrists(draw: Draw, activity: str, lean: Tensor) -> Tensor:
    """(n, 2, 3) where the wrists are, from the shoulders, in the trunk's frame (lateral, up, forward), in metres."""
    if activity == "gesture":  # in front of the chest, the hands alike
        shared = draw.normal(1, 3) * torch.tensor([0.05, 0.09, 0.06], dtype=torch.float64)
        own = draw.normal(2, 3) * torch.tensor([0.08, 0.08, 0.06], dtype=torch.float64)
        return torch.tensor([-0.01, -0.26, 0.27], dtype=torch.float64) + shared + own
    azimuth = draw.normal(1, mean=8, std=26) * torch.tensor([1.0, 1.0 if activity == "reach" else -1.0], dtype=torch.float64)
    height = draw.normal(1, mean=-8, std=36) - 0.2 * lean[:, None]
    distance = draw.between(0.22, 0.60, 1)
    # with both hands on one thing, its width lies between them
    azimuth = 0.35 * azimuth + draw.pair(0, 5, 0.7) if activity == "both" else azimuth + draw.normal(2, std=6)
    azimuth, height = azimuth.deg2rad(), (height + draw.normal(2, std=5)).deg2rad()
    height = 1.35 * torch.tanh(height / 1.35)
    direction = torch.stack([torch.sin(azimuth) * torch.cos(height), torch.sin(height), torch.cos(azimuth) * torch.cos(height)], -1)
    wrist = distance[..., None] * direction * (1 + 0.05 * draw.normal(2, 1))
    if activity == "both":
        return wrist
    # the other arm of a one-handed reach balances low at its side
    side = draw.side()[..., None]
    idle = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64) * 0.16 + 0.47 * _down(lean)[:, None] + 0.05 * draw.normal(2, 3)
    return side * wrist + (1 - side) * idle


def arms_at(draw: Draw, activity: str, wrist: Tensor) -> Arms:
    """Arms whose wrists are at given places: the elbow goes out as the hand rises, the hand extends as it reaches out."""
    distance, height = wrist.norm(dim=-1), wrist[..., 1]
    alike = 0.7 if activity == "both" else 0.4
    return arms_towards(
        wrist,
        swivel_deg=draw.pair(-22, 14, alike) + 40 * (height + 0.3),
        supination=draw.pair(-8 if activity == "both" else -20, 32, alike) + 25 * height,
        extension=draw.pair(4, 13, alike) + 30 * (distance - 0.3),
        deviation=draw.pair(0, 7, alike) - 10 * height,
        closing=draw.pair(0.2, 0.6, 0.5) - 1.5 * (distance - 0.35),
    )


def _down(lean: Tensor) -> Tensor:
    """Unit vectors (n, 3) that point to the ground, in the frame of a trunk that leans forward by (n,) degrees."""
    angle = lean.deg2rad()
    return torch.stack([torch.zeros_like(angle), -torch.cos(angle), torch.sin(angle)], -1)


def hang(draw: Draw, lean: Tensor) -> Arms:
    """Arms that hang as gravity has them: down in the world, hence forward of a leaning trunk."""
    stretched = draw.pair(0.985, 0.02, 0.6)[..., None]
    aside = torch.stack([draw.pair(0.10, 0.035, 0.6), torch.zeros(len(lean), 2, dtype=torch.float64), draw.pair(0, 0.06, 0.3)], -1)
    return arms_towards(
        (UPPER_ARM + FOREARM) * stretched * (_down(0.9 * lean)[:, None] + aside),
        swivel_deg=draw.pair(-50, 9, 0.5),
        supination=draw.pair(-12, 12, 0.6),
        extension=draw.pair(-4, 8, 0.5),
        deviation=draw.pair(1, 4, 0.5),
        closing=draw.pair(0, 0.3, 0.7),
    )


def rest(draw: Draw) -> Arms:
    """Hands on the lap, the thighs or the hips: near the body, palms down or inwards, elbows beside it."""
    high = torch.special.ndtr(draw.normal(1) * 1.5)
    centre = torch.tensor([-0.02, -0.38, 0.25], dtype=torch.float64) + high[..., None] * torch.tensor(
        [-0.03, 0.0, -0.2], dtype=torch.float64
    )
    spread = torch.tensor([0.05, 0.03, 0.06], dtype=torch.float64)
    wrist = centre + spread * (0.6 * draw.normal(1, 3) + 0.5 * draw.normal(2, 3))
    return arms_towards(
        wrist,
        swivel_deg=draw.pair(-30, 8, 0.6) + 25 * high,
        supination=draw.pair(-45, 14, 0.6) + 15 * high,
        extension=draw.pair(14, 12, 0.6) + 15 * high,
        deviation=draw.pair(-4, 6, 0.5),
        closing=draw.pair(0.1, 0.4, 0.6),
    )
