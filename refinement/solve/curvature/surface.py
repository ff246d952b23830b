"""What the surface of people whom nobody tracked weighs, as bodies that are turned by each joint."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.refinement.given.problem import NUM_SKIN_POINTS, Problem
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.surface import Shown, body_joints, skin_of, untracked
from pose_priors.refinement.solve.terms import UntrackedSurface
from pose_priors.refinement.solve.terms.kernels import geman_mcclure_weight


def of_surface(term: UntrackedSurface, weight: float, scene: Scene, problem: Problem) -> Tensor:
    """(P, T, J, 6, 6) what twists about the pelvis weigh of what each joint turns: the points of its bones that rays come nearest to, which
    stay the same ones, along the ray or across it alone, as in the point-to-plane variant of ICP (Chen & Medioni, "Object modelling by
    registration of multiple range images", Image and Vision Computing 10, 1992), and joints that stand out."""
    shown, body, held = untracked(problem), body_joints(problem), term.expected.held(scene, problem)
    points, joints = skin_of(shown, scene)
    found, sigma = term.off(points, joints, held.met)
    sure = geman_mcclure_weight((found.metres / sigma).square(), term.bound**2) * (weight * len(body) / NUM_SKIN_POINTS)
    skin = _of_twists(found.place, found.slope / sigma[..., None], joints, shown, scene, problem)
    with torch.enable_grad():
        at = joints[:, body].detach().requires_grad_()
        outside = term.outside(points.detach(), at, held)
        (slope,) = torch.autograd.grad(outside.sum(), at)
    beside = _of_twists(joints[:, body], slope, joints, shown, scene, problem)
    out = weight * geman_mcclure_weight(outside.detach().square(), term.bound**2) * held.tells
    total = skin.new_zeros(*scene.joints.shape[:3], 36)
    mine = skin.new_zeros(len(skin), scene.joints.shape[2], 36)
    mine.scatter_add_(1, held.met.root[..., None].expand(*held.met.root.shape, 36), _squares(sure, skin))
    mine.index_add_(1, torch.tensor(body), _squares(out, beside))
    total[shown.people, shown.frames] = mine
    weights: Tensor = total.unflatten(3, (6, 6))
    return weights


def _of_twists(at: Tensor, slope: Tensor, joints: Tensor, shown: Shown, scene: Scene, problem: Problem) -> Tensor:
    """(F, N, 6) what changes by slopes (F, N, 3) with points (F, N, 3), in the camera at the start's scale, along twists in the world."""
    turn = problem.cameras.w2c[shown.frames, :3, :3]
    place, push = (at - joints[:, :1]) @ turn * scene.growth, slope @ turn / scene.growth
    return torch.cat([push, torch.linalg.cross(place, push)], -1)


def _squares(weight: Tensor, slope: Tensor) -> Tensor:
    """(F, N, 36) of weights (F, N) and slopes (F, N, 6)."""
    return (weight[..., None, None] * slope[..., None] * slope[..., None, :]).flatten(2)
