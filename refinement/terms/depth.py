"""The depth maps of the scene: what ties people to the scale of the cameras."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from refinement.problem import Problem
from refinement.scene import Scene
from refinement.terms.base import Term, geman_mcclure, per_person_frame


class DepthConsistency(Term):
    """Each joint stands its body's thickness behind the skin that the depth map shows inside the person's mask."""

    name: ClassVar[str] = "depth"
    sigma_ratio: float
    """Noise of a reading, as a fraction of its depth."""
    sigma_thickness: float = 0.02
    """How well a body's thickness is known, in metres."""
    bound: float = 10.0
    """Error in sigmas at which the kernel has reached half of its bound: an arm before the trunk, the edge of a mask."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        seen, thickness = problem.observations, problem.bodies.thickness[:, None]
        used = (seen.joint_depth_confidence > 0) & problem.visible[..., None] & torch.isfinite(thickness) & scene.facing
        expected = problem.start.alpha0 * seen.joint_depth + torch.nan_to_num(thickness)
        residual = torch.where(used, expected - scene.camera_joints[..., 2] / scene.growth, torch.zeros_like(expected))
        variance = (self.sigma_ratio * problem.start.alpha0 * seen.joint_depth).square() + self.sigma_thickness**2
        square = residual.square() / variance
        return per_person_frame(seen.joint_depth_confidence * geman_mcclure(square, self.bound**2), used, problem.visible)
