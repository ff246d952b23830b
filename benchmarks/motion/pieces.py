"""The pieces of motions that `benchmarks.priors` denoises, with the same noise, denoised by a prior of clips."""

from __future__ import annotations

import roma
import torch

from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.skeleton import Skeleton
from pose_priors.benchmarks.priors.tasks.denoising import NUM_VALIDATION_MOTIONS, SEED, motions
from pose_priors.body.builtin import rest_joints
from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.skeletons import bones_of_rest
from pose_priors.priors.motion.flow.view import Motion, Noise


@torch.no_grad()
def denoised_pieces(prior: MotionFlow, files: str) -> dict[str, float | None]:
    """Mean errors in mm of all joints but the pelvis, for each size of noise.

    Args:
        files: motion files, of which the test pieces are taken. As there, joints are seen from the pelvis, whose place in the world nobody
            tells; the root's rotation is known, those of other joints are not.
    """
    nothing = torch.zeros(1, 55, 3)
    data = BenchmarkData(nothing, nothing, nothing, tuple(range(1, NUM_JOINTS)), "", files)
    skeleton = Skeleton(data)
    truth = motions(data)[NUM_VALIDATION_MOTIONS:]
    exact = skeleton.joints(truth)
    rotations = roma.rotvec_to_rotmat(truth[..., :NUM_JOINTS, :]).float()
    bones = bones_of_rest(rest_joints()[:NUM_JOINTS]).float().expand(len(truth), -1, -1)
    found: dict[str, float | None] = {}
    for size in skeleton.sight.levels_mm:
        std, generator = size / 1000, torch.Generator().manual_seed(SEED)
        seen = exact.clone()
        seen[..., 1:, :] += std * torch.randn(exact[..., 1:, :].shape, generator=generator, dtype=torch.float64)
        of_joints = torch.full(exact.shape[:-1], std)
        of_joints[..., 0] = 0
        of_rotations = torch.full_like(of_joints, torch.inf)
        of_rotations[..., 0] = 0
        noise = Noise.of(of_rotations, of_joints)
        noise.path[:] = torch.inf
        joints = prior.restore(Motion(rotations, seen.float()), noise, bones).motion.joints
        apart = (joints - joints[..., :1, :])[..., 1:, :] - exact[..., 1:, :]
        found[f"{size} mm"] = 1000 * float(torch.linalg.vector_norm(apart, dim=-1).mean())
    return found
