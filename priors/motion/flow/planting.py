"""Feet that carry stand still: where the prior says that a foot touches on frames that nobody has seen, it is held in one place."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from pose_priors.body.motion_state import CONTACT_JOINTS
from pose_priors.body.skeleton import JOINT_NAMES

_TOUCHING = 0.25  # probability; this and the distance below are those that slid least on validation clips
_FADE = 6  # frames over which a foot that is held comes from, or goes on to, where it was expected
_FARTHEST_M = 0.3  # that a foot is moved: beyond, what is called a contact is none
FEET = [(column, joint) for column, joint in enumerate(CONTACT_JOINTS) if JOINT_NAMES[joint].endswith(("ankle", "foot"))]
"""Where ankles and balls of the feet stand among contacts, and among joints."""


def held_feet(joints: Tensor, contacts: Tensor, hidden: Tensor) -> Tensor:
    """Where ankles and balls of the feet go so that they stand still, over the floor, while they touch.

    Args:
        joints: (B, T, 22, 3) metres.
        contacts: (B, T, 9) probabilities that `CONTACT_JOINTS` touch.
        hidden: (B, T, 22) bool, joints that may be moved.
    Returns:
        (B, T, 22, 3) metres to move joints by; zero but for feet that are hidden. A foot that touches on frames that are seen, too, stands
        where it stands there; others at their mean place. Heights stay.
    """
    change = torch.zeros_like(joints)
    for row in range(len(joints)):
        for column, joint in FEET:
            free = hidden[row, :, joint]
            if free.any():
                change[row, :, joint, :2] = _held(joints[row, :, joint, :2], contacts[row, :, column] > _TOUCHING, free)
    return change


def _held(path: Tensor, touching: Tensor, free: Tensor) -> Tensor:
    """(T, 2) how a foot's path over the floor (T, 2) changes."""
    change, weight = torch.zeros_like(path), torch.zeros_like(path[:, :1])
    ends = torch.nn.functional.pad(touching.int(), (1, 1)).diff().nonzero()[:, 0].tolist()
    frames = torch.arange(len(path), device=path.device)
    for first, last in [pair for number, pair in enumerate(pairwise(ends)) if number % 2 == 0]:
        run = slice(first, last)
        if not free[run].any():
            continue
        fixed = ~free[run]
        # where both ends of a contact are seen, what has slid between them is spread over it
        anchor = _anchor(path[run], fixed)
        apart = anchor - path[run]
        if torch.linalg.vector_norm(apart, dim=-1).max() > _FARTHEST_M:
            continue
        change[run], weight[run] = apart, 1.0
        for edge, outside in ((first, frames < first), (last - 1, frames >= last)):
            fade = (1 - (frames - edge).abs() / (_FADE + 1)).clamp_min(0) * outside
            stronger = fade[:, None] > weight
            change = torch.where(stronger, fade[:, None] * change[edge], change)
            weight = torch.where(stronger, fade[:, None], weight)
    return change * free[:, None]


def _anchor(path: Tensor, fixed: Tensor) -> Tensor:
    """(T, 2) where a foot stands on the frames of one contact: at its mean place; where frames are fixed, on the line between these."""
    if not fixed.any():
        return path.mean(0).expand_as(path)
    at = fixed.nonzero()[:, 0]
    frames = torch.arange(len(path), device=path.device)
    right = torch.searchsorted(at, frames).clamp_max(len(at) - 1)
    left = (right - (at[right] > frames).long()).clamp_min(0)
    span = (at[right] - at[left]).clamp_min(1)
    share = ((frames - at[left]) / span).clamp(0, 1)[:, None].to(path)
    return path[at[left]] + share * (path[at[right]] - path[at[left]])
