"""Which joints a camera sees skin of, and not the skin of another part of the same body before it."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.scene import MIN_DEPTH, Scene

# Balls along each bone, as fractions of it, and by how much in metres another part must stand before a joint's own skin to hide it.
_ALONG = (0.0, 0.25, 0.5, 0.75, 1.0)
_MARGIN = 0.015
_RIM = 0.01  # metres by which it has to be clear that a joint faces the camera, or does not; between them it does so in part


@torch.no_grad()
def facing_joints(scene: Scene, problem: Problem) -> Tensor:
    """(P, T, J) in [0, 1]: how surely the first skin along the ray through a joint is the joint's own, the body being balls along
    its bones.

    The balls are as thick as the body is at its joints, between joints linearly so. Joints of unknown thickness hide nothing and are never
    facing; other people are left to the masks. It goes from 0 to 1 over two centimetres of the way that an obstacle moves, along the ray or
    across it: a search that finds it anew at each of its rounds would go to and fro between yes and no.
    """
    bodies = problem.bodies
    known = torch.isfinite(bodies.thickness).all(0).tolist()
    bones = [(j, parent) for j, parent in enumerate(bodies.parents) if parent >= 0 and known[j] and known[parent]]
    if not bones:
        return torch.zeros_like(scene.joints[..., 0])
    child, parent = (list(ends) for ends in zip(*bones, strict=True))
    along = scene.joints.new_tensor(_ALONG)[:, None, None]
    joints, radius = scene.camera_joints, (bodies.thickness * scene.growth)[:, None]
    balls = (joints[:, :, None, parent] * (1 - along) + joints[:, :, None, child] * along).flatten(2, 3)
    radii = (radius[:, :, None, parent] * (1 - along[..., 0]) + radius[:, :, None, child] * along[..., 0]).flatten(2, 3)
    facing = torch.zeros_like(joints[..., 0])
    across, up, depth = balls.movedim(-1, 0).contiguous()
    thick = radii.square()
    for j in (j for j, is_known in enumerate(known) if is_known):
        x, y, z = joints[:, :, j, :, None].movedim(2, 0)
        ahead = z.clamp_min(MIN_DEPTH)
        # the ray meets a ball at about the ball's own depth
        off = torch.addcmul(across, depth, x / ahead, value=-1).square_().add_(torch.addcmul(up, depth, y / ahead, value=-1).square_())
        behind = (thick - off).clamp_min_(0).sqrt_().neg_().add_(depth).sub_(z - radius[..., j, None] - _MARGIN)
        clear = torch.maximum(off.sqrt_().sub_(radii), behind).amin(-1) / _RIM
        facing[:, :, j] = (0.5 + 0.5 * clear).clamp(0, 1)
    return facing
