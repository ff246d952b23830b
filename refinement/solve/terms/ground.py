"""People stand on one floor."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from pose_priors.refinement.given.problem import Bodies, Problem
from pose_priors.refinement.solve.contacts import contact_joints
from pose_priors.refinement.solve.once import once
from pose_priors.refinement.solve.scene import Scene, at_joints
from pose_priors.refinement.solve.terms.base import Term, alive_for, num_alive, num_visible, per_person_frame
from pose_priors.refinement.solve.terms.kernels import differences, geman_mcclure, squared_norm


class FootSkating(Term):
    """Joints of feet that carry stand still."""

    name: ClassVar[str] = "skate"
    sigma: float = 0.06
    """Speed in m/s that is still standing."""
    bound: float = 6.0
    """Speed in sigmas at which the kernel has reached half of its bound."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        speeds, carry = self.residuals(scene, problem)
        return per_person_frame(geman_mcclure(squared_norm(speeds), self.bound**2), carry, num_visible(problem))

    def residuals(self, scene: Scene, problem: Problem) -> tuple[Tensor, Tensor]:
        """(P, T - 1, F, 3) speeds in units of their width, and (P, T - 1, F) how surely each joint carries on both frames."""
        feet = at_joints(scene.joints, contact_joints(problem.bodies))
        both = torch.minimum(scene.contacts[:, 1:], scene.contacts[:, :-1])
        return differences(feet) * (problem.fps / (self.sigma * scene.growth)), both * alive_for(problem, 2)[..., None]


class ContactHeight(Term):
    """Joints of feet that carry stand at their height above the floor."""

    name: ClassVar[str] = "contact"
    sigma: float = 0.015
    """How well the height of a joint above the sole is known, in metres; a heel may rise."""
    bound: float = 3.0

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        residual = self.residuals(scene, problem)
        return per_person_frame(scene.contacts * geman_mcclure(residual * residual, self.bound**2), problem.alive, num_visible(problem))

    def residuals(self, scene: Scene, problem: Problem) -> Tensor:
        """(P, T, F) heights above where each joint stands, in units of their width."""
        return (scene.heights(contact_joints(problem.bodies)) / scene.growth - _standing(problem.bodies)) / self.sigma


class Penetration(Term):
    """No sole below the floor."""

    name: ClassVar[str] = "penetration"
    sigma: float = 0.01
    """Depth in metres that still passes."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        depth = self.residuals(scene, problem)
        return per_person_frame(0.5 * depth * depth, problem.alive, num_visible(problem))

    def residuals(self, scene: Scene, problem: Problem) -> Tensor:
        """(P, T, F) depths below the floor in units of their width, 0 above it."""
        return torch.relu(_standing(problem.bodies) - scene.heights(contact_joints(problem.bodies)) / scene.growth) / self.sigma


@once
def _standing(bodies: Bodies) -> Tensor:
    """(P, 1, F) metres at which joints that can carry stand above the floor."""
    return bodies.height[:, None, contact_joints(bodies)]


class SceneFloor(Term):
    """The floor under the feet is the floor that the cameras reconstructed: a cue to the scale that no body's thickness enters.

    It is worth as much as everybody's whole life, however much of that is hidden.
    """

    name: ClassVar[str] = "scene_floor"
    sigma: float = 0.03
    """Distance in metres of a point of the scene's floor from the plane."""
    bound: float = 2.0

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        distance, weight = self.residuals(scene, problem)
        return geman_mcclure(distance * distance, self.bound**2).sum() * (weight / num_visible(problem))

    def residuals(self, scene: Scene, problem: Problem) -> tuple[Tensor, float]:
        """(M,) distances of the points in units of their width, and what each weighs in the sum over people and frames."""
        points = problem.observations.floor_points
        distance = (problem.start.alpha0 * (points @ scene.normal) + scene.offset / scene.growth) / self.sigma
        return distance, num_alive(problem) / max(len(points), 1)


class LevelFloor(Term):
    """The floor is level, as well as a tool or a sensor knows which way is up: what holds its tilt where no point of the scene tells it.

    People tell it by where they step, and feet that err in height along a path tell it wrong. Like the scene's points it is worth as much
    as everybody's whole life.
    """

    name: ClassVar[str] = "level"
    sigma: float = 0.04
    """Standard deviation of the tilt about each axis that lies in the floor, in radians."""

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        share = num_alive(problem) / num_visible(problem)
        return 0.5 * self.residual(scene, problem).square().sum() * share

    def residual(self, scene: Scene, problem: Problem) -> Tensor:
        """(3,) the floor's normal across the one that it starts with, in units of its width."""
        up = problem.start.ground_plane[:3]
        return (scene.normal - (scene.normal @ up) * up) / self.sigma
