"""What changes with the frame rate: motion is the same at all of them, noise from frame to frame is not."""

from __future__ import annotations

from pose_priors.body.motion_state import FPS

USUAL_FPS = FPS
"""Up to which the sub-stages find their way from noise as it is."""


def beyond_usual(fps: float) -> float:
    """How many times the usual frame rate this one is, at least 1."""
    return max(fps / USUAL_FPS, 1.0)
