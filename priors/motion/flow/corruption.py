"""What training hides: windows of which some is seen exactly, some with noise of known size, and some not at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.priors.motion.flow.view import Motion, Noise

# shares of what is seen: all exactly, joints with noise, rotations with noise, nothing
_SEEN = (0.40, 0.30, 0.18, 0.12)
# shares of what is hidden of that: nothing, a run of frames, frames here and there, limbs, limbs in a run of frames
_HIDDEN = (0.22, 0.34, 0.08, 0.26, 0.10)
_JOINT_M, _ROTATION, _PELVIS_M = (0.004, 0.15), (0.008, 0.4), (0.002, 0.10)
_RUN = (3, 50)  # frames, at most what is left of a window but five on each side
_SHARE = (0.03, 0.4)
_ROOT_SEEN = 0.6  # of those whose joints are seen with noise: root rotation, and the pelvis, exactly
_FLOWING = 0.3
_CONTACTS_SEEN = 0.05
_FROM_PELVIS = 0.15  # whose place in the world is not known

_LEG = ("hip", "knee", "ankle", "foot")
_ARM = ("collar", "shoulder", "elbow", "wrist")


def _named(*ends: str, side: str = "") -> list[bool]:
    return [name.startswith(side) and name.endswith(ends) for name in JOINT_NAMES[:NUM_JOINTS]]


LIMBS = torch.tensor([_named(*ends, side=side) for ends in (_LEG, _ARM) for side in ("left", "right")])
"""(4, 22) bool, the joints of each leg and arm, hips and collars among them."""
_LIMBS = torch.tensor(
    [
        *(_named(*_LEG, side=side) for side in ("", "", "", "left", "right")),
        *(_named(*_ARM, side=side) for side in ("", "left", "right")),
        _named(*_ARM, "head", "neck", "spine1", "spine2", "spine3"),
        [joint > 0 for joint in range(NUM_JOINTS)],
        [joint == 0 for joint in range(NUM_JOINTS)],
    ]
)
"""(L, 22) sets of joints that are hidden together: legs three times as often, and all but the root, and the root alone."""


@dataclass(frozen=True)
class Corrupted:
    """What is seen of B windows.

    Attributes:
        motion: with noise where there is any.
        noise: how much.
        level: (B,) of a flow's noise in all features, in their standard deviations; infinite for none of it.
    """

    motion: Motion
    noise: Noise
    level: Tensor


def corrupt(motion: Motion, generator: torch.Generator | None = None) -> Corrupted:
    """A random part of windows, one kind each.

    Args:
        generator: where the randomness comes from, on the windows' device; None for torch's own.
    """
    rotations = motion.rotations
    size, num_frames = rotations.shape[:2]
    device, dtype = rotations.device, rotations.dtype

    def uniform(*shape: int) -> Tensor:
        return torch.rand(size, *shape, generator=generator, device=device, dtype=dtype)

    def normal(*shape: int) -> Tensor:
        return torch.randn(size, *shape, generator=generator, device=device, dtype=dtype)

    def between(limits: tuple[float, float]) -> Tensor:
        low, high = map(math.log, limits)
        return (low + (high - low) * uniform(1, 1)).exp()

    seen = _kind(_SEEN, uniform)[:, None, None]
    infinite = torch.tensor(torch.inf, device=device, dtype=dtype)
    by_rotation = torch.where(seen == 0, 0.0, torch.where(seen == 2, between(_ROTATION), infinite)).expand(-1, num_frames, NUM_JOINTS)
    by_joint = torch.where(seen == 0, 0.0, torch.where(seen == 1, between(_JOINT_M), infinite)).expand(-1, num_frames, NUM_JOINTS)
    by_rotation, by_joint = by_rotation.clone(), by_joint.clone()
    of_joints = seen[:, 0] == 1
    by_rotation[..., 0] = torch.where(of_joints & (uniform(1) < _ROOT_SEEN), 0.0, by_rotation[..., 0])
    by_joint[..., 0] = torch.where(of_joints & (uniform(1) < _ROOT_SEEN), 0.0, by_joint[..., 0])
    by_joint[..., 0] = torch.where(seen[:, 0] == 2, between(_PELVIS_M)[..., 0], by_joint[..., 0])

    hidden = hidden_parts(_HIDDEN, uniform, num_frames, rotations)
    by_rotation, by_joint = (value.masked_fill(hidden, torch.inf) for value in (by_rotation, by_joint))
    contacts = torch.where(uniform() < _CONTACTS_SEEN, 0.0, infinite)[:, None].masked_fill(hidden.all(-1), torch.inf)

    path = torch.where(uniform(1) < _FROM_PELVIS, infinite, 0.0).expand(-1, num_frames)

    time = torch.where(uniform() < 0.5, uniform(), torch.sigmoid(normal())).clamp(0.01, 0.99)
    flowing = (seen[:, 0, 0] == 3) | (uniform() < _FLOWING)
    level = torch.where(flowing, (1 - time) / time, infinite)
    turned = torch.where(by_rotation.isfinite(), by_rotation, 0.0)[..., None] * normal(num_frames, NUM_JOINTS, 3)
    moved = torch.where(by_joint.isfinite(), by_joint, 0.0)[..., None] * normal(num_frames, NUM_JOINTS, 3)
    noisy = Motion(rotations @ conversions.rotvec_to_rotmat(turned), motion.joints + moved, motion.contacts)
    return Corrupted(noisy, Noise(by_rotation, by_joint, contacts, path), level)


def _kind(shares: tuple[float, ...], uniform: Callable[..., Tensor]) -> Tensor:
    """(B,) numbers of kinds that have some shares."""
    at = uniform()
    return torch.bucketize(at, torch.tensor(shares, device=at.device, dtype=at.dtype).cumsum(0)[:-1])


def hidden_parts(shares: tuple[float, ...], uniform: Callable[..., Tensor], num_frames: int, like: Tensor) -> Tensor:
    """(B, T, 22) bool, joints that are hidden.

    Args:
        shares: of windows of which nothing is hidden, a run of frames, frames here and there, limbs, limbs in a run of frames.
        uniform: draws (B, *shape) in [0, 1).
        like: of the device.
    """
    kind = _kind(shares, uniform)
    longest = min(_RUN[1], num_frames - 10)
    length = (_RUN[0] + (longest - _RUN[0] + 1) * uniform(1)).floor()
    first = ((num_frames - length + 1) * uniform(1)).floor()
    frames = torch.arange(num_frames, device=like.device)
    run = (frames >= first) & (frames < first + length)
    some = uniform(num_frames) < _SHARE[0] + (_SHARE[1] - _SHARE[0]) * uniform(1)
    limbs = _LIMBS.to(like.device)[(len(_LIMBS) * uniform()).long()][:, None]
    kind = kind[:, None, None]
    hidden: Tensor = ((kind == 1) & run[..., None]) | ((kind == 2) & some[..., None]) | ((kind == 3) & limbs)
    return (hidden | ((kind == 4) & run[..., None] & limbs)).expand(-1, -1, NUM_JOINTS)
