"""How people move: accelerations are small most of the time and large at a blow or a landing, and last for some frames."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.scene import Scene, camera_centres
from pose_priors.refinement.solve.terms.base import Term, num_visible, per_person_frame
from pose_priors.refinement.solve.terms.kernels import differences, squared_norm, student_t, student_t_weight


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
        residual, alive = self.residuals(points, problem)
        square, there = self._spans(squared_norm(residual), alive, problem.fps)
        return per_person_frame(student_t(square, self.freedom, 3), there, num_visible(problem))

    def weights(self, residual: Tensor, alive: Tensor, fps: float) -> Tensor:
        """(P, T - 2, N) what each acceleration of `residuals` weighs, see `kernels.student_t_weight`."""
        square, there = self._spans(squared_norm(residual), alive, fps)
        return _means(student_t_weight(square, self.freedom, 3) * there[..., None], self._frames(fps)) * alive[..., None]

    def reach(self, fps: float) -> int:
        """Frames on either side of one that moves, on which what is said of it rests."""
        return self._frames(fps) + 1

    def _frames(self, fps: float) -> int:
        return max(1, round(self.lasts * fps))

    def _spans(self, square: Tensor, alive: Tensor, fps: float) -> tuple[Tensor, Tensor]:
        """The mean (P, S, N) of squares over each span that reaches into the clip, and whether the person is there in it (P, S)."""
        frames = self._frames(fps)
        there = _means(_framed(alive[..., None].to(square), frames - 1), frames)[..., 0] > 0
        return _means(_framed(torch.where(alive[..., None], square, 0), frames - 1), frames), there

    def residuals(self, points: Tensor, problem: Problem) -> tuple[Tensor, Tensor]:
        """(P, T - 2, N, 3) accelerations in units of their width, and whether the person is there (P, T - 2)."""
        alive = problem.alive[:, 2:] & problem.alive[:, 1:-1] & problem.alive[:, :-2]
        return differences(points, order=2) * (problem.fps**2 / self.acceleration), alive


def _framed(values: Tensor, frames: int) -> Tensor:
    """(P, T, N) with so many frames of zeros before and after it."""
    return torch.nn.functional.pad(values, (0, 0, frames, frames))


def _means(values: Tensor, frames: int) -> Tensor:
    """(P, T - frames + 1, N) the mean of each so many neighbouring frames of (P, T, N)."""
    return torch.nn.functional.avg_pool2d(values[:, None], (frames, 1), stride=1)[:, 0]


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
