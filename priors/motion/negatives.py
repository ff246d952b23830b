"""Negatives: motions that are nearly right, which a motion prior is shown so that it can tell the right speed, scale, height and direction
of time.

Each is a real window with one thing wrong: played backwards, at another speed, above or below the floor, its path at another scale while
the body keeps its size, or carried along by a wrong camera.
"""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import FPS
from pose_priors.priors.motion.transition import check_windows

# shares of the kinds, in the order in which the module names them
_SHARES = (0.17, 0.42, 0.13, 0.20, 0.08)
# of the logarithm of speed and of scale: nearer to one than the least nobody could tell, by more than the most nobody would confuse
_SPEED, _SCALE = (0.10, 0.69), (0.05, 0.50)
_HEIGHT_M = (0.03, 0.15)
_SLOWER = 0.65  # of those at another speed: slow is harder to tell than fast
_LIFTED = 0.7  # of those at another height; the others are sunk
_DRIFT_M_S = (0.05, 0.50)


def num_source_frames(num_frames: int) -> int:
    """Frames that `negative_motions` needs to make windows of so many: those that the fastest runs through, and one on each side."""
    return math.ceil((num_frames - 1) * math.exp(_SPEED[1])) + 3


def central(windows: MotionWindows, num_frames: int) -> MotionWindows:
    """The frames in the middle of each window; raises as `check_windows`."""
    check_windows(windows)
    first = (windows.pose.shape[1] - num_frames) // 2
    at = slice(first, first + num_frames)
    return MotionWindows(windows.pose[:, at], windows.pelvis[:, at], windows.rest, windows.contacts[:, at])


def negative_motions(windows: MotionWindows, num_frames: int, generator: torch.Generator | None = None) -> MotionWindows:
    """One negative window of `num_frames` for each window of `num_source_frames(num_frames)`. The contacts are those of the real motion.

    Args:
        generator: where the randomness comes from; on the windows' device.
    """
    pose, size = windows.pose, len(windows)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(size, generator=generator, device=pose.device)

    def either_way(limits: tuple[float, float], smaller: float) -> Tensor:
        sign = torch.where(uniform(0, 1) < smaller, -1.0, 1.0)
        return (sign * uniform(*limits)).exp()

    kind = torch.bucketize(uniform(0, 1), torch.tensor(_SHARES, device=pose.device).cumsum(0)[:-1])
    speed = torch.where(kind == 0, -1.0, torch.where(kind == 1, either_way(_SPEED, _SLOWER), 1.0))
    frames = torch.arange(num_frames, device=pose.device) - (num_frames - 1) / 2
    at = (pose.shape[1] - 1) / 2 + frames * speed[:, None]
    at = torch.where(speed[:, None].abs() == 1, at.floor(), at)  # whole frames stay what they are
    turned, moved = at_times(windows, at)

    height = uniform(*_HEIGHT_M) * torch.where(uniform(0, 1) < _LIFTED, 1.0, -1.0)
    scale = torch.where(kind == 3, either_way(_SCALE, 0.5), 1.0)
    heading, drift = uniform(0, 2 * math.pi), uniform(*_DRIFT_M_S) * (kind == 4)
    path = moved[..., :2] * scale[:, None, None]
    path = path + torch.stack([heading.cos(), heading.sin()], -1)[:, None] * drift[:, None, None] * (frames / FPS)[None, :, None]
    pelvis = torch.cat([path, moved[..., 2:] + (height * (kind == 2))[:, None, None]], -1)
    return MotionWindows(turned, pelvis, windows.rest, central(windows, num_frames).contacts)


def at_times(windows: MotionWindows, at: Tensor) -> tuple[Tensor, Tensor]:
    """Pose (B, N, 22, 3) and pelvis (B, N, 3) at times (B, N) in frames, by Catmull-Rom splines, of quaternions for the rotations.

    Smooth, so that a motion at another speed cannot be told by the corners of a linear interpolation.
    """
    length = windows.pose.shape[1]
    left = at.floor().clamp(0, length - 2)
    u = (at - left)[..., None]
    rows = torch.arange(len(at), device=at.device)[:, None]
    index = [(left.long() + k).clamp(0, length - 1) for k in (-1, 0, 1, 2)]
    weights = [
        ((-0.5 * u + 1.0) * u - 0.5) * u,
        (1.5 * u - 2.5) * u * u + 1.0,
        ((-1.5 * u + 2.0) * u + 0.5) * u,
        (0.5 * u - 0.5) * u * u,
    ]
    pelvis = reduce(torch.add, [w * windows.pelvis[rows, i] for w, i in zip(weights, index, strict=True)])
    quats = [conversions.rotvec_to_unitquat(windows.pose[rows, i]) for i in index]
    mixed = torch.zeros_like(quats[1])
    for weight, quat in zip(weights, quats, strict=True):
        near = (quat * quats[1]).sum(-1, keepdim=True) >= 0
        mixed = mixed + weight[..., None] * torch.where(near, quat, -quat)
    return conversions.unitquat_to_rotvec(mixed / mixed.norm(dim=-1, keepdim=True)), pelvis
