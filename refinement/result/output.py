"""What comes out of a refinement, in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

_OVER_TIME = ("global_orient", "body_pose", "pelvis", "joints", "contacts", "joint_sigma")


@dataclass(frozen=True)
class RefinementOutput:
    """The people after the refinement, the floor, the scale, and how it went; tensors on any device, of any float type.

    Attributes:
        global_orient: (P, T, 3) world.
        body_pose: (P, T, J - 1, 3).
        pelvis: (P, T, 3) metres, world.
        betas: (P, B).
        joints: (P, T, J, 3) metres, world.
        contacts: (P, T, C) in [0, 1], how surely each of C joints rests on the floor.
        ground_plane: (4,) up-facing unit normal n and d with n.x + d = 0, metric.
        scale_alpha: metric = scale_alpha * stage 1.
        scale_delta: scale_alpha = alpha0 (1 + scale_delta).
        results: the content of `refinement_results.json`.
        metrics: of `optimization_metrics.json`: per sub-stage and term the history over iterations.
        joint_sigma: (P, T, J) metres, the root mean square distance at which the true joint is to be expected, see `uncertainty`; None
            where nobody worked it out.
    """

    global_orient: Tensor
    body_pose: Tensor
    pelvis: Tensor
    betas: Tensor
    joints: Tensor
    contacts: Tensor
    ground_plane: Tensor
    scale_alpha: float
    scale_delta: float
    results: dict[str, Any]
    metrics: dict[str, Any]
    joint_sigma: Tensor | None = None

    def first(self, num_frames: int) -> RefinementOutput:
        """The same on the first frames alone: those of the clip, where it was padded."""
        there = {name: value for name in _OVER_TIME if (value := getattr(self, name)) is not None}
        return replace(self, **{name: value[:, :num_frames] for name, value in there.items()})
