"""The numbers that priors are compared by."""

from __future__ import annotations

import math
from typing import Any

import roma
import torch
from torch import Tensor

from body.rotations import geodesic_angle
from priors.base import DensityPrior, Prior, TrainablePrior

_CHUNK = 2048


def bits_per_dof(nll: float, num_joints: int) -> float:
    """Negative log-likelihood in nats, over all joints, as bits for each of their 3 J degrees of freedom."""
    return nll / (3 * num_joints * math.log(2))


def summarize(prior: TrainablePrior, energies: Tensor) -> dict[str, Any]:
    """The scores of poses or motions by their energies (N,): of a density, negative log-likelihoods; of any other prior, energies."""
    mean, median, worst = (float(x) for x in (energies.mean(), energies.median(), energies.max()))
    if not isinstance(prior, DensityPrior):
        return {"energy": mean, "energy_median": median, "energy_worst": worst}
    return {"nll": mean, "nll_median": median, "nll_worst": worst, "bits_per_dof": bits_per_dof(mean, prior.num_joints)}


@torch.no_grad()
def energies_of(prior: Prior, poses: Tensor) -> Tensor:
    """(N, 55, 3) -> (N,), in chunks of bounded memory."""
    return torch.cat([prior.energy(chunk) for chunk in poses.split(_CHUNK)])


@torch.no_grad()
def round_trip_deg(prior: Prior, poses: Tensor) -> float:
    """Mean angle in degrees between poses (N, 55, 3) and their reconstruction, over the joints learnt."""
    there, back = (roma.rotvec_to_rotmat(prior.select(pose)) for pose in (poses, prior.reconstruct(poses)))
    return float(geodesic_angle(there, back).mean().rad2deg())


@torch.no_grad()
def evaluate(prior: Prior, poses: Tensor) -> dict[str, Any]:
    """All scores of a prior on held-out poses (N, 55, 3): nats against normalised Haar measure over `joints`.

    A prior without a density has `nll` None, and reports `nll_bound`, its importance-weighted bound, with the number of samples.
    """
    result: dict[str, Any] = {"nll": None, "nll_median": None, "bits_per_dof": None}
    result |= summarize(prior, energies_of(prior, poses))
    result |= prior.extra_scores(poses)
    return result | {"joints": list(prior.joints), "num_poses": len(poses)}
