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
_FASTEST_M = _FARTHEST_M / (_FADE + 1)  # that what a foot is moved by changes from one frame to the next, towards frames that are seen
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
    """(T, 2) how a foot's path over the floor (T, 2) changes: the mean of what its contacts ask for, by weights that fade outside of them,
    so that it goes on from one to the next however near they are."""
    change, weight = torch.zeros_like(path), torch.zeros_like(path[:, :1])
    ends = torch.nn.functional.pad(touching.int(), (1, 1)).diff().nonzero()[:, 0].tolist()
    frames = torch.arange(len(path), device=path.device)
    for first, last in [pair for number, pair in enumerate(pairwise(ends)) if number % 2 == 0]:
        run = slice(first, last)
        if not free[run].any():
            continue
        # where both ends of a contact are seen, what has slid between them is spread over it
        apart = _anchor(path[run], ~free[run]) - path[run]
        farthest = torch.linalg.vector_norm(apart, dim=-1).max()
        if farthest > _FARTHEST_M:
            continue
        nearest = frames.clamp(first, last - 1)
        outside = frames != nearest
        own = (1 - (frames - nearest).abs() / (_FADE + 1)).clamp_min(0).to(path)
        seen = (outside & ~free).nonzero()[:, 0]
        if len(seen):  # they stay, so that a foot is there when they come
            own = own.minimum((frames[:, None] - seen).abs().amin(1) * (_FASTEST_M / farthest.clamp_min(1e-9)))
        change, weight = change + own[:, None] * apart[nearest - first], weight + own[:, None]
    return change / weight.clamp_min(1) * free[:, None]


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
