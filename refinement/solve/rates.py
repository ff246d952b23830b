"""What changes with the frame rate: motion is the same at all of them, noise from frame to frame is not."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.body.motion_state import FPS

USUAL_FPS = FPS
"""Up to which the sub-stages find their way from noise as it is."""


def beyond_usual(fps: float) -> float:
    """How many times the usual frame rate this one is, at least 1."""
    return max(fps / USUAL_FPS, 1.0)


def within(frames: Tensor, seconds: float, fps: float) -> Tensor:
    """Bool, which of the frames, along the last dimension of (N, T) or (N, C, T), are no more seconds than these from one that is true."""
    reach = round(seconds * fps)
    return torch.nn.functional.max_pool1d(frames.float(), 2 * reach + 1, 1, reach) > 0
