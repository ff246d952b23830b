"""Heavy tails for flows: what a flow has learnt, told also of poses that are unlike those it has seen."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pose_priors.priors.angular_central_gaussian import defend
from pose_priors.priors.networks.flows import standard_normal_log_prob

_DEGREES = 4
# Share of the defensive component that holds for rotations from anywhere: it keeps the density finite, and says nothing of poses.
_ANYWHERE = 1e-10


def defended_by_tails(noise: Tensor, counts: Tensor, log_volume: Tensor, log_anywhere: Tensor, weight: float) -> Tensor:
    """The log-density of a flow that begins in normal noise, and a share `weight` of the time in noise of heavier tails, Student's t of 4
    degrees of freedom about all joints at once (Jaini et al., "Tails of Lipschitz triangular flows", ICML 2020).

    Far from the data both say what the flow has learnt of how joints go together, the latter without being sure. A broad density that
    knows each joint by itself would say the same of poses that are put together from others' joints as of real ones.

    Args:
        noise: (*batch, J, 3) where the paths of poses begin.
        counts: (*batch, J) bool, of which joints that is to be scored.
        log_volume: (*batch,) logarithm of how much the flow stretches the measure, from poses to noise.
        log_anywhere: (*batch,) log-density of the joints that count under a density that is finite for all rotations.
        weight: in (0, 1).
    Returns:
        (*batch,) nats.
    """
    squares, number = (noise.square().sum(-1) * counts).sum(-1), 3 * counts.sum(-1).to(noise)
    normal = (standard_normal_log_prob(noise) * counts).sum(-1)
    tails = defend(_student_t(squares, number) + log_volume, log_anywhere, _ANYWHERE)
    return defend(normal + log_volume, tails, weight)


def tails_of(normal: Tensor, generator: torch.Generator | None) -> Tensor:
    """Noise of Student's t from standard normal noise, (N, D) -> (N, D); of some of the D numbers, too, it is that."""
    chi_squared = torch.randn(len(normal), _DEGREES, generator=generator, dtype=normal.dtype, device=normal.device).square()
    return normal / chi_squared.mean(-1, keepdim=True).sqrt()


def _student_t(squares: Tensor, number: Tensor) -> Tensor:
    """Log-density by the sum of squares of so many numbers."""
    half = _DEGREES / 2
    constant = torch.lgamma(half + number / 2) - math.lgamma(half) - number / 2 * math.log(_DEGREES * math.pi)
    return constant - (half + number / 2) * torch.log1p(squares / _DEGREES)
