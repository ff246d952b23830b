"""What follows for Gaussians and kernels from seeing some of their numbers, or sums of these, with or without noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Added to the covariance of what is not seen before its root is taken, relative to its diagonal: it may be nothing but rounding.
_JITTER = 1e-9
# Share of the largest variance that is nothing but rounding.
_CERTAIN = 1e-12


@dataclass(frozen=True)
class Observation:
    """Of C cells, clusters at W widths: what whitens the V numbers seen, and what they tell of all D.

    Attributes:
        matrix: (V, D) by which what is seen depends on x.
        mean: (C, V) of what is seen, of each cell's cluster.
        whitening: (C, V, V) lower-triangular.
        constant: (C,) log-density in nats at a kernel's centre.
        centres: of each cell, (n, V) whitened; the cluster's mean alone where the width is 1 or more.
        repeats: of each cell, the logarithm of how many centres each of those stands for.
        gain: (C, D, V), by which the mean of all numbers moves with those seen.
        covariance: (C, D, D) float64, of all numbers given those seen.
    """

    matrix: Tensor
    mean: Tensor
    whitening: Tensor
    constant: Tensor
    centres: list[Tensor]
    repeats: list[float]
    gain: Tensor
    covariance: Tensor

    @property
    def num_cells(self) -> int:
        return len(self.constant)

    def logits(self, x: Tensor, cell: int) -> Tensor:
        """Log-densities of the kernels of a cell, in nats: (B, V) -> (B, n)."""
        white = (x - self.mean[cell]) @ self.whitening[cell].T
        centres = self.centres[cell]
        constant = self.constant[cell] + self.repeats[cell] - centres.square().sum(-1) / 2
        return torch.addmm(constant, white, centres.T) - white.square().sum(-1, keepdim=True) / 2

    def gaussians(self, x: Tensor, cells: Sequence[int]) -> Tensor:
        """Log-densities of all kernels together of K cells that have one place, their cluster's mean: (B, V) -> (B, K)."""
        rows = torch.tensor(cells, dtype=torch.long, device=x.device)
        white = torch.einsum("kab,nkb->nka", self.whitening[rows], x.unsqueeze(-2) - self.mean[rows])
        repeats = torch.tensor([self.repeats[cell] for cell in cells]).to(x)
        return self.constant[rows] + repeats - white.square().sum(-1) / 2

    def posterior_root(self, cell: int) -> Tensor:
        """(D, D) a root of the covariance given what is seen; its rows are zero where that is all there is to know."""
        covariance = self.covariance[cell]
        open_ = (covariance.diagonal() > _CERTAIN * covariance.diagonal().max()).nonzero().squeeze(-1)
        covariance = covariance[open_][:, open_]
        root = torch.zeros_like(self.covariance[cell])
        root[open_[:, None], open_] = torch.linalg.cholesky(covariance + torch.diag(_JITTER * covariance.diagonal()))
        return root.to(self.mean)


@torch.no_grad()
def observe(matrix: Tensor, noise: Tensor | None, mean: Tensor, root: Tensor, centres: Sequence[Tensor], widths: Tensor) -> Observation:
    """Args:
    matrix: (V, D) by which what is seen depends on x.
    noise: (V,) variance of independent noise in them; None for none.
    mean, root: (G, D) and (G, D, D), mean and root of the covariance of each cluster.
    centres: of each cluster, (n, D).
    widths: (W,).
    """
    dtype, root, mean = mean.dtype, root.double(), mean.double()
    clusters = root @ root.mT
    prior = (widths.square()[:, None, None] * clusters[:, None]).flatten(0, 1)
    matrix = matrix.double()
    cross = prior @ matrix.T
    seen = matrix @ cross
    if noise is not None:
        seen = seen + torch.diag(noise.double())
    factor = torch.linalg.cholesky(seen)
    eye = torch.eye(len(matrix), dtype=factor.dtype, device=factor.device).expand_as(factor)
    whitening = torch.linalg.solve_triangular(factor, eye, upper=False)
    gain = cross @ whitening.mT @ whitening
    covariance = prior - gain @ cross.mT
    constant = -factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) - len(matrix) / 2 * math.log(2 * math.pi)
    spreads = (1 - widths.square()).clamp_min(0).sqrt()
    whitened, repeats = [], []
    for own, middle, of_cluster in zip(centres, mean, whitening.unflatten(0, (len(centres), -1)), strict=True):
        around = (own.double() - middle) @ matrix.T
        for spread, white in zip(spreads, of_cluster, strict=True):
            whitened.append((spread * around @ white.T).to(dtype) if spread else torch.zeros_like(around[:1]).to(dtype))
            repeats.append(0.0 if spread else math.log(len(around)))
    return Observation(
        matrix=matrix.to(dtype),
        mean=(mean @ matrix.T).repeat_interleave(len(widths), 0).to(dtype),
        whitening=whitening.to(dtype),
        constant=constant.to(dtype),
        centres=whitened,
        repeats=repeats,
        gain=gain.to(dtype),
        covariance=(covariance + covariance.mT) / 2,
    )
