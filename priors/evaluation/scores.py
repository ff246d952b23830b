"""The numbers that priors are compared by."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.rotations import geodesic_angle
from pose_priors.priors.base import DensityPrior, Prior, TrainablePrior

_CHUNK = 2048


def bits_per_dof(nll: float, num_joints: int) -> float:
    """Negative log-likelihood in nats, over all joints, as bits for each of their 3 J degrees of freedom."""
    return nll / (3 * num_joints * math.log(2))


def likelihood_scores(nll: Tensor, num_joints: int) -> dict[str, float]:
    """The scores of poses by their negative log-likelihoods (N,) in nats."""
    values = _spread("nll", nll)
    return values | {"bits_per_dof": bits_per_dof(values["nll"], num_joints)}


def summarize(prior: TrainablePrior, energies: Tensor) -> dict[str, Any]:
    """The scores of poses or motions by their energies (N,), which are called negative log-likelihoods where they are that exactly."""
    if isinstance(prior, DensityPrior) and prior.energy_is_nll:
        return likelihood_scores(energies, prior.num_joints)
    return _spread("energy", energies)


def _spread(name: str, values: Tensor) -> dict[str, float]:
    return {name: float(values.mean()), f"{name}_median": float(values.median()), f"{name}_worst": float(values.max())}


@torch.no_grad()
def energies_of(prior: Prior, poses: Tensor) -> Tensor:
    """(N, 55, 3) -> (N,), in chunks of bounded memory."""
    return torch.cat([prior.energy(chunk) for chunk in poses.split(_CHUNK)])


@torch.no_grad()
def round_trip_deg(prior: Prior, poses: Tensor) -> float:
    """Mean angle in degrees between poses (N, 55, 3) and their reconstruction, over the joints learnt."""
    there, back = (conversions.rotvec_to_rotmat(prior.select(pose)) for pose in (poses, prior.reconstruct(poses)))
    return float(geodesic_angle(there, back).mean().rad2deg())


@torch.no_grad()
def evaluate(prior: Prior, poses: Tensor, followed: Tensor | None = None, some: Tensor | None = None) -> dict[str, Any]:
    """All scores of a prior on held-out poses (N, 55, 3): nats against normalised Haar measure over `joints`.

    `nll_standard_error` is how far off the mean may be because the poses are no more. A prior without a density has `nll` None, and reports
    `nll_bound`, its importance-weighted bound, with the number of samples.

    Args:
        followed: those of the poses whose density is taken, where it is another thing than the energy; all without it.
        some: those that have the scores of this kind of prior alone; all without it.
    """
    result: dict[str, Any] = {"nll": None, "nll_median": None, "bits_per_dof": None}
    energies = energies_of(prior, poses)
    result |= summarize(prior, energies) | {"num_poses": len(poses)}
    if isinstance(prior, DensityPrior):
        nll = energies
        if not prior.energy_is_nll:
            followed = poses if followed is None else followed
            nll = -prior.log_prob(followed)
            result |= likelihood_scores(nll, prior.num_joints) | {"num_poses_followed": len(followed)}
        result["nll_standard_error"] = float(nll.double().std() / math.sqrt(len(nll))) if len(nll) > 1 else None
    return result | prior.extra_scores(poses if some is None else some) | {"joints": list(prior.joints)}
