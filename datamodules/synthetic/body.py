"""Synthetic bodies: an activity of the legs and one of the arms, coupled through trunk, gaze and gravity, and the joints they make."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.builtin import rest_joints
from pose_priors.body.skeleton import index_of
from pose_priors.datamodules.synthetic.arms import Arms, arms_at, hang, rest, wrists
from pose_priors.datamodules.synthetic.draw import Draw
from pose_priors.datamodules.synthetic.legs import Legs, bend, lunge, sit, squat, stand, walk_or_run

# how often legs stand, walk or run, sit, squat, lunge and bend
_LEG_WEIGHTS = torch.tensor([0.26, 0.26, 0.16, 0.10, 0.10, 0.12], dtype=torch.float64)
_ARMS = ("hang", "swing", "reach", "both", "gesture", "rest")
# for each activity of the legs, how often the arms do what
_ARM_WEIGHTS = torch.tensor(
    [
        [0.30, 0.00, 0.22, 0.18, 0.22, 0.08],
        [0.00, 0.80, 0.10, 0.05, 0.05, 0.00],
        [0.04, 0.00, 0.22, 0.20, 0.22, 0.32],
        [0.20, 0.00, 0.20, 0.40, 0.12, 0.08],
        [0.30, 0.10, 0.25, 0.20, 0.15, 0.00],
        [0.30, 0.00, 0.30, 0.32, 0.08, 0.00],
    ],
    dtype=torch.float64,
)
_Angles = TypeVar("_Angles", Legs, Arms)

_JOINTS = rest_joints()
_HALF_SHOULDERS = float(_JOINTS[index_of("left_shoulder"), 0])
_EYES_ABOVE_SHOULDERS = float(_JOINTS[index_of("left_eye_smplhf"), 1] - _JOINTS[index_of("left_shoulder"), 1])


@dataclass(frozen=True)
class Bodies:
    """Whole bodies without hands and face."""

    pose: Tensor
    """(n, 22, 3) float64 rotation vectors in radians; the root's x-y-z turn of the pelvis without heading."""
    gaze: Tensor
    """(n, 2) where the eyes look beyond the head's own turn: to the left, and down, in degrees."""
    closing: Tensor
    """(n, 2) how much the activity closes each hand, about -1 to 1."""


def body_poses(num_poses: int, generator: torch.Generator) -> Bodies:
    """Draws bodies; each activity of the legs and of the arms is a continuous family, and some pairs are more common than others."""
    draw = Draw(num_poses, generator)
    legs_of = torch.multinomial(_LEG_WEIGHTS, num_poses, replacement=True, generator=generator)
    arms_of = torch.multinomial(_ARM_WEIGHTS[legs_of], 1, generator=generator)[:, 0]

    moving_legs, swing = walk_or_run(draw)
    legs = _choose(legs_of, [stand(draw), moving_legs, sit(draw), squat(draw), lunge(draw), bend(draw)])
    lean = legs.pelvis_tilt + legs.spine_flexion
    target = {name: wrists(draw, name, lean) for name in ("reach", "both", "gesture")}
    arms = _choose(arms_of, [hang(draw, lean), swing, *(arms_at(draw, name, target[name]) for name in target), rest(draw)])

    # people look at their hands when they use them, and around otherwise
    look = draw.normal(2) * torch.tensor([26.0, 13.0], dtype=torch.float64)
    for name, attention in (("reach", 0.75), ("both", 0.75), ("gesture", 0.25)):
        weight = attention * (arms_of == _ARMS.index(name)).double()[:, None]
        look = (1 - 0.6 * weight) * look + weight * _direction_from_eyes(target[name])
    return joined(draw, legs, arms, look)


