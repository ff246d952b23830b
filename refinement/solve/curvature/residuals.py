"""What terms are made of: residuals in units of their noise, how much each counts, and how it changes when a joint is moved.

Of a term that is a kernel of squares, rho(r^2), a residual weighs 2 rho'(r^2), by which iteratively reweighted least squares is done
(Holland & Welsch, "Robust Regression Using Iteratively Reweighted Least-Squares", Communications in Statistics 6, 1977). The curvature is
only to be like the true one, since steps are taken along the true gradient: residuals of terms that are not here, trained priors among
them, count for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.contacts import contact_joints
from pose_priors.refinement.solve.scene import MIN_DEPTH, Scene, mean_of_joints, start_in_cameras
from pose_priors.refinement.solve.terms import (
    ContactHeight,
    DepthConsistency,
    KeypointReprojection,
    Penetration,
    StayNearRoot,
    Term,
)
from pose_priors.refinement.solve.terms.kernels import geman_mcclure_weight, squared_norm

_SHALLOW = 1e-6  # metres of penetration below which a sole is on the floor


@dataclass(frozen=True)
class OfFrames:
    """Residuals each of one person on one frame.

    Attributes:
        groups: M groups of joints, the mean of each of which a row looks at.
        residual: (P, T, M).
        slope: (P, T, M, 3) its change for each metre that the group moves in the world.
        weight: (P, T, M).
    """

    groups: tuple[tuple[int, ...], ...]
    residual: Tensor
    slope: Tensor
    weight: Tensor


def of_frames(term: Term, scene: Scene, problem: Problem) -> OfFrames | None:
    """The residuals of a term that looks at single frames; None of one that does not."""
    found = OF_FRAMES.get(type(term))
    return None if found is None else found(term, scene, problem)


def residual_of(term: Term, scene: Scene, problem: Problem) -> Tensor:
    """The residuals alone of such a term."""
    return _RESIDUALS[type(term)](term, scene, problem)


def _of_keypoints(term: KeypointReprojection, scene: Scene, problem: Problem) -> OfFrames:
    groups = problem.observations.keypoint_joints
    at = mean_of_joints(scene.camera_joints, groups)
    offset, bound, trust = term.offsets(scene, problem)
    share = geman_mcclure_weight(squared_norm(offset), bound)
    focal = problem.cameras.intrinsics[:, None, :2, :2]
    depth = at[..., 2:].clamp_min(MIN_DEPTH)
    turn = problem.cameras.w2c[:, None, :3, :3]
    image = focal @ (turn[..., :2, :] - (at[..., :2] / depth)[..., None] * turn[..., 2:, :]) / (depth * term.sigma_px)[..., None]
    twice = tuple(group for group in groups for _ in range(2))
    return OfFrames(twice, offset.flatten(2), image.flatten(2, 3), (share * trust).repeat_interleave(2, 2))


def _of_root(term: StayNearRoot, scene: Scene, problem: Problem) -> OfFrames:
    start = start_in_cameras(problem)
    depth = start[..., 2:].clamp_min(MIN_DEPTH)
    turn = problem.cameras.w2c[:, :3, :3].expand(len(start), -1, -1, -1)
    across = start[..., :2] / depth
    slope = torch.cat([turn[..., :2, :] - across[..., None] * turn[..., 2:, :], turn[..., 2:, :]], 2) / depth[..., None]
    residual = term.residuals(scene, problem)
    sigma = residual.new_tensor([term.lateral, term.lateral, term.depth])
    weight = problem.visible[..., None].expand_as(residual).to(residual)
    return OfFrames(((0,),) * 3, residual, slope / (sigma[:, None] * scene.growth), weight)


def _of_depths(term: DepthConsistency, scene: Scene, problem: Problem) -> OfFrames:
    residual, sigma, trust = term.residuals(scene, problem)
    forward = problem.cameras.w2c[:, None, 2, :3] / (scene.growth * sigma[..., None])
    groups = tuple((joint,) for joint in range(residual.shape[2]))
    return OfFrames(groups, residual, -forward, trust * scene.facing * geman_mcclure_weight(residual * residual, term.bound**2))


def _of_contacts(term: ContactHeight, scene: Scene, problem: Problem) -> OfFrames:
    residual = term.residuals(scene, problem)
    slope = (scene.normal / (scene.growth * term.sigma)).expand(*residual.shape, 3)
    groups = tuple((joint,) for joint in contact_joints(problem.bodies))
    weight = scene.contacts * problem.alive[..., None] * geman_mcclure_weight(residual * residual, term.bound**2)
    return OfFrames(groups, residual, slope, weight)


def _of_penetration(term: Penetration, scene: Scene, problem: Problem) -> OfFrames:
    residual = term.residuals(scene, problem)
    slope = -(scene.normal / (scene.growth * term.sigma)).expand(*residual.shape, 3)
    groups = tuple((joint,) for joint in contact_joints(problem.bodies))
    return OfFrames(groups, residual, slope, ((residual > _SHALLOW / term.sigma) & problem.alive[..., None]).to(residual))


_RESIDUALS: dict[type[Term], Callable[..., Tensor]] = {
    KeypointReprojection: lambda term, scene, problem: term.offsets(scene, problem)[0].flatten(2),
    StayNearRoot: StayNearRoot.residuals,
    DepthConsistency: lambda term, scene, problem: term.residuals(scene, problem)[0],
    ContactHeight: ContactHeight.residuals,
    Penetration: Penetration.residuals,
}
OF_FRAMES: dict[type[Term], Callable[..., OfFrames]] = {
    KeypointReprojection: _of_keypoints,
    StayNearRoot: _of_root,
    DepthConsistency: _of_depths,
    ContactHeight: _of_contacts,
    Penetration: _of_penetration,
}
