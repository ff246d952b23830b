"""Where the floor of a motion is, and which joints touch, by how the feet move."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.body.motion import steps
from pose_priors.body.motion_state import CONTACT_JOINTS
from pose_priors.body.skeleton import index_of

_TOES = [index_of("left_foot"), index_of("right_foot")]
# Rempe et al., ICCV 2021: a joint touches where it is low and moves by less than 5 mm in a frame of 30 a second.
_STEP_M = 0.005
_TOE_HEIGHT_M, _OTHER_HEIGHT_M = 0.04, 0.08
# Without frames on which a foot stands still, the floor is below this share of the lower foot's heights.
_LOWEST = 0.05


def find_floor(joints: Tensor, ball_height: float) -> float:
    """Height in metres of the floor: the median height of the sole under the lower ball of the feet while that ball stands still.

    Args:
        joints: (T, 22, 3) metres, z up.
        ball_height: metres that the ball of a flat foot stands above its sole.
    """
    height, step = joints[:, _TOES, 2], steps(joints)[:, _TOES]
    lower = height.argmin(1, keepdim=True)
    height, step = height.gather(1, lower)[:, 0], step.gather(1, lower)[:, 0]
    still = step < _STEP_M
    return float(height[still].median() if still.any() else height.quantile(_LOWEST)) - ball_height


def label_contacts(joints: Tensor) -> Tensor:
    """(T, 9) bool, which of `CONTACT_JOINTS` touch something at the floor, low and still: of joints (T, 22, 3), z up, floor at z = 0."""
    index = list(CONTACT_JOINTS)
    limit = torch.tensor([_TOE_HEIGHT_M if joint in _TOES else _OTHER_HEIGHT_M for joint in index]).to(joints)
    return (joints[:, index, 2] < limit) & (steps(joints)[:, index] < _STEP_M)
