"""The velocities of straight paths from the standard normal to a kernel mixture, and their divergence, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_priors.priors.gaussians.kernels import KernelMixture, exponentials
from pose_priors.priors.networks.derived import at_once


class KernelPaths:
    """v(x, t) = E[end - start | x_t = x] of paths x_t = (1 - t) start + t end, `start` standard normal and `end` of a kernel mixture, both
    independent: what a network of flow matching regresses, of a density that is known (Lipman et al., ICLR 2023).

    The velocity of each kernel is linear in x; kernels have as much of a say as they were to be met at x. Along the axes of its cluster's
    covariance a kernel is a product of normals at all times, so that nothing is factored on the way.

    Args:
        kernels: the mixture, of D numbers; what follows from it is worked out once.
        known: (D,) bool, which numbers of x are those of the end from the start; paths are those of the others given these. None for none.
    """

    def __init__(self, kernels: KernelMixture, known: Tensor | None = None) -> None:
        with at_once(), torch.inference_mode(False), torch.no_grad():
            if known is None:
                known = torch.zeros_like(kernels.shift, dtype=torch.bool)
            self._clusters = [_clustered(*cluster, known, kernels.widths) for cluster in kernels.clusters()]

    @classmethod
    def of(cls, kernels: KernelMixture, known: Tensor | None = None) -> KernelPaths:
        """The same, worked out anew only if it was not among the last few."""
        with at_once():
            key = ("paths", None if known is None else tuple(known.tolist()))
        return kernels.kept(key, lambda: cls(kernels, known), lambda paths: paths._clusters[0].basis, trained=True)

    def velocity(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, D), (B,) in [0, 1] or (1,) for all, which costs less -> (B, D), zero where numbers are known."""
        cells = [cluster.cells(x, time[:, None], spreads=False) for cluster in self._clusters]
        share = torch.cat([found.log_share for found in cells]).softmax(0)
        velocity = torch.zeros_like(x)
        for cluster, found, own in zip(self._clusters, cells, share.split([len(found.log_share) for found in cells]), strict=True):
            along = (own.unsqueeze(-1) * found.velocity).sum(0)
            velocity = velocity + cluster.placed(own.sum(0)[:, None] * found.middle + along @ cluster.basis.to(x).T)
        return velocity

    def divergence(self, x: Tensor, time: Tensor) -> Tensor:
        """The sum of the slopes of those velocities that are not known, each along its own number: (B, D), (B,) or (1,) -> (B,).

        Within a kernel they are those of a line; what x says of which kernel it is adds the covariance of scores and velocities."""
        cells = [cluster.cells(x, time[:, None], spreads=True) for cluster in self._clusters]
        share = torch.cat([found.log_share for found in cells]).softmax(0).unsqueeze(-1)
        turned = [(found, cluster.basis.to(x).T) for cluster, found in zip(self._clusters, cells, strict=True)]
        velocity = torch.cat([found.middle + found.velocity @ axes for found, axes in turned])
        score = torch.cat([found.score @ axes for found, axes in turned])
        between = ((velocity - (share * velocity).sum(0)) * (score - (share * score).sum(0))).sum(-1)
        within = torch.cat([found.divergence for found in cells])
        return (share.squeeze(-1) * (within + between)).sum(0)


@dataclass(frozen=True)
class _Cells:
    """What a cluster says of x at its W widths.

    Attributes:
        log_share: (W, B) log of how much each has of x, up to what all cells have in common.
        middle: (B, H) where the cluster's mean is, given what is known.
        velocity: (W, B, H) along the axes, less the middle.
        score: (W, B, H) the slope of the log-density along the axes, and `divergence` (W, B) of the velocity; anything unless asked for.
    """

    log_share: Tensor
    middle: Tensor
    velocity: Tensor
    score: Tensor
    divergence: Tensor


