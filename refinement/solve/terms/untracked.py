"""What depth maps show of people on frames on which nobody tracked them."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from pose_priors.refinement.given.problem import NUM_SKIN_POINTS, Problem
from pose_priors.refinement.solve.gaps import ExpectedInGaps
from pose_priors.refinement.solve.scene import MIN_DEPTH, Scene
from pose_priors.refinement.solve.surface import OnBones, Shown, across, body_joints, on_bones, skin_of, untracked
from pose_priors.refinement.solve.terms.base import Term, num_visible
from pose_priors.refinement.solve.terms.kernels import geman_mcclure

_LOW_M = 0.12  # joints below are on the floor, as far as points tell


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
        shown, body = untracked(problem), body_joints(problem)
        points, joints = skin_of(shown, scene)
        found, sigma = self.met(points, joints, shown, problem)
        fits = geman_mcclure((found.off / sigma).square(), self.bound**2).sum() * (len(body) / NUM_SKIN_POINTS)
        outside = self.outside(points, joints[:, body])
        stays = geman_mcclure(outside.square(), self.bound**2) * tells(joints[:, body], shown, scene, problem)
        return (fits + stays.sum()) / num_visible(problem)

    def met(self, points: Tensor, joints: Tensor, shown: Shown, problem: Problem) -> tuple[OnBones, Tensor]:
        """What rays through the points of the skin meet, of all points and joints of `surface.skin_of`, and (F, N) the width in metres of
        what that is off by."""
        skin = points[:, :NUM_SKIN_POINTS]
        found = on_bones(skin, joints, shown, problem, self.expected.thicker)
        ahead = ((self.sigma_ratio * skin[..., 2]).square() + self.sigma_thickness**2).sqrt()
        return found, torch.where(found.meets, ahead, self.sigma_outline)

    def outside(self, points: Tensor, joints: Tensor) -> Tensor:
        """(F, B) how far joints (F, B, 3) are beside all points, in units of its width, beyond one of them."""
        return (across(joints, points) / self.sigma_outline - 1).clamp_min(0)


@torch.no_grad()
def tells(joints: Tensor, shown: Shown, scene: Scene, problem: Problem) -> Tensor:
    """(F, B) bool, which of the body's joints the surface would show: in the image, and not so low that the floor begins there."""
    cameras = problem.cameras
    pixels = joints[..., :2] / joints[..., 2:].clamp_min(MIN_DEPTH)
    intrinsics = cameras.intrinsics[shown.frames]
    pixels = pixels @ intrinsics[:, :2, :2].mT + intrinsics[:, None, :2, 2]
    high = (scene.joints[shown.people, shown.frames][:, body_joints(problem)] @ scene.normal + scene.offset) > _LOW_M
    inside = (pixels > 0) & (pixels < pixels.new_tensor(cameras.image_size))
    return inside.all(-1) & (joints[..., 2] > MIN_DEPTH) & high
