"""Bodies as capsules around their bones, thick as people are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from pose_priors.body.builtin import rest_joints
from pose_priors.body.layout import layout
from pose_priors.body.skeleton import JOINT_NAMES, PARENTS, index_of

# Half the thickness of an adult of 1.70 m at each joint, metres: half of what a tape measures round hip, waist, chest, thigh, knee, calf,
# upper arm, wrist and neck, divided by pi, less what clothes and the second capsule beside it add. They say how a body looks, nothing else.
_RADII = {
    "pelvis": 0.11, "spine1": 0.105, "spine2": 0.11, "spine3": 0.115, "neck": 0.055, "head": 0.065,
    "hip": 0.085, "knee": 0.055, "ankle": 0.04, "foot": 0.032, "collar": 0.07, "shoulder": 0.055, "elbow": 0.042, "wrist": 0.03,
}  # fmt: skip
_FINGER, _PALM, _FACE = 0.01, 0.022, 0.03
_SKULL, _SKULL_ABOVE = 0.095, 0.075  # a ball, and how far above the joint of the head it stands
_HAND_M = 0.09  # from the wrist, of a body without fingers
_NUM_BODY = 22
_HEAD, _NECK = index_of("head"), index_of("neck")
_ARMS = ((index_of("left_elbow"), index_of("left_wrist")), (index_of("right_elbow"), index_of("right_wrist")))


@dataclass(frozen=True)
class Capsules:
    """K capsules of one person over n frames, whose ends may be of different thickness, and balls where both ends are in one place.

    Attributes:
        ends: (n, K, 2, 3) metres.
        radii: (K, 2) metres, at these ends.
    """

    ends: np.ndarray
    radii: np.ndarray


def capsules_of(joints: np.ndarray) -> Capsules:
    """A person's capsules: along each bone, a ball for the head, and hands where there are no fingers. Thickness goes with the length of
    the bones, so that a child is thinner than an adult.

    Args:
        joints: (n, J, 3) metres; J is 22, 24 or 55.
    """
    num_joints = joints.shape[1]
    parents = layout(num_joints).parents
    size = _size(joints)
    ends, radii = [], []
    for joint, parent in enumerate(parents[1:], start=1):
        # a skull covers the face, and SMPL's stub of a hand is longer below
        if num_joints == 55 and joint in (22, 23, 24):
            continue
        ends.append(joints[:, [parent, joint]])
        radii.append((_PALM if joint >= _NUM_BODY and parent < _NUM_BODY else _radius(parent), _radius(joint)))
    up = _direction(joints[:, _HEAD] - joints[:, _NECK])
    skull = joints[:, _HEAD] + size * _SKULL_ABOVE * up
    ends.append(np.stack([skull, skull], 1))
    radii.append((_SKULL, _SKULL))
    if num_joints != 55:
        for elbow, wrist in _ARMS:
            along = _direction(joints[:, wrist] - joints[:, elbow])
            ends.append(np.stack([joints[:, wrist], joints[:, wrist] + size * _HAND_M * along], 1))
            radii.append((_PALM, _PALM))
    return Capsules(np.stack(ends, 1), size * np.array(radii))


def _radius(joint: int) -> float:
    name = JOINT_NAMES[joint].removeprefix("left_").removeprefix("right_")
    if joint >= _NUM_BODY:
        return _FINGER
    return _RADII[name]


def _size(joints: np.ndarray) -> float:
    """How large a person is, as a part of the built-in skeleton: the median over frames of the length of all the body's bones."""
    above = list(PARENTS[1:_NUM_BODY])
    length = np.linalg.norm(joints[:, 1:_NUM_BODY] - joints[:, above], axis=-1).sum(1)
    return float(np.median(length) / _builtin_length())


@cache
def _builtin_length() -> float:
    rest = rest_joints().numpy()
    return float(np.linalg.norm(rest[1:_NUM_BODY] - rest[list(PARENTS[1:_NUM_BODY])], axis=-1).sum())


def _direction(along: np.ndarray) -> np.ndarray:
    unit: np.ndarray = along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    return unit