@dataclass(frozen=True)
class _Cluster:
    """Kernels of one covariance, seen from their mean; V of D numbers are known, H are on their way.

    Attributes:
        known, moving: (V,), (H,) which numbers these are.
        mean: (D,).
        gain: (H, V) by which what is expected of the H moves with the V.
        basis, variance: (H, H) axes of the covariance of the H given the V, in columns, and (H,) the variances along these.
        places: (n, H) along these axes, where centres are beyond what their V say; `squares` are theirs.
        whitening, whitened: (V, V) of the V, and (n, V) the centres' V, whitened.
        widths: (W,), the narrow ones, of which each centre has a kernel, before those of single Gaussians; `num_kernels` is how many.
        log_counts: (W,) log of what each centre counts at each width, with the constant of the normal density of its V.
    """

    known: Tensor
    moving: Tensor
    mean: Tensor
    gain: Tensor
    basis: Tensor
    variance: Tensor
    places: Tensor
    squares: Tensor
    whitening: Tensor
    whitened: Tensor
    widths: Tensor
    log_counts: Tensor
    num_kernels: int

    def cells(self, x: Tensor, time: Tensor, spreads: bool) -> _Cells:
        """(B, D), (B, 1) or (1, 1); scores and divergences if `spreads`."""
        off = x[:, self.known] - self.mean[self.known].to(x)
        middle = self.mean[self.moving].to(x) + off @ self.gain.to(x).T
        at, left = (x[:, self.moving] - time * middle) @ self.basis.to(x), 1 - time
        white, width = off @ self.whitening.to(x).T, self.widths.to(x)[:, None, None]
        variance = width.square() * self.variance.to(x)
        precision = 1 / (time.square() * variance + left.square())
        of_known = white.square().sum(-1) / width.squeeze(-1).square()
        log_share = self.log_counts.to(x)[:, None] + ((precision.log() - at.square() * precision).sum(-1) - of_known) / 2
        # of each kernel, beyond what all in its cell have in common: a product, and what all rows have in common
        places, squares, seen, num = self.places.to(x), self.squares.to(x), self.whitened.to(x), self.num_kernels
        spread = (1 - width[:num].square()).sqrt()
        moved, sure = spread * time, spread / width[:num].square()
        factors, of_kernels = [moved * at * precision[:num], sure * white], [places, seen]
        common = -(sure * spread / 2 * seen.square().sum(-1))
        if time.shape[0] == 1:
            common = common - (moved.square() / 2 * precision[:num]) @ squares.T
        else:
            factors, of_kernels = [*factors, -(moved.square()) / 2 * precision[:num]], [*of_kernels, squares]
        nearer = torch.cat(factors, -1) @ torch.cat(of_kernels, -1).T + common
        parts, peak = exponentials(nearer)
        total = parts.sum(-1, keepdim=True)
        none = at.new_zeros(len(precision) - num, *at.shape)
        log_share = log_share + torch.cat([(peak + total.log()).squeeze(-1), torch.full_like(log_share[num:], math.log(len(places)))])
        place = torch.cat([spread * (parts @ places) / total, none])
        slope = (time * variance - left) * precision
        velocity = slope * at + left * precision * place
        if not spreads:
            return _Cells(log_share, middle, velocity, velocity, log_share)
        around = torch.cat([spread.square() * (parts @ squares) / total, none]) - place.square()
        divergence = (slope + time * left * precision.square() * around.clamp_min(0)).sum(-1)
        return _Cells(log_share, middle, velocity, (time * place - at) * precision, divergence)

    def placed(self, moving: Tensor) -> Tensor:
        """(B, H) -> (B, D), zero where numbers are known."""
        if not len(self.known):
            return moving
        return moving.new_zeros(moving.shape[0], len(self.mean)).index_copy(1, self.moving, moving)


def _clustered(mean: Tensor, root: Tensor, centres: Tensor, log_counts: Tensor, known: Tensor, widths: Sequence[float]) -> _Cluster:
    """In double precision, but for what is multiplied with each row; arguments as `KernelMixture.clusters` gives them."""
    dtype = root.dtype
    seen, moving = known.nonzero().squeeze(-1), (~known).nonzero().squeeze(-1)
    covariance, off = root.double() @ root.double().mT, (centres - mean).double()
    factor = torch.linalg.cholesky(covariance[seen][:, seen])
    whitening = torch.linalg.solve_triangular(factor, torch.eye(len(seen)).to(factor), upper=False)
    cross = covariance[moving][:, seen] @ whitening.mT
    variance, basis = torch.linalg.eigh(covariance[moving][:, moving] - cross @ cross.mT)
    gain = cross @ whitening
    ordered = sorted(range(len(widths)), key=lambda number: widths[number] >= 1)
    wide = torch.tensor([widths[number] for number in ordered]).to(factor)
    constant = -factor.diagonal().log().sum() - len(seen) * wide.log()
    places = ((off[:, moving] - off[:, seen] @ gain.mT) @ basis).to(dtype)
    return _Cluster(
        known=seen,
        moving=moving,
        mean=mean.to(dtype),
        gain=gain.to(dtype),
        basis=basis.to(dtype),
        variance=variance.clamp_min(0).to(dtype),
        places=places,
        squares=places.square(),
        whitening=whitening.to(dtype),
        whitened=(off[:, seen] @ whitening.mT).to(dtype),
        widths=wide.to(dtype),
        log_counts=(log_counts[ordered] + constant).to(dtype),
        num_kernels=sum(width < 1 for width in widths),
    )
