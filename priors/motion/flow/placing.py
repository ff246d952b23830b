"""Where whole bodies are: as all of their joints say, not the pelvis alone, from which all places are seen."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.priors.motion.flow.smoother import Smoother
from pose_priors.priors.motion.flow.view import Motion, Noise

_UNSEEN_M, _LEAST_M = 1e3, 1e-3  # standard deviations of noise that stand for a frame that sees nothing, and for one that is exact


def placed(smoother: Smoother, found: Motion, joint_std: Tensor, motion: Motion, noise: Noise) -> tuple[Tensor, Tensor]:
    """Bodies that are shifted as a whole, each frame by what is expected of the error that all of its joints have in common.

    Noise of the pelvis is taken for the whole body's, since all other places are seen from it; over many frames it is smoothed away, on a
    single one nothing else tells it. But each joint that is seen says by how much the body is off. The weighted mean of that is a view of
    the error, with noise; beforehand the error has the covariance over time that the path's process leaves once the pelvis is seen, scaled
    to how sure the path is. What is expected of it follows in closed form. A pelvis that is seen exactly leaves no error.

    Args:
        found: (B, T, ...) as expected; joint_std: (B, T, 22) metres, the pelvis's in the world, others' from the pelvis.
        motion: as seen; noise: how much of it is seen. T is the smoother's.
    Returns:
        (B, T, 22, 3) metres, the joints, and (B, T) metres how sure the pelvis is; as they were where nothing tells more.
    """
    with torch.no_grad():
        pelvis = torch.hypot(noise.joints[..., 0], noise.path)
        doubt = torch.minimum(joint_std[..., 0], pelvis).double()
        if not doubt.any():
            return found.joints, joint_std[..., 0]
        seen = noise.joints.isfinite() & noise.path.isfinite()[..., None]
        apart = torch.cat([torch.zeros_like(doubt)[..., None], joint_std[..., 1:].double()], -1)
        variance = (noise.joints.double().square() + apart.square()).clamp_min(1e-12)
        precise = torch.where(seen, 1 / variance, 0.0)
        total = precise.sum(-1)
        share = precise / total.clamp_min(1e-30)[..., None]
        of_view = torch.where(total > 0, 1 / total.clamp_min(1e-30) + noise.path.double().square(), _UNSEEN_M**2)
        eye = torch.eye(doubt.shape[-1], dtype=doubt.dtype, device=doubt.device)
        path = smoother.covariance[0].double() * smoother.scale[0].double().square()
        of_pelvis = torch.diag_embed(pelvis.double().clamp(_LEAST_M, _UNSEEN_M).square())
        left = path - path @ torch.linalg.solve(path + of_pelvis, path.expand_as(of_pelvis))
        scale = doubt / left.diagonal(dim1=-2, dim2=-1).clamp_min(1e-12).sqrt()
        left = scale[..., :, None] * left * scale[..., None, :]
        gain = torch.linalg.solve(left + of_view[..., None] * eye, left).mT
        sure = (left - gain @ left).diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
    off = torch.where(seen[..., None], motion.joints - found.joints, 0.0).double()
    shift = gain @ (share[..., None] * off).sum(-2)
    joints = found.joints + shift[..., None, :].to(found.joints)
    return joints, torch.where(doubt > 0, sure, joint_std[..., 0]).to(joint_std)


def within_reach(joints: Tensor, seen: Tensor, reach: Tensor) -> Tensor:
    """Places (B, T, J, 3) no farther from where they are seen than a reach (B, T, J), which may be infinite; of one unit."""
    moved = joints - seen
    with torch.no_grad():
        far = torch.linalg.vector_norm(moved, dim=-1) > reach
    length = torch.linalg.vector_norm(torch.where(far[..., None], moved, 1.0), dim=-1)  # of others none, which may have no slope
    near = torch.where(far, reach, 0.0) / length
    return torch.where(far[..., None], seen + near[..., None] * moved, joints)
