"""Which joint of a pose is implausible: the full conditional of each joint given all the others, for any prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.priors.angular_central_gaussian import AngularCentralGaussian
from pose_priors.priors.base import Prior

_NUM_FITTED = 1024
_CHUNK_ROWS = 4096
# Added to the samples' covariance, in square radians: a joint that hardly moves keeps a proposal of half a degree.
_FLOOR = 1e-4
# Of the proposal around the pose's own rotation as a part of the conditional Gaussian's: flows are sharper than it.
_NARROW = 0.25


@torch.no_grad()
def nll_per_joint(prior: Prior, pose: Tensor, num_draws: int = 32) -> Tensor:
    """-log p(joint j | all other joints) in nats against normalised Haar measure on SO(3): 0 is what a uniform rotation would have.

    These are the terms of the pseudo-likelihood (Besag, "Statistical Analysis of Non-Lattice Data", The Statistician 1975). Since
    p(x_j | rest) = p(x) / Z_j(x), where Z_j(x) is the integral of p(x with y for joint j) over all rotations y, whatever p is multiplied by
    cancels, and the prior's energy is all that is needed. Z_j is estimated by importance sampling from two heavy-tailed densities in equal
    shares (the balance heuristic of Veach and Guibas, SIGGRAPH 1995): one around what a Gaussian, fitted to samples of the prior,
    expects of the joint given the others, and a narrower one around the rotation that the joint has. The same draws serve all poses,
    so poses can be compared, and the same arguments give the same numbers. Too few draws err towards too plausible.

    Of a prior without a density the same is computed as if exp(-energy) were one.

    Args:
        prior: in evaluation mode.
        pose: (*batch, 55, 3) rotation vectors, on the prior's device.
        num_draws: rotations to try for each joint, even; the cost is J * num_draws energies a pose.
    Returns:
        (*batch, J), in the order of `prior.joints`; no gradient.
    """
    generator = torch.Generator(prior.default_pose.device).manual_seed(0)
    samples = prior.select(prior.sample(_NUM_FITTED, generator)).flatten(1).double()
    mean = samples.mean(0)
    precision = torch.linalg.inv(torch.cov(samples.T) + _FLOOR * torch.eye(len(mean)).to(samples))
    blocks = precision.unflatten(0, (-1, 3)).unflatten(2, (-1, 3)).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    covariance = torch.linalg.inv(blocks)
    proposals = [_around_identity(covariance * scale**2) for scale in (1.0, _NARROW)]
    draws = [conversions.rotvec_to_unitquat(proposal.sample(num_draws // 2, generator)) for proposal in proposals]

    rows = []
    for poses in pose.reshape(-1, *pose.shape[-2:]).to(prior.default_pose).split(max(1, _CHUNK_ROWS // num_draws)):
        own = prior.select(poses).double()
        gradient = ((own.flatten(1) - mean) @ precision).view_as(own)
        expected = own - torch.einsum("bja,jac->bjc", gradient, covariance)
        modes = [conversions.rotvec_to_unitquat(mode)[:, None] for mode in (expected, own)]
        # (B, num_draws, J): the rotations that are tried, and the density that they come from
        tried = torch.cat([_product(mode, around) for mode, around in zip(modes, draws, strict=True)], 1)
        relative = [conversions.unitquat_to_rotvec(_product(conversions.quat_conjugation(mode), tried)) for mode in modes]
        log_proposal = torch.stack([p.log_prob(r) for p, r in zip(proposals, relative, strict=True)]).logsumexp(0) - math.log(2)
        rotvec, energy = conversions.unitquat_to_rotvec(tried).to(poses), prior.energy(poses)
        columns = []
        for at, joint in enumerate(prior.joint_indices):
            changed = poses[:, None].repeat(1, tried.shape[1], 1, 1)
            changed[:, :, joint] = rotvec[:, :, at]
            log_weight = -prior.energy(changed) - log_proposal[..., at]
            columns.append(energy + torch.logsumexp(log_weight, 1) - math.log(tried.shape[1]))
        rows.append(torch.stack(columns, -1).to(poses))
    return torch.cat(rows).view(*pose.shape[:-2], prior.num_joints)


def _around_identity(covariance: Tensor) -> AngularCentralGaussian:
    """Densities on SO(3) whose rotation vectors near the identity are Cauchy vectors of that scale: (J, 3, 3) square radians."""
    density = AngularCentralGaussian(len(covariance)).to(covariance)
    density.scatter[:, :3, :3] = covariance / 4
    return density


def _product(a: Tensor, b: Tensor) -> Tensor:
    a, b = torch.broadcast_tensors(a, b)
    product: Tensor = conversions.quat_product(a, b)
    return product
