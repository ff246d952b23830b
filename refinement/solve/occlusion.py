"""Which joints a camera sees skin of, and not the skin of another part of the same body before it."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.scene import MIN_DEPTH, Scene

# Balls along each bone, as fractions of it, and by how much in metres another part must stand before a joint's own skin to hide it.
_ALONG = (0.0, 0.25, 0.5, 0.75, 1.0)
_MARGIN = 0.015
_STAYS = 0.005  # metres by which it has to be clear that what faced the camera does no more, or the other way about


@torch.no_grad()
def facing_joints(scene: Scene, problem: Problem, before: Tensor | None = None) -> Tensor:
    """(P, T, J) bool: whether the first skin along the ray through a joint is the joint's own, the body being balls along its bones.

    The balls are as thick as the body is at its joints, between joints linearly so. Joints of unknown thickness hide nothing and are never
    facing; other people are left to the masks.

    Args:
        before: (P, T, J) bool, what was found a little earlier in a search: it stays where balls that are a few millimetres thicker or
            thinner, or nearer or farther, would say the same, or the search would go to and fro between two answers.
    """
    stays = torch.zeros_like(scene.joints[..., 0]) if before is None else torch.where(before, _STAYS, -_STAYS).to(scene.joints)
    bodies = problem.bodies
    known = torch.isfinite(bodies.thickness).all(0).tolist()
    bones = [(j, parent) for j, parent in enumerate(bodies.parents) if parent >= 0 and known[j] and known[parent]]
    if not bones:
        return torch.zeros_like(scene.joints[..., 0], dtype=torch.bool)
    child, parent = (list(ends) for ends in zip(*bones, strict=True))
    along = scene.joints.new_tensor(_ALONG)[:, None, None]
    joints, radius = scene.camera_joints, (bodies.thickness * scene.growth)[:, None]
    balls = (joints[:, :, None, parent] * (1 - along) + joints[:, :, None, child] * along).flatten(2, 3)
    radii = (radius[:, :, None, parent] * (1 - along[..., 0]) + radius[:, :, None, child] * along[..., 0]).flatten(2, 3)
    facing = torch.zeros_like(joints[..., 0], dtype=torch.bool)
    for j in (j for j, is_known in enumerate(known) if is_known):
        ray = joints[:, :, j, None]
        # the ray meets a ball at about the ball's own depth
        off = balls[..., :2] - ray[..., :2] * (balls[..., 2:] / ray[..., 2:].clamp_min(MIN_DEPTH))
        inside = (radii - stays[..., j, None]).clamp_min(0).square() - off.square().sum(-1)
        skin = torch.where(inside > 0, balls[..., 2] - inside.clamp_min(0).sqrt(), torch.inf)
        facing[:, :, j] = skin.amin(-1) > ray[..., 0, 2] - radius[..., j] - _MARGIN - stays[..., j]
    return facing
