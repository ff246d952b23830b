"""What every generator of built-in motions gives."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Motion:
    """One person over time, y up, the floor at y = 0.

    Attributes:
        pose: (T, 22, 3) float64 rotation vectors of the body's joints in radians, the root's relative to the world.
        pelvis: (T, 3) metres.
        stature: metres; with `body.builtin.rest_joints(stature)` the joints are where pose and pelvis have them.
        kind: what the person does.
    """

    pose: Tensor
    pelvis: Tensor
    stature: float
    kind: str
