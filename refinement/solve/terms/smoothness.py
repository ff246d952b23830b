"""How people move: accelerations are small most of the time and large at a blow or a landing, and last for some frames."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.once import once
from pose_priors.refinement.solve.scene import Scene, camera_centres
from pose_priors.refinement.solve.terms.base import Term, alive_for, num_visible, per_person_frame
from pose_priors.refinement.solve.terms.kernels import (
    differences,
    means_of_spans,
    squared_norm,
    student_t,
    student_t_weight,
    sums_of_neighbours,
)


class Smoothness(Term):
    """Accelerations in the world, Student-t distributed, of the joints and of a point off each joint that feels its twist.

    What is distributed so is their mean square over a tenth of a second, as in a group lasso (Yuan & Lin, "Model Selection and Estimation
    in Regression with Grouped Variables", JRSS B 68, 2006): a muscle pulls for longer than a frame. Frame by frame, heavy tails would
    rather have people go straight on and be pushed on one frame in ten, the more so the more frames a second has.

    Joints that cannot turn are left out: thirty fingers that only follow their wrists would count each wrist many times.
    """

    name: ClassVar[str] = "smooth"
    acceleration: float = 1.5
    """Scale of the accelerations in m/s^2; twice that at which half of human motion's stay below."""
    freedom: float = 2.0
    """Degrees of freedom: the smaller, the more a blow may stand out."""
    arm: float = 0.1
    """Distance in metres of the points that feel a joint's rotation."""
    lasts: float = 0.1
    """Seconds for which an acceleration lasts."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        return self.of(self.points(scene, problem), problem)

    def points(self, scene: Scene, problem: Problem) -> Tensor:
        """(P, T, 2 F, 3) the joints that may turn, and then their arms, in lengths of each person."""
        joints, arms = of_free_joints(scene.joints, scene) / growth_of(scene, problem), of_free_joints(scene.arms, scene)
        return torch.cat([joints, joints + self.arm * arms], 2)

    def of(self, points: Tensor, problem: Problem) -> Tensor:
        """Of points (P, T, N, 3) in the world; 0 for clips of fewer than three frames."""
        if problem.alive.shape[1] < 3:
            return points.sum() * 0
        square = self._spans(squared_norm(self.residuals(points, problem)), problem)
        return per_person_frame(student_t(square, self.freedom, 3), _reached(problem, self._frames(problem.fps)), num_visible(problem))

    def weights(self, residual: Tensor, problem: Problem) -> Tensor:
        """(P, T - 2, N) what each acceleration of `residuals` weighs, see `kernels.student_t_weight`."""
        frames = self._frames(problem.fps)
        weight = student_t_weight(self._spans(squared_norm(residual), problem), self.freedom, 3)
        sums = sums_of_neighbours(weight * _reached(problem, frames)[..., None], frames)
        return sums / frames * alive_for(problem, 3)[..., None]

    def reach(self, fps: float) -> int:
        """Frames on either side of one that moves, on which what is said of it rests."""
        return self._frames(fps) + 1

    def _frames(self, fps: float) -> int:
        return max(1, round(self.lasts * fps))

    def _spans(self, square: Tensor, problem: Problem) -> Tensor:
        """The mean (P, S, N) of squares over each span that reaches into the clip, of the people who are there."""
        return means_of_spans(torch.where(alive_for(problem, 3)[..., None], square, 0), self._frames(problem.fps))

    def residuals(self, points: Tensor, problem: Problem) -> Tensor:
        """(P, T - 2, N, 3) accelerations in units of their width."""
        return differences(points, order=2) * (problem.fps**2 / self.acceleration)


@once
def _reached(problem: Problem, frames: int) -> Tensor:
    """(P, S) bool, which spans of so many accelerations that reach into the clip have one of a person who is there."""
    alive = alive_for(problem, 3)
    return means_of_spans(alive[..., None].to(problem.start.pelvis), frames)[..., 0] > 0


class MultiPersonScale(Smoothness):
    """How likely the motions of all people are at a scale, the bodies held still in the images of their cameras.

    A person who is too small or too large for the cameras' scale seems nearer or farther, and slides along with the camera. The likelihood,
    here that of `Smoothness`, is a mean over people and transitions, so that it does not grow with either.
    """

    name: ClassVar[str] = "multi_scale"

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        return self.of(self.points(scene, problem), problem)

    def points(self, scene: Scene, problem: Problem) -> Tensor:
        """(P, T, F, 3) the joints that may turn, bodies held still in the images of their cameras, in lengths of each person."""
        return of_free_joints(at_scale(scene, problem) / growth_of(scene, problem), scene)


def at_scale(scene: Scene, problem: Problem) -> Tensor:
    """The joints (P, T, J, 3) in metres as a function of the scale and of sizes alone: bodies held still in the images of their cameras, as
    the sub-stage found them."""
    still = scene.still
    size, was = (torch.linalg.vector_norm(rest, dim=(1, 2)) for rest in (scene.rest_joints, still.rest_joints))
    grown = (size / was - 1)[:, None, None, None] * still.camera_joints @ problem.cameras.w2c[:, :3, :3]
    carried = (scene.alpha - still.alpha) * camera_centres(problem.cameras)
    joints: Tensor = still.joints + grown + carried[:, None]
    return joints


def growth_of(scene: Scene, problem: Problem) -> Tensor:
    """(P, 1, 1, 1) how many times as large as at the start each person is: accelerations are measured in lengths that grow with people,
    else being smaller, and nearer, would seem more likely."""
    now, start = (torch.linalg.vector_norm(rest, dim=(1, 2)) for rest in (scene.rest_joints, problem.bodies.rest_joints))
    growth: Tensor = now / start
    return growth[:, None, None, None]


def of_free_joints(values: Tensor, scene: Scene) -> Tensor:
    """Values (P, T, J, ...) of the joints that may turn, (P, T, F, ...)."""
    return values if len(scene.free) == values.shape[2] else values.index_select(2, scene.free)
