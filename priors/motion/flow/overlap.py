"""Motions of any length by windows that overlap: cut, and put together again so that nothing jumps where one ends."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.priors.motion.flow.view import Motion, Noise


def window_starts(num_frames: int, length: int) -> list[int]:
    """First frames of windows that cover a motion, half a window apart or less; the last ends where the motion ends."""
    if num_frames <= length:
        return [0]
    count = -(-(num_frames - length) // max(1, length // 2))
    return [round(i * (num_frames - length) / count) for i in range(count + 1)]


def padded(motion: Motion, noise: Noise, length: int) -> tuple[Motion, Noise]:
    """A motion that is shorter than a window with frames behind it of which nothing is seen."""
    missing = length - motion.joints.shape[1]
    if missing <= 0:
        return motion, noise

    def longer(value: Tensor, fill: float | None) -> Tensor:
        last = value[:, -1:].expand(-1, missing, *value.shape[2:])
        return torch.cat([value, last if fill is None else torch.full_like(last, fill)], 1)

    contacts = None if motion.contacts is None else longer(motion.contacts, None)
    hidden = Noise(*(longer(value, torch.inf) for value in (noise.rotations, noise.joints, noise.contacts, noise.path)))
    return Motion(longer(motion.rotations, None), longer(motion.joints, None), contacts), hidden


def cut(motion: Motion, noise: Noise, starts: Sequence[int], length: int) -> tuple[Motion, Noise]:
    """The windows of a motion (B, T, ...), window by window: (W B, length, ...)."""

    def pieces(value: Tensor) -> Tensor:
        return torch.cat([value[:, first : first + length] for first in starts])

    contacts = None if motion.contacts is None else pieces(motion.contacts)
    return (
        Motion(pieces(motion.rotations), pieces(motion.joints), contacts),
        Noise(pieces(noise.rotations), pieces(noise.joints), pieces(noise.contacts), pieces(noise.path)),
    )


def joined(values: Tensor, starts: Sequence[int], num_frames: int) -> Tensor:
    """The inverse of `cut` for one tensor (W B, length, ...): where windows overlap, their mean by weights that fall to nothing at the ends
    of a window, so that no window begins or ends with a jump; 0 where there is no window."""
    windows = values.unflatten(0, (len(starts), -1))
    length = values.shape[1]
    at = torch.arange(length, device=values.device, dtype=values.dtype)
    ramp = (torch.minimum(at, length - 1 - at) + 1e-3).view(-1, *[1] * (values.dim() - 2))
    total = values.new_zeros(windows.shape[1], max(num_frames, length), *values.shape[2:])
    weight = values.new_zeros(max(num_frames, length), *[1] * (values.dim() - 2))
    for first, window in zip(starts, windows, strict=True):
        total[:, first : first + length] += ramp * window
        weight[first : first + length] += ramp
    return (total / weight.clamp_min(1e-9))[:, :num_frames]


def joined_rotations(values: Tensor, starts: Sequence[int], num_frames: int) -> Tensor:
    """`joined` of rotation matrices (W B, length, 22, 3, 3): the rotations nearest to their mean."""
    mean: Tensor = conversions.special_procrustes(joined(values, starts, num_frames))
    return mean
