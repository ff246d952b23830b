"""How likely some joints are given the others, for a density that cannot be marginalised in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import DensityCandidate
from pose_priors.benchmarks.priors.gmm import Mixture
from pose_priors.body.rotations import canonicalize

_SEED = 0


@torch.no_grad()
def conditional_log_prob(
    candidate: DensityCandidate, poses: Tensor, hidden: Sequence[int], proposals: Sequence[Mixture], num_draws: int
) -> tuple[Tensor, float]:
    """Log-density of some joints given the others, log p(pose) - log p(rest), where p(rest), the integral of p over the hidden joints, is
    estimated by importance sampling from exact conditionals of mixtures, which draw alike many and are weighed by the balance heuristic
    (Veach & Guibas, "Optimally combining sampling techniques", SIGGRAPH 1995).

    Args:
        candidate: whose density.
        poses: (N, 55, 3).
        hidden: SMPL-X indices of the H joints.
        proposals: over the same joints as the candidate.
        num_draws: of each pose, together.
    Returns:
        (N,) nats against normalised Haar measure over the hidden joints. p(rest) is estimated without bias, hence its logarithm too low and
        the conditional too high. And by how many nats more it is so, on average, with half of the draws: what is wrong with all of them
        is of that size or smaller, if the draws find where the density is.
    """
    generator = torch.Generator().manual_seed(_SEED)
    seen = [joint for joint in candidate.joint_indices if joint not in hidden]
    drawn = [proposal.draw_hidden(poses, hidden, max(2, num_draws // len(proposals)), generator) for proposal in proposals]
    state = torch.stack(drawn, 1).flatten(0, 1)  # in turn, so that each half holds as many of each proposal
    filled = poses.repeat(len(state), 1, 1)
    filled[:, list(hidden)] = canonicalize(state.flatten(0, 1))
    proposed = torch.stack([-p.energies(filled).view(state.shape[:2]) - p.marginal_log_prob(poses, seen) for p in proposals])
    log_weight = -candidate.surprisal(filled).view(state.shape[:2]) - torch.logsumexp(proposed, 0) + math.log(len(proposals))
    # a Gaussian's mass beyond pi is no rotation's
    log_weight = torch.where((state.norm(dim=-1) <= math.pi).all(-1), log_weight, -torch.inf)
    halves = [log_weight[: len(state) // 2], log_weight[len(state) // 2 :]]
    log_rest, *log_rest_of_halves = (torch.logsumexp(weights, 0) - math.log(len(weights)) for weights in (log_weight, *halves))
    return candidate.log_prob(poses) - log_rest, float((log_rest - torch.stack(log_rest_of_halves).mean(0)).mean())
