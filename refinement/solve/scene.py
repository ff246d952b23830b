"""What the refinement estimates, at one point of the optimisation: bodies, scale and floor, posed and carried into the cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pose_priors.body import pinhole
from pose_priors.body.skeleton import MIRROR
from pose_priors.refinement.given.problem import Bodies, Cameras, Problem
from pose_priors.refinement.solve.once import once

MIN_DEPTH = 0.1
"""Metres before a camera: depths that divide are never taken to be less."""
_NEAREST = 0.01  # metres before a camera, where what is behind it lands


@dataclass(frozen=True)
class Scene:
    """P people over T frames with J joints, in the metric world of stage 1's axes.

    Attributes:
        rotvec: (P, T, J, 3) rotation of each joint relative to its parent, of the pelvis relative to the world; radians, canonical.
        turn: (P, T, J, 3) by how much each joint has turned from where it started, in its own frame, radians.
        free: (F,) joints that may turn, the root first; the others keep the rotation that they start with.
        arms: (P, T, J, 3) in the world, a vector of unit length that is fixed to each joint, see `arm_directions`.
        joints: (P, T, J, 3) metres.
        camera_joints: (P, T, J, 3) metres, in the frame's camera.
        shape: (P, B) change of betas; or (P, 1) log of the change in size where betas do not move the joints.
        rest_joints: (P, J, 3) metres, at that shape.
        depth_bias: (P,) by how much the depth maps show each person too far away, in the logarithm.
        alpha: () metric = alpha * stage 1.
        growth: () of people with the scale: alpha as a multiple of its start where they belong to the cameras' unit, 1 elsewhere. Terms in
            metres measure in lengths that grow with it, else they would shrink the world.
        normal: (3,) of the floor, up-facing, unit length.
        offset: () metres; n.x + offset = 0 on the floor.
        offset_by_scale: () metres, that part of it which changes with the scale, up to a constant.
        contacts: (P, T, F) in [0, 1], how surely each joint that can carry does; held still during a sub-stage.
        facing: (P, T, J) in [0, 1], how surely the camera sees a joint's own skin; held still during a sub-stage.
        held: the scene as the sub-stage found it, without gradients: what terms hold still that look at the scale alone; None for one that
            is its own.
    """

    rotvec: Tensor
    turn: Tensor
    free: Tensor
    arms: Tensor
    joints: Tensor
    camera_joints: Tensor
    shape: Tensor
    rest_joints: Tensor
    depth_bias: Tensor
    alpha: Tensor
    growth: Tensor
    normal: Tensor
    offset: Tensor
    offset_by_scale: Tensor
    contacts: Tensor
    facing: Tensor
    held: Scene | None = None

    @property
    def still(self) -> Scene:
        """What is held still, without gradients: the scene that the sub-stage found, or this one."""
        return self.detached() if self.held is None else self.held

    def detached(self) -> Scene:
        """The same scene, which no gradient reaches."""
        parts = {each.name: value.detach() for each in fields(self) if isinstance(value := getattr(self, each.name), Tensor)}
        return replace(self, **parts, held=None)

    def with_rotations_held(self) -> Scene:
        """The same scene with rotations and floor held still, but for what the scale does to the floor."""
        still = self.still
        offset = still.offset + self.offset_by_scale - still.offset_by_scale
        return replace(self, rotvec=still.rotvec, normal=still.normal, offset=offset)

    def heights(self, joints: Sequence[int]) -> Tensor:
        """(P, T, len(joints)) metres above the floor."""
        return at_joints(self.joints, joints) @ self.normal + self.offset


def arm_directions(bodies: Bodies) -> Tensor:
    """(J, 3) a vector of unit length for each joint, in its axes, off the bones: up, forward, and outward where a side has one, so that the
    mirror image of a body has the mirror images of its arms."""
    sides = torch.zeros(len(bodies.parents))
    for joint, (smplx, parent) in enumerate(zip(bodies.smplx_index, bodies.parents, strict=True)):
        # SMPL's hand stubs are of their wrist's side
        sides[joint] = (MIRROR[smplx] > smplx) * 1.0 - (MIRROR[smplx] < smplx) * 1.0 if smplx >= 0 else sides[parent]
    return torch.nn.functional.normalize(torch.stack([sides, torch.ones_like(sides), torch.ones_like(sides)], -1), dim=-1)


@once
def camera_centres(cameras: Cameras) -> Tensor:
    """(T, 3) places of the cameras in the world, in stage 1's unit."""
    return pinhole.camera_centres(cameras.w2c)


