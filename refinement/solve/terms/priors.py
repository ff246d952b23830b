"""What bodies and poses are like before anything is seen."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from pose_priors.body.skeleton import NUM_JOINTS, PARTS
from pose_priors.priors.base import Prior
from pose_priors.refinement.given.problem import Bodies, Problem
from pose_priors.refinement.solve.once import once
from pose_priors.refinement.solve.scene import Scene, at_joints
from pose_priors.refinement.solve.terms.base import Term, num_visible, per_person_frame
from pose_priors.refinement.solve.terms.kernels import squared_norm


class ShapePrior(Term):
    """The body that stage 3 saw, on as many frames as it saw it."""

    name: ClassVar[str] = "beta"
    sigma_size: float = 0.01
    """Standard deviation of a body's log-size about stage 3's."""
    sigma_beta: float = 0.5
    """Standard deviation of a beta about stage 3's."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        energy = 0.5 * self.residuals(scene, problem).square().sum(-1)
        return per_person_frame(energy[:, None], problem.visible, num_visible(problem))

    def residuals(self, scene: Scene, problem: Problem) -> Tensor:
        """(P, B) changes in units of their widths."""
        sigma = self.sigma_beta if problem.bodies.shape_directions.shape[-1] else self.sigma_size
        return scene.shape / sigma / _wider(problem.bodies, self.sigma_size)


@once
def _wider(bodies: Bodies, sigma_size: float) -> Tensor:
    """(P, 1) how many times as wide each person's size may change as that of a body whose size is known."""
    return (1 + (bodies.size_width / sigma_size).square()).sqrt()[:, None]


class PosePrior(Term):
    """A trained prior's energy over the joints that it knows, or the distance from the zero pose where there is none."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    name: ClassVar[str] = "pose"
    prior: Prior | None = None
    sigma: float = 1.0
    """Without a prior: standard deviation in radians of each component of the body's rotations."""
    rate: float = 3.0
    """Poses a second that a prior scores, for all: those between are like them, and a flow costs more than all the rest together."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        if self.prior is None:
            body = at_joints(scene.rotvec, _body(problem.bodies))
            return per_person_frame(0.5 / self.sigma**2 * squared_norm(body), problem.alive, num_visible(problem))
        pose = smplx_pose(scene, problem)
        every = max(1, round(problem.fps / self.rate))
        scored = problem.alive & (torch.arange(pose.shape[1], device=pose.device) % every == every // 2)
        # a clip or a life too short to be sampled is scored on all its frames
        scored = torch.where(scored.any(1, keepdim=True), scored, problem.alive)
        # each of a person's poses that are scored stands for as many that are not
        share = problem.alive.sum(1, keepdim=True).to(pose.dtype) / scored.sum(1, keepdim=True).clamp_min(1)
        return (self.prior.energy(pose[scored]) * share.expand_as(scored)[scored]).sum() / num_visible(problem)


@once
def _body(bodies: Bodies) -> list[int]:
    """Joints that are SMPL-X's body without its root."""
    return [joint for joint, place in enumerate(bodies.smplx_index) if place in PARTS["body"]]


def smplx_pose(scene: Scene, problem: Problem) -> Tensor:
    """(P, T, 55, 3) rotation vectors in SMPL-X order; zero for joints that the body lacks."""
    index = problem.bodies.smplx_index
    known = [joint for joint, place in enumerate(index) if place >= 0]
    places = torch.tensor([index[joint] for joint in known], device=scene.rotvec.device)
    pose = scene.rotvec.new_zeros(*scene.rotvec.shape[:2], NUM_JOINTS, 3)
    return pose.index_copy(2, places, scene.rotvec[:, :, known])
