"""What depth maps show of people on frames on which nobody tracked them."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from pose_priors.refinement.given.problem import NUM_SKIN_POINTS, Problem
from pose_priors.refinement.solve.gaps import ExpectedInGaps
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.surface import Held, Met, Off, beside_points, body_joints, off_skin, skin_of, untracked
from pose_priors.refinement.solve.terms.base import Term, num_visible
from pose_priors.refinement.solve.terms.kernels import geman_mcclure


class UntrackedSurface(Term):
    """The ray through every point of the surface meets skin there, and no joint stands out beside what was seen.

    Bones are as thick as they were on the frames beside. A body is where depth maps show no free space (Ganapathi et al., "Real-time human
    pose tracking from range data", ECCV 2012). All points of a frame count as often as it has joints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    name: ClassVar[str] = "untracked"
    expected: ExpectedInGaps
    sigma_ratio: float
    """Noise of a reading, as a fraction of its depth."""
    sigma_thickness: float = 0.03
    """How well a body's thickness is known, in metres."""
    sigma_outline: float = 0.03
    """How well its outline is, which points trace only roughly, in metres."""
    bound: float = 5.0
    """Error in sigmas at which the kernel has reached half of its bound."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        shown, body, held = untracked(problem), body_joints(problem), self.expected.held(scene, problem)
        points, joints = skin_of(shown, scene)
        found, sigma = self.off(points, joints, held.met)
        fits = geman_mcclure((found.metres / sigma).square(), self.bound**2).sum() * (len(body) / NUM_SKIN_POINTS)
        stays = geman_mcclure(self.outside(points, joints[:, body], held).square(), self.bound**2) * held.tells
        return (fits + stays.sum()) / num_visible(problem)

    def off(self, points: Tensor, joints: Tensor, met: Met) -> tuple[Off, Tensor]:
        """How far points of the skin are off, of all points and joints of `surface.skin_of`, and (F, N) its width in metres."""
        skin = points[:, :NUM_SKIN_POINTS]
        ahead = ((self.sigma_ratio * skin[..., 2]).square() + self.sigma_thickness**2).sqrt()
        return off_skin(skin, joints, met), torch.where(met.meets, ahead, self.sigma_outline)

    def outside(self, points: Tensor, joints: Tensor, held: Held) -> Tensor:
        """(F, B) how far joints (F, B, 3) are beside all points, in units of its width, beyond one of them."""
        return (beside_points(joints, points, held.nearest, held.depth) / self.sigma_outline - 1).clamp_min(0)