def project(points: Tensor, cameras: Cameras) -> Tensor:
    """Pixels (P, T, N, 2) of points (P, T, N, 3) in each frame's camera.

    As `body.pinhole.project`, but for an optimiser: points behind the camera land as if 1 cm before it, instead of nowhere, so that pixels
    and gradients are finite and lead back.
    """
    pixels: Tensor = _Projected.apply(points, cameras.intrinsics)  # type: ignore[no-untyped-call]
    return pixels


class _Projected(torch.autograd.Function):
    """With the gradient in closed form, and by coordinates: thousands of products of two numbers take several times as long as two of
    thousands."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, intrinsics: Tensor) -> Tensor:
        x, y, z = points.unbind(-1)
        depth = z.clamp_min(_NEAREST)
        right, down = x / depth, y / depth
        (xx, xy, centre_x), (yx, yy, centre_y) = (row.unbind(-1) for row in intrinsics[:, None, :2].unbind(-2))
        ctx.save_for_backward(right, down, depth, z < _NEAREST, intrinsics)
        return torch.stack([right * xx + down * xy + centre_x, right * yx + down * yy + centre_y], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        right, down, depth, too_near, intrinsics = ctx.saved_tensors
        by_x, by_y = gradient.unbind(-1)
        (xx, xy, _), (yx, yy, _) = (row.unbind(-1) for row in intrinsics[:, None, :2].unbind(-2))
        of_right, of_down = by_x * xx + by_y * yx, by_x * xy + by_y * yy
        along = (of_right * (right / depth) + of_down * (down / depth)).neg_().masked_fill_(too_near, 0)
        return torch.stack([of_right / depth, of_down / depth, along], -1), None


def at_joints(values: Tensor, joints: Sequence[int]) -> Tensor:
    """Values (P, T, J, ...) of some of the joints, in their order; a view where they follow each other."""
    first = joints[0] if joints else 0
    if list(joints) == list(range(first, first + len(joints))):
        return values[:, :, first : first + len(joints)]
    return values.index_select(2, torch.tensor(joints, device=values.device))


def mean_of_joints(joints: Tensor, groups: tuple[tuple[int, ...], ...]) -> Tensor:
    """The mean of each group of joints: (P, T, J, 3) -> (P, T, K, 3)."""
    if all(len(group) == 1 for group in groups):
        return at_joints(joints, [group[0] for group in groups])
    weights = torch.zeros(len(groups), joints.shape[2], dtype=torch.float64)
    for row, group in enumerate(groups):
        weights[row, list(group)] = 1 / len(group)
    return weights.to(joints) @ joints


@once
def start_in_cameras(problem: Problem) -> Tensor:
    """(P, T, 3) metres: the pelvis where the refinement starts, in each frame's camera."""
    return pinhole.to_camera(problem.start.pelvis[:, :, None], problem.cameras.w2c, problem.start.alpha0)[:, :, 0]


@once
def start_joints_in_cameras(problem: Problem) -> Tensor:
    """(P, T, J, 3) metres: all joints there, stage 3's."""
    return pinhole.to_camera(problem.start.joints(problem.bodies), problem.cameras.w2c, problem.start.alpha0)


@once
def height_in_image(problem: Problem) -> Tensor:
    """(P, T) pixels that a person's longest extent at rest spans at the depth where the refinement starts."""
    rest = problem.bodies.rest_joints
    extent = (rest.amax(1) - rest.amin(1)).amax(-1)[:, None]
    depth = start_in_cameras(problem)[..., 2]
    return extent * problem.cameras.intrinsics[:, 1, 1] / depth.clamp_min(MIN_DEPTH)
