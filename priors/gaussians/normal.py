"""Normal numbers of which something is known: seen with noise, each with its own, or by a quadratic likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.priors.gaussians.quadratic import Quadratic

# Standard deviation below which noise is taken for that: what is left in single precision of a pose.
LEAST_STD = 1e-3


def posterior_of_normal(precision: Tensor, mean: Tensor, seen: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of numbers from N(mean, precision^-1) that were seen with independent noise.

    Args:
        precision: (D, D) and mean: (D,).
        seen: (*batch, D); what it holds where `std` is infinite does not matter.
        std: (*some, D), which broadcasts to the batch; the work is that of `some`.
    Returns:
        (*batch, D), and (*some, D, D) float64.
    """
    weight = std.double().clamp_min(LEAST_STD).pow(-2)  # zero where nothing is seen
    root = torch.linalg.cholesky(precision.double() + torch.diag_embed(weight))
    covariance = torch.cholesky_inverse(root)
    off = torch.where(std.isfinite(), seen - mean.to(seen), torch.zeros_like(seen))
    gain = (covariance * weight.unsqueeze(-2)).to(seen)
    return mean.to(seen) + (gain @ off.unsqueeze(-1)).squeeze(-1), covariance


def draw_under(
    precision: Tensor, mean: Tensor, likelihood: Quadratic, num: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Draws from N(mean, precision^-1) times quadratic log-likelihoods of O observations.

    Args:
        precision: (D, D) and mean: (D,).
    Returns:
        (num, O, D), and the logarithms (O,) of the integrals of the normal times each.
    """
    precision, mean = precision.double(), mean.double()
    of_seen, centre = likelihood.precision.double(), likelihood.centre.double()
    whole = precision + of_seen
    root = torch.linalg.cholesky(whole)
    weighted = precision @ mean + torch.einsum("oab,ob->oa", of_seen, centre)
    middle = torch.cholesky_solve(weighted.unsqueeze(-1), root).squeeze(-1)
    normal = torch.randn(num, *middle.shape, generator=generator, dtype=likelihood.top.dtype, device=middle.device).double()
    spread = torch.linalg.solve_triangular(root.mT, normal.permute(1, 2, 0), upper=True).permute(2, 0, 1)
    fit = mean @ precision @ mean + torch.einsum("oa,oab,ob->o", centre, of_seen, centre) - (weighted * middle).sum(-1)
    volume = torch.linalg.slogdet(precision).logabsdet - 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return (middle + spread).to(likelihood.top), likelihood.top + ((volume - fit) / 2).to(likelihood.top)
