"""The depth maps of the scene: what ties people to the scale of the cameras."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.noise import depth_bias_width
from pose_priors.refinement.solve.once import once
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.terms.base import Term, num_visible, per_person_frame
from pose_priors.refinement.solve.terms.kernels import geman_mcclure

_LEAST_WIDTH = 1e-6  # of a bias that is 0, and may be divided by

_ARRIVED = 5.0  # sigmas that the median reading is off by at most where a search has arrived: 0.5 to 2 are usual, 11 to 15 where it has not


class DepthConsistency(Term):
    """Each joint stands its body's thickness behind the skin that the depth map shows inside the person's mask.

    Depth maps err by person more than by pixel: all readings of one share a bias, as wide as depth and floor disagree.
    """

    name: ClassVar[str] = "depth"
    sigma_ratio: float
    """Noise of a reading, as a fraction of its depth."""
    sigma_thickness: float = 0.02
    """How well a body's thickness is known, in metres."""
    bound: float = 10.0
    """Error in sigmas at which the kernel has reached half of its bound: an arm before the trunk, the edge of a mask."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        residual, _, trust = self.residuals(scene, problem)
        values = geman_mcclure(residual * residual, self.bound**2)
        bias, frames = self.biases(scene, problem)
        count = num_visible(problem)
        return (0.5 * bias * bias * frames).sum() / count + per_person_frame(values, trust * scene.facing, count)

    def residuals(self, scene: Scene, problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
        """(P, T, J) in units of their widths, those widths in metres, and the trust in each."""
        reading, skin, sigma = _reading(problem), _behind_skin(problem), _sigma(problem, self.sigma_ratio, self.sigma_thickness)
        residual = reading * torch.exp(-scene.depth_bias)[:, None, None] + skin - scene.camera_joints[..., 2] / scene.growth
        return residual / sigma, sigma, _trust(problem)

    def biases(self, scene: Scene, problem: Problem) -> tuple[Tensor, Tensor]:
        """(P,) each person's bias in units of its width, and the frames on which it has a reading."""
        width, frames = _bias_width(problem)
        return scene.depth_bias / width, frames


@torch.no_grad()
def at_their_depths(scene: Scene, problem: Problem, sigma_ratio: float) -> bool:
    """Whether bodies stand where depth maps show them, as far as their readings and their thickness can be trusted: a search that ended
    early, far from there, tells nothing of anything else. True where there are no readings."""
    residual, _, trust = DepthConsistency(sigma_ratio=sigma_ratio).residuals(scene, problem)
    return not bool((trust > 0).any()) or float(residual[trust > 0].abs().median()) < _ARRIVED


@once
def _trust(problem: Problem) -> Tensor:
    """(P, T, J) confidence of readings, zero where nobody was seen or the body's thickness is not known."""
    confidence = problem.observations.joint_depth_confidence
    known = (confidence > 0) & problem.visible[..., None] & torch.isfinite(problem.bodies.thickness)[:, None]
    return torch.where(known, confidence, 0)


@once
def _reading(problem: Problem) -> Tensor:
    """(P, T, J) metres that the depth maps show, zero where they count for nothing, since they may be anything there."""
    return torch.where(_trust(problem) > 0, problem.start.alpha0 * problem.observations.joint_depth, 0)


@once
def _sigma(problem: Problem, ratio: float, thickness: float) -> Tensor:
    """(P, T, J) metres, the widths of residuals."""
    return ((ratio * _reading(problem)).square() + thickness**2).sqrt()


@once
def _bias_width(problem: Problem) -> tuple[Tensor, Tensor]:
    """(P,) how wide each person's bias is, above 0, and on how many frames there is a reading."""
    return depth_bias_width(problem).clamp_min(_LEAST_WIDTH), (_trust(problem) > 0).any(-1).sum(1)


@once
def _behind_skin(problem: Problem) -> Tensor:
    """(P, 1, J) metres at which the joints stand behind what is read."""
    return torch.nan_to_num(problem.bodies.thickness)[:, None]
