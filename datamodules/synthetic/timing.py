"""How movements begin and end: minimum-jerk ramps, what comes and goes, and the sway of people who stand still."""

from __future__ import annotations

import math

import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor


def ramp(at: Tensor, start: float, end: float) -> Tensor:
    """From 0 at `start` to 1 at `end` with the least jerk, at rest before and after (Flash & Hogan, J. Neuroscience 5, 1985)."""
    s = ((at - start) / (end - start)).clamp(0, 1)
    return s**3 * (10 - 15 * s + 6 * s**2)


def pulse(at: Tensor, start: float | Tensor, end: float) -> Tensor:
    """From 0 at `start` to 1 half way and back to 0 at `end`, with a continuous acceleration."""
    s = ((at - start) / (end - start)).clamp(0, 1)
    return 64 * (s * (1 - s)) ** 3


def wander(generator: torch.Generator, num_frames: int, width: float, *shape: int) -> Tensor:
    """(num_frames, *shape) smooth noise of zero mean and unit variance; `width` in frames is the filter's standard deviation."""
    pad = math.ceil(4 * width)
    noise = torch.randn(num_frames + 2 * pad, *shape, generator=generator, dtype=torch.float64).numpy()
    smooth = gaussian_filter1d(noise, width, axis=0)[pad : pad + num_frames]
    return torch.from_numpy(smooth * math.sqrt(2 * math.sqrt(math.pi) * max(width, 1 / (2 * math.sqrt(math.pi)))))


def smoothed(track: Tensor, width: float) -> Tensor:
    """A track (n, ...) after a Gaussian filter along time, of `width` frames."""
    return torch.from_numpy(gaussian_filter1d(track.numpy(), width, axis=0))