def joined(draw: Draw, legs: Legs, arms: Arms, look: Tensor) -> Bodies:
    """Bodies of given legs, trunks and arms.

    Args:
        look: (n, 2) where they look, from straight ahead of the trunk: to the left, and down, in degrees.
    """
    head, gaze = _head(draw, look, legs, legs.pelvis_tilt + legs.spine_flexion)
    return Bodies(torch.cat([_lower(draw, legs), head, _upper(draw, arms)], 1)[:, _ORDER], gaze, arms.closing)


def _choose(which: Tensor, options: list[_Angles]) -> _Angles:
    """Row by row, the option that `which` (n,) names."""
    rows = torch.arange(len(which))
    kind = type(options[0])
    return kind(**{f.name: torch.stack([getattr(option, f.name) for option in options])[which, rows] for f in fields(kind)})


def _direction_from_eyes(wrist: Tensor) -> Tensor:
    """Where the busier hand is seen: wrists (n, 2, 3) from the shoulders -> (n, 2) degrees to the left and down. The busier hand, smoothly,
    is the one further forward and up."""
    busy = torch.softmax(12 * (wrist[..., 1] + wrist[..., 2]), -1)
    from_middle = (wrist[..., 0] + _HALF_SHOULDERS) * torch.tensor([1.0, -1.0], dtype=torch.float64)
    left, up, forward = ((busy * x).sum(-1) for x in (from_middle, wrist[..., 1], wrist[..., 2]))
    return torch.rad2deg(torch.atan2(torch.stack([left, _EYES_ABOVE_SHOULDERS - up], -1), forward.clamp_min(0.15)[:, None]))


def _turn(axis: str, degrees: Tensor) -> Tensor:
    """Unit quaternions (..., 4) of rotations about one coordinate axis."""
    half = degrees.deg2rad() / 2
    parts = {name: torch.zeros_like(half) for name in "xyz"} | {axis: torch.sin(half)}
    return torch.stack([*parts.values(), torch.cos(half)], -1)


def _rotvec(*turns: Tensor) -> Tensor:
    """Rotation vectors (..., 3) of a product of unit quaternions, the last applied first."""
    product = turns[0]
    for turn in turns[1:]:
        product = conversions.quat_product(product, turn)
    rotvec: Tensor = conversions.unitquat_to_rotvec(product)
    return rotvec


def _both_sides(left_like: Tensor) -> Tensor:
    """(n, 2, 3) rotation vectors, both described as left -> the right one in the mirror."""
    return left_like * left_like.new_tensor([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0]])


