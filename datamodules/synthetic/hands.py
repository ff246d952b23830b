"""Synthetic hands: grasp synergies over the fingers of the left hand; the right is one of these in a mirror.

A posture is a blend of a few hand shapes with two continuous synergies on top, after Santello, Flanders & Soechting, "Postural hand
synergies for tool use", J. Neuroscience 18(23), 1998: their first component closes knuckles and middle joints together, the second bends
the one while it straightens the other. Neighbouring fingers go together (enslavement: Zatsiorsky, Li & Latash, Exp. Brain Research 131,
2000), the last joint follows the middle one by two thirds (Rijpkema & Girard, "Computer animation of knowledge-based human grasping",
SIGGRAPH 1991), fingers close in as they bend, and the thumb opposes as the hand closes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.skeleton import index_of

# how closed each digit is (index, middle, ring, pinky, thumb), and how much knuckles lead over middle joints, in each hand shape
_SHAPES = torch.tensor(
    [
        [0.30, 0.34, 0.38, 0.40, 0.25, 0.0],  # relaxed
        [0.04, 0.04, 0.05, 0.08, 0.05, 0.0],  # open
        [0.92, 0.95, 0.95, 0.92, 0.80, 0.0],  # fist
        [0.55, 0.60, 0.60, 0.55, 0.60, 0.1],  # holding a cylinder
        [0.50, 0.35, 0.28, 0.22, 0.65, 0.3],  # pinch
        [0.08, 0.80, 0.85, 0.85, 0.65, 0.0],  # pointing
        [0.55, 0.58, 0.60, 0.60, 0.20, -0.5],  # hook
        [0.35, 0.35, 0.35, 0.35, 0.30, 0.6],  # flat fingers, bent knuckles
    ],
    dtype=torch.float64,
)
_SHAPE_WEIGHTS = torch.tensor([0.30, 0.16, 0.10, 0.14, 0.10, 0.07, 0.06, 0.07], dtype=torch.float64)
_FINGERS = ("index", "middle", "ring", "pinky")
# sideways directions of the fingers when the hand spreads, degrees towards the thumb
_SPREAD_DEG = torch.tensor([12.0, 2.0, -7.0, -16.0], dtype=torch.float64)


def hand_poses(closing: Tensor, generator: torch.Generator) -> Tensor:
    """Draws finger rotations.

    Args:
        closing: (n, 2) how much the body's activity closes the left and the right hand: 0 neutral, about -1 to 1.
        generator: source of all randomness.
    Returns:
        (n, 2, 15, 3) float64 rotation vectors of the left and the right hand, both as a left hand, joints in SMPL-X order.
    """
    n = len(closing)

    def normal(*shape: int) -> Tensor:
        return torch.randn(n, *shape, generator=generator, dtype=torch.float64)

    # the hands do the same in half of the poses
    shape = torch.multinomial(_SHAPE_WEIGHTS, 2 * n, replacement=True, generator=generator).view(n, 2)
    same = torch.rand(n, generator=generator) < 0.5
    shape[same, 1] = shape[same, 0]
    shared = normal(1, 2)
    synergy = 0.7 * shared + math.sqrt(1 - 0.7**2) * normal(2, 2)

    # each finger's own closing is a walk over neighbours, so that neighbours agree
    own = torch.cumsum(torch.cat([normal(2, 1) * 0.08, normal(2, 3) * 0.06], -1), -1)
    template = _SHAPES[shape]
    # a smooth map of the real line onto (0, 1): no pile at open or closed
    level = torch.logit(template[..., :4].clamp(0.03, 0.97)) + 0.55 * (synergy[..., :1] + 0.8 * closing[..., None]) + 4 * own
    closed = torch.sigmoid(level)
    lead = template[..., 5:] + 0.22 * synergy[..., 1:]

    knuckle = (-12 + 92 * closed) * (1 + 0.5 * lead) + 18 * lead
    middle = (3 + 97 * closed) * (1 - 0.6 * lead)
    last = 2 / 3 * middle - 6 * (1 - closed)
    # bent fingers lie side by side; straight ones spread, more in some poses
    spread = _SPREAD_DEG * (0.25 + 0.75 * torch.sigmoid(normal(2, 1) + 0.5 * normal(2, 1) * (1 - closed))) * (1 - closed)
    twist = -0.15 * _SPREAD_DEG * closed

    hand = torch.zeros(n, 2, 15, 3, dtype=torch.float64)
    first = index_of("left_index1")
    for i, name in enumerate(_FINGERS):
        at = index_of(f"left_{name}1") - first
        hand[..., at, 0], hand[..., at, 1], hand[..., at, 2] = twist[..., i], -spread[..., i], -knuckle[..., i]
        hand[..., at + 1, 2] = -middle[..., i]
        hand[..., at + 2, 2] = -last[..., i]

    # the thumb opposes the finger that is most needed for the shape, and bends with its own level and with the index
    own_thumb = torch.logit(template[..., 4].clamp(0.03, 0.97)) + 0.5 * synergy[..., 0] + 0.5 * closing + 0.5 * normal(2)
    thumb = torch.sigmoid(own_thumb)
    opposition = 50 * torch.sigmoid(own_thumb + 0.8 * (closed[..., 0] - 0.4)) - 8 + 4 * normal(2)
    reposition = 14 * torch.tanh(normal(2)) * (1 - thumb)
    bend = 4 + 38 * thumb * closed[..., 0].sqrt() + 3 * normal(2)
    tip = -8 + 62 * thumb * closed[..., 0] + 6 * synergy[..., 1] * (1 - thumb)
    flex, oppose, abduct = _thumb_axes()
    at = index_of("left_thumb1") - first
    hand[..., at, :] = opposition[..., None] * oppose + 0.3 * bend[..., None] * flex + reposition[..., None] * abduct
    hand[..., at + 1, :] = bend[..., None] * flex
    hand[..., at + 2, :] = tip[..., None] * flex
    return hand.deg2rad()


def _thumb_axes() -> tuple[Tensor, Tensor, Tensor]:
    """Axes about which the left thumb flexes across the palm, opposes (swings below the palm), and moves away from the index in the
    plane of the palm; unit vectors in the hand's rest frame, the first perpendicular to the thumb."""
    joints = rest_joints()
    along = joints[index_of("left_thumb3")] - joints[index_of("left_thumb2")]
    along = along / along.norm()
    # the pad of the thumb faces the palm and the little finger
    pad = torch.tensor([0.25, -0.55, -0.80], dtype=torch.float64)
    pad = pad - (pad @ along) * along
    flex = torch.linalg.cross(along, pad / pad.norm())
    oppose = torch.tensor([0.85, 0.25, -0.45], dtype=torch.float64)
    return flex, oppose / oppose.norm(), torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
