"""How priors are compared beside their likelihood: can the energy tell real poses from corrupted ones, and do samples look like data?"""

from __future__ import annotations

import math

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.rotations import canonicalize
from pose_priors.body.skeleton import PARENTS
from pose_priors.priors.base import Prior
from pose_priors.priors.evaluation.scores import energies_of

_NOISE_DEG = 2.0
NUM_NEIGHBOURS = 3
"""Neighbours by which the manifolds of data and of samples are told."""
_CHUNK = 2000


def corruptions(poses: Tensor, joints: tuple[int, ...], seed: int = 0) -> dict[str, Tensor]:
    """Poses made wrong in three ways that a prior should notice, each (N, 55, 3).

    `one_joint` takes the rotation of one joint per pose from another pose; `one_limb` those of a joint and all below it; `noise_2deg` turns
    every joint by a random rotation whose components are normal with 2 degrees.

    Args:
        poses: (N, 55, 3).
        joints: SMPL-X indices of the joints that may be touched.
    """
    generator = torch.Generator().manual_seed(seed)
    num, index = len(poses), torch.tensor(joints)
    limbs = [[j for j in joints if top in _chain(j)] for top in joints]
    limbs = [limb for limb in limbs if 1 < len(limb) < len(joints)] or [[j] for j in joints]
    one, limb, noisy = poses.clone(), poses.clone(), poses.clone()
    rows = torch.arange(num)
    picked = index[torch.randint(len(index), (num,), generator=generator)]
    one[rows, picked] = poses[torch.randperm(num, generator=generator), picked]
    donors, which = torch.randperm(num, generator=generator), torch.randint(len(limbs), (num,), generator=generator)
    for row, (donor, choice) in enumerate(zip(donors.tolist(), which.tolist(), strict=True)):
        limb[row, limbs[choice]] = poses[donor, limbs[choice]]
    noise = torch.randn(num, len(joints), 3, generator=generator, dtype=poses.dtype) * math.radians(_NOISE_DEG)
    turned = conversions.rotvec_to_rotmat(poses[:, index]) @ conversions.rotvec_to_rotmat(noise)
    noisy[:, index] = canonicalize(conversions.rotmat_to_rotvec(turned))
    return {"one_joint": one, "one_limb": limb, "noise_2deg": noisy}


def auroc(prior: Prior, poses: Tensor) -> dict[str, float]:
    """Area under the ROC curve of the energy, real poses (N, 55, 3) against each kind of corrupted ones; 0.5 is chance."""
    real = energies_of(prior, poses)
    label = torch.cat([torch.zeros(len(real)), torch.ones(len(real))]).numpy()
    values = {}
    for name, corrupted in corruptions(poses.cpu(), prior.joint_indices).items():
        energy = torch.cat([real, energies_of(prior, corrupted.to(poses.device))])
        values[f"auroc_{name}"] = float(roc_auc_score(label, energy.cpu().numpy()))
    return values


def precision_recall(samples: Tensor, poses: Tensor) -> tuple[float, float]:
    """Share of samples within the manifold of the data, and of data within that of the samples, by 3 nearest neighbours (Kynkaanniemi et
    al., "Improved Precision and Recall Metric", NeurIPS 2019), in raw rotation vectors as Lu et al. (DPoser) measure it.

    Args:
        samples, poses: (N, J, 3) and (M, J, 3).
    """
    samples, poses = samples.flatten(1), poses.flatten(1)
    radius_of_poses, radius_of_samples = neighbour_radii(poses), neighbour_radii(samples)
    within = torch.zeros(len(samples), dtype=torch.bool, device=samples.device)
    covered = torch.zeros(len(poses), dtype=torch.bool, device=samples.device)
    for start in range(0, len(samples), _CHUNK):
        distance = torch.cdist(samples[start : start + _CHUNK], poses)
        within[start : start + _CHUNK] = (distance < radius_of_poses).any(1)
        covered |= (distance < radius_of_samples[start : start + _CHUNK, None]).any(0)
    return float(within.float().mean()), float(covered.float().mean())


def neighbour_radii(points: Tensor) -> Tensor:
    """Distance of each point to its third neighbour, itself not counted: (N, D) -> (N,)."""
    count = min(NUM_NEIGHBOURS + 1, len(points))
    return torch.cat([torch.cdist(chunk, points).topk(count, largest=False).values[:, -1] for chunk in points.split(_CHUNK)])


def _chain(joint: int) -> list[int]:
    """The joint and its ancestors."""
    chain = [joint]
    while PARENTS[chain[-1]] >= 0:
        chain.append(PARENTS[chain[-1]])
    return chain
