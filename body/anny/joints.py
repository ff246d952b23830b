"""Where the joints of SMPL-X stand in Anny's body, and which phenotype has a skeleton's lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import least_squares

from pose_priors.body.anny.bones import BY_CONVENTION
from pose_priors.body.anny.model import PHENOTYPES, AnnyBody
from pose_priors.body.anny.turns import turns_to_rest
from pose_priors.body.anthropometry import stature
from pose_priors.body.builtin import ANKLE_HEIGHT, STATURE, rest_joints
from pose_priors.body.skeleton import JOINT_NAMES, PARENTS, index_of

_CARRIERS = [max(parent, 0) for parent in PARENTS]
_OF_CONVENTION = [joint for joint, name in enumerate(JOINT_NAMES) if name in BY_CONVENTION]
# Where both agree in the trunk's axes, by which the mean adults are put over each other.
_AGREE = [index_of(f"{side}_{name}") for side in ("left", "right") for name in ("shoulder", "eye_smplhf")] + [index_of("head")]
_SPANS = (
    ("left_hip", "left_knee"), ("left_knee", "left_ankle"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("left_wrist", "left_middle1"), ("left_hip", "right_hip"), ("left_collar", "left_shoulder"), ("pelvis", "neck"), ("neck", "head"),
)  # fmt: skip
# What bones tell of, and how widely people differ from the mean adult in it; a skeleton is silent on fat and muscle.
_SPREAD = {"age": 0.2, "height": 0.25, "proportions": 0.2}
_BOUNDS = {"age": (0.0, PHENOTYPES["age"]), "height": (0.0, 1.0), "proportions": (0.0, 1.0)}  # nobody shrinks by age
_LENGTH_SPREAD = 0.03  # by what share of them lengths of both skeletons differ in people of one phenotype
_STEP = 1e-3
_ADULT_M = 1.45  # hardly any adult is smaller; who is, is taken for a child


@dataclass(frozen=True)
class Convention:
    """How the mean adults of both fit over each other.

    Attributes:
        mean: the phenotype of Anny's mean adult, as tall as the built-in skeleton's.
        offset: (55, 3) metres of each joint of SMPL-X from the place that `AnnyBody.places` has for it, in the axes at rest of the joint
            that carries it; 0 where both agree.
        size: metres from the pelvis to the head of that adult in Anny.
    """

    mean: Mapping[str, float]
    offset: np.ndarray
    size: float


@cache
def convention(body: AnnyBody) -> Convention:
    """Of Anny's body and the built-in skeleton."""
    mean = dict(PHENOTYPES)
    for _ in range(3):  # stature is linear in this number, but for what the rest of the body does
        low, high = (np.ptp(body.vertices(mean | {"height": at})[:, 1]) for at in (0.0, 1.0))
        mean["height"] = float((STATURE - low) / (high - low))
    vertices, places = body.vertices(mean), body.places(mean)
    ours = rest_joints().numpy()
    sole = ours[index_of("left_ankle"), 1] - ANKLE_HEIGHT * STATURE
    forward = (places - ours)[_AGREE, 2].mean()
    over = ours + np.array([0, vertices[:, 1].min() - sole, forward])
    turns = turns_to_rest(places, ours)
    # in the trunk, which both have upright, by their places; in hand and foot from what carries them, which is turned
    in_trunk = [joint for joint in _OF_CONVENTION if (turns[_CARRIERS[joint]] == np.eye(3)).all()]
    in_limbs = [joint for joint in _OF_CONVENTION if joint not in in_trunk]
    offset = np.zeros_like(ours)
    offset[in_trunk] = (over - places)[in_trunk]
    bones, bones_of_anny = (at - at[_CARRIERS] for at in (ours, places))
    offset[in_limbs] = (bones - (turns[_CARRIERS] @ bones_of_anny[..., None])[..., 0])[in_limbs]
    return Convention(mean, offset, _size(places))


def joints_in(body: AnnyBody, phenotypes: Mapping[str, float], rest: np.ndarray) -> np.ndarray:
    """(55, 3) where the joints of SMPL-X stand in Anny's rest pose, metres.

    Args:
        rest: (55, 3) joints of the skeleton whose pose at rest the body is turned to.
    """
    known, found = convention(body), body.places(phenotypes)
    turns = turns_to_rest(found, rest)
    size = _size(found) / known.size
    joints: np.ndarray = found + size * (turns[_CARRIERS].swapaxes(1, 2) @ known.offset[..., None])[..., 0]
    return joints


def fit_phenotypes(body: AnnyBody, rest: np.ndarray) -> dict[str, float]:
    """The most probable phenotype given the lengths of a skeleton's bones, (55, 3) at rest; muscle and weight are the mean adult's, since
    bones are silent on them."""
    known = convention(body)
    names = [name for name in _SPREAD if name != "age" or stature(rest) < _ADULT_M]
    mean, spread = np.array([known.mean[name] for name in names]), np.array([_SPREAD[name] for name in names])
    # by what share both are longer than the mean adult, who has the same name in both
    wanted = _log_lengths(rest) - _log_lengths(rest_joints().numpy()) + _log_lengths(joints_in(body, known.mean, rest))

    def off(values: np.ndarray) -> np.ndarray:
        phenotypes = {**known.mean, **dict(zip(names, values.tolist(), strict=True))}
        lengths = _log_lengths(joints_in(body, phenotypes, rest))
        return np.concatenate([(lengths - wanted) / _LENGTH_SPREAD, (values - mean) / spread])

    low, high = np.array([_BOUNDS[name] for name in names]).T
    start = np.clip(mean, low + _STEP, high - _STEP)
    found = least_squares(off, start, bounds=(low, high), x_scale=spread, diff_step=_STEP).x
    return {**known.mean, **dict(zip(names, found.tolist(), strict=True))}


def _log_lengths(joints: np.ndarray) -> np.ndarray:
    ends = np.array([[index_of(a), index_of(b)] for a, b in _SPANS])
    lengths: np.ndarray = np.log(np.linalg.norm(joints[ends[:, 0]] - joints[ends[:, 1]], axis=-1))
    return lengths


def _size(joints: np.ndarray) -> float:
    return float(np.linalg.norm(joints[index_of("head")] - joints[index_of("pelvis")]))