_LOWER = ("pelvis", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_foot", "right_foot")
_MIDDLE = ("spine1", "spine2", "spine3", "neck", "head")
_UPPER = tuple(f"{side}_{joint}" for joint in ("collar", "shoulder", "elbow", "wrist") for side in ("left", "right"))
_PLACES = {name: i for i, name in enumerate((*_LOWER, *_MIDDLE, *_UPPER))}
_ORDER = [place for _, place in sorted((index_of(name), place) for name, place in _PLACES.items())]


def _lower(draw: Draw, legs: Legs) -> Tensor:
    """(n, 9, 3): pelvis and legs."""
    pelvis = _rotvec(_turn("y", legs.pelvis_turn), _turn("z", -legs.pelvis_list), _turn("x", legs.pelvis_tilt))
    hip = _rotvec(_turn("x", -legs.hip_flexion), _turn("z", legs.hip_abduction), _turn("y", legs.hip_external))
    # the tibia turns inwards as the knee bends; the foot inverts as it points
    knee = torch.stack([legs.knee_flexion, -0.08 * legs.knee_flexion + draw.normal(2, std=2), 0.03 * legs.knee_flexion], -1).deg2rad()
    inversion = 3 - 0.25 * legs.dorsiflexion - 0.3 * legs.hip_abduction + draw.normal(2, std=3)
    ankle = torch.stack([-legs.dorsiflexion, 0.15 * legs.dorsiflexion + draw.normal(2, std=3), -inversion], -1).deg2rad()
    toes = torch.stack([-legs.toe_extension, 0.05 * legs.toe_extension, -0.1 * inversion], -1).deg2rad()
    return torch.cat([pelvis[:, None], *(_both_sides(joint) for joint in (hip, knee, ankle, toes))], 1)


def _head(draw: Draw, look: Tensor, legs: Legs, lean: Tensor) -> tuple[Tensor, Tensor]:
    """(n, 5, 3): spine, neck and head, which together turn to where one looks; and what is left to the eyes, (n, 2) in degrees."""
    # how the spine's angles are divided among its three joints varies a little from person to person
    share = torch.softmax(torch.tensor([0.35, 0.20, -0.15], dtype=torch.float64) + 0.15 * draw.normal(3), -1)
    twist = legs.spine_twist + 0.25 * look[:, 0]
    angles = torch.stack([legs.spine_flexion, twist, -legs.spine_bend], -1)
    # flexion is mostly lumbar, axial rotation mostly thoracic (White & Panjabi, "Clinical Biomechanics of the Spine", 1990)
    by_axis = torch.stack([share, share.flip(-1), share], -1)
    spine = (by_axis * angles[:, None]).deg2rad()

    left = look[:, 0] - 0.7 * twist
    # an upright head: much of the trunk's lean is taken back, unless one looks down
    down = look[:, 1] - 0.45 * lean
    turn, nod = 70 * torch.tanh(0.75 * left / 70), 50 * torch.tanh(0.75 * down / 50)
    tip = -0.5 * legs.spine_bend + 0.15 * turn + draw.normal(std=4)
    part = 0.45 + 0.05 * draw.normal(1)
    both = torch.stack([nod, turn, -tip], -1).deg2rad()
    head = torch.stack([part * both, (1 - part) * both], 1)
    return torch.cat([spine, head], 1), torch.stack([left - turn, down - nod], -1)


def _upper(draw: Draw, arms: Arms) -> Tensor:
    """(n, 8, 3): collars, shoulders, elbows, wrists.

    The collar takes its part of the arm's elevation: scapulohumeral rhythm, about one to two beyond the first 30 degrees (Inman, Saunders &
    Abbott, J. Bone Joint Surg. 26, 1944).
    """
    elevation = torch.hypot(arms.flexion, arms.abduction).clamp_min(1e-6)
    girdle = 40 * torch.special.ndtr((elevation - 95) / 45)
    forward, sideways = arms.flexion / elevation, arms.abduction / elevation
    shrug = girdle * (0.75 + 0.25 * sideways) - 7 + draw.pair(0, 3, 0.6)
    protraction = 12 * torch.tanh(arms.flexion / 60) - 8 * sideways * torch.sigmoid((elevation - 40) / 15) + draw.normal(2, std=3)
    collar = torch.stack([-0.2 * protraction + draw.normal(2, std=2), -protraction, shrug], -1).deg2rad()

    left_over = elevation - 0.85 * shrug
    swing = torch.stack([-forward * left_over, torch.zeros_like(elevation), sideways * left_over], -1).deg2rad()
    # the humerus turns outwards as it is raised, so that its greater tubercle clears the acromion
    internal = arms.internal - 25 * torch.special.ndtr((elevation - 110) / 25)
    internal = 80 * torch.tanh(internal / 80)
    shoulder = _rotvec(conversions.rotvec_to_unitquat(swing), _turn("z", torch.full_like(elevation, -90)), _turn("x", internal))

    # pronation is divided between elbow and wrist, as SMPL-X has no forearm twist
    share = 0.5 + 0.06 * draw.normal(2)
    elbow = _rotvec(_turn("y", -arms.elbow_flexion), _turn("x", -share * arms.supination))
    wrist = _rotvec(_turn("x", -(1 - share) * arms.supination), _turn("y", -arms.radial_deviation), _turn("z", arms.wrist_extension))
    return torch.cat([_both_sides(joint) for joint in (collar, shoulder, elbow, wrist)], 1)
