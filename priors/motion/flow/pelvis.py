"""A pelvis that is not seen while other joints are: where these say that it is, and how surely. All places are seen from it."""

from __future__ import annotations

import torch

from pose_priors.priors.motion.flow.smoother import Smoother
from pose_priors.priors.motion.flow.view import (
    GROUPS_OF_PLACES,
    Motion,
    Noise,
    find_reference,
    from_features,
    noise_of_groups,
    to_features,
)


def with_pelvis(smoother: Smoother, motion: Motion, noise: Noise) -> tuple[Motion, Noise]:
    """Windows (B, T, ...) with a pelvis on all frames on which any joint is seen.

    Each joint that is seen says where the pelvis is, by the place from it that the smoother expects the joint at: at rest about the body's
    heading, or as it was on frames near by. So do frames near by that see the pelvis. These are mixed by their precisions. How far joints
    are from where they are expected is taken to be the same error for all of them, as of a body that leans; their noise is of each alone.
    """
    sighted, told = noise.joints[..., 0].isfinite(), noise.joints[..., 1:]
    filled = ~sighted & told.isfinite().any(-1)
    if not filled.any():
        return motion, noise
    reference = find_reference(motion, noise)
    smooth, left = smoother.posterior(smoother.normalized(to_features(motion, reference)), noise_of_groups(noise) / smoother.scale)
    expected, left = from_features(smoother.denormalized(smooth), reference).joints, left * smoother.scale
    seen = told.isfinite()
    places = expected[..., 1:, :] - expected[..., :1, :]
    lost = reference.turn[..., :1, 0] == 1  # nothing tells the heading
    around = torch.where(lost, torch.linalg.vector_norm(places[..., :2], dim=-1).detach(), 0.0)
    apart = torch.where(seen, torch.hypot(left[..., GROUPS_OF_PLACES], around), 0.0)
    alone = torch.where(seen, told, 0.0)
    from_joints = torch.where(seen[..., None], motion.joints[..., 1:, :] - places, 0.0)
    by_joint = torch.where(seen, 1 / (apart.square() + alone.square()), 0.0)
    share = by_joint / by_joint.sum(-1, keepdim=True).clamp_min(1e-30)
    by_joints = (share[..., None] * from_joints).sum(-2)
    variance = (share * alone).square().sum(-1) + (share * apart).sum(-1).square()
    near = sighted.any(1, keepdim=True) & noise.path.isfinite()
    own = torch.where(near, left[..., :2].amax(-1).square(), torch.inf)
    mixed = variance / (variance + own)
    pelvis = torch.where(near[..., None], (1 - mixed)[..., None] * by_joints + mixed[..., None] * expected[..., 0, :], by_joints)
    std = ((1 - mixed) * variance).sqrt()
    joints = torch.cat([torch.where(filled[..., None], pelvis, motion.joints[..., 0, :])[..., None, :], motion.joints[..., 1:, :]], -2)
    of_joints = torch.cat([torch.where(filled, std, noise.joints[..., 0])[..., None], told], -1)
    return Motion(motion.rotations, joints, motion.contacts), Noise(noise.rotations, of_joints, noise.contacts, noise.path)
