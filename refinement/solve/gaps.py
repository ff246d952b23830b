"""Frames on which nobody saw a person, as a prior of clips or depth maps have them: where the last sub-stage starts and what holds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pose_priors.body import conversions
from pose_priors.configs.base import counted
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.rates import within
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.surface import Held, distance, held, steady, surface_shift, thicker, untracked_frames
from pose_priors.refinement.solve.variables import Variables

_AROUND_S = 0.5
_ARM_M = 0.1  # from a joint to the point that feels its twist


@dataclass(frozen=True)
class Filling:
    """What is expected where nobody was seen.

    Attributes:
        frames: (P, T) bool, of each person those that are filled.
        rotvec: (P, T, J, 3) and pelvis: (P, T, 3) metres, as in a `Scene`; frames that are not filled do not matter.
        contacts: (P, T, F) in [0, 1], as in a `Scene`, of these frames.
        told: one line for each person with such frames: what was filled, or why not.
    """

    frames: Tensor
    rotvec: Tensor
    pelvis: Tensor
    contacts: Tensor
    told: tuple[str, ...]


FillGaps = Callable[[Scene, Problem], Filling]
"""What looks at a scene and says what is expected in its gaps."""


class ExpectedInGaps(nn.Module):
    """What the filled frames are held to: nothing until they are filled.

    A module, so that its tensors go to the device of the module that holds it.

    Args:
        problem: what is given.
        fill: what says it; None where depth maps alone do.
    Attributes:
        frames: (P, T) bool, those that are filled.
        told: see `Filling`.
        follows: whether depth maps show anybody on frames on which nobody tracked them.
        thicker: (P, J), see `surface.met_by_rays`.
    """

    frames: Tensor
    points: Tensor
    growth: Tensor
    thicker: Tensor

    def __init__(self, problem: Problem, fill: FillGaps | None) -> None:
        super().__init__()
        self.fill = fill
        self.told: tuple[str, ...] = ()
        self._held: Held | None = None
        self.follows = bool(untracked_frames(problem).any())
        places = problem.start.body_pose.shape[2] + 1
        self.register_buffer("frames", torch.zeros_like(problem.alive), persistent=False)
        self.register_buffer("points", problem.start.pelvis.new_zeros(*problem.alive.shape, 2 * places, 3), persistent=False)
        self.register_buffer("thicker", torch.zeros_like(problem.bodies.rest_joints[..., 0]), persistent=False)
        self.register_buffer("growth", problem.start.pelvis.new_ones(()), persistent=False)

    @torch.no_grad()
    def begin(self, variables: Variables, problem: Problem) -> Filling:
        """Fills the gaps of the scene as it stands: moves the variables there, and holds them from now on."""
        self._held = None
        followed = self._follow(variables, problem)
        filling = nothing_filled(variables(problem), problem) if self.fill is None else self.fill(variables(problem), problem)
        self.told = (*followed, *filling.told)
        if filling.frames.any():
            _place(variables, problem, filling)
        scene = variables(problem)
        # whoever depth maps show is held to them, and only starts where the prior expects
        self.frames.copy_(filling.frames & ~untracked_frames(problem))
        self.points.copy_(points_of(scene))
        self.growth.copy_(scene.growth)
        return filling

    def _follow(self, variables: Variables, problem: Problem) -> list[str]:
        """Moves people who are not tracked to where depth maps show them, posed as they are, if they are nearer to the points then, and
        says who they are."""
        self.thicker.copy_(thicker(variables(problem), problem))
        if not self.follows:
            return []
        scene, best = variables(problem), variables.moved()
        least, shift = distance(scene, problem, self.thicker), steady(surface_shift(scene, problem), problem)
        along = shift - (shift @ scene.normal)[..., None] * scene.normal  # where the pose is wrong, the floor tells heights better
        for by in (along, shift):
            pelvis = scene.joints[:, :, 0] + by
            _place(variables, problem, Filling(untracked_frames(problem), scene.rotvec, pelvis, scene.contacts, ()))
            found = distance(variables(problem), problem, self.thicker)
            best = torch.where((found < least)[:, None, None, None], variables.moved(), best)
            least = torch.minimum(found, least)
            variables.add_increments(best - variables.moved())
        counts = zip(problem.person_ids, untracked_frames(problem).sum(1).tolist(), strict=True)
        return [
            f"person {person}: {counted(count, 'frame')} on which nobody tracked them, but depth maps show them"
            for person, count in counts
            if count
        ]

    def hold(self, scene: Scene, problem: Problem) -> None:
        """Which skin depth maps show, and where, is from now on what it is in this scene."""
        self._held = held(scene, problem, self.thicker) if self.follows else None

    def held(self, scene: Scene, problem: Problem) -> Held:
        """That, or what it is in a scene while nothing is held."""
        return held(scene, problem, self.thicker) if self._held is None else self._held

    def around(self, problem: Problem) -> Tensor:
        """(P, T) bool, people's frames that filling moves: those that are filled or shown, and half a second around them."""
        return within(self.frames | untracked_frames(problem), _AROUND_S, problem.fps) & problem.alive

    def apart(self, scene: Scene) -> Tensor:
        """(P, T, 2 J, 3) metres that a scene's points are from where they are expected, in a world that grows with the scale."""
        return points_of(scene) - self.points * (scene.growth / self.growth)


def nothing_filled(scene: Scene, problem: Problem) -> Filling:
    """Of a scene that stays as it is."""
    return Filling(torch.zeros_like(problem.alive), scene.rotvec, scene.joints[:, :, 0], torch.zeros_like(scene.contacts), ())


def points_of(scene: Scene) -> Tensor:
    """(P, T, 2 J, 3) metres, world: the joints, and off each a point that feels its twist."""
    return torch.cat([scene.joints, scene.joints + _ARM_M * scene.arms], 2)


def _place(variables: Variables, problem: Problem, filling: Filling) -> None:
    """Moves pelvis and free joints of the filled frames to where they are expected."""
    scene, moved = variables(problem), variables.moved()
    start = variables.start_quat[:, :, variables.free]
    target = conversions.rotvec_to_unitquat(filling.rotvec[:, :, variables.free])
    turn = conversions.unitquat_to_rotvec(conversions.quat_product(conversions.quat_conjugation(start), target))
    # depths that are off draw a person towards the camera, by the same share of every way
    shift = moved[:, :, 0] + (filling.pelvis - scene.joints[:, :, 0]) * variables.bias().exp()[:, None, None]
    there = torch.cat([shift[:, :, None], turn], 2)
    variables.add_increments(torch.where(filling.frames[..., None, None], there - moved, 0))
