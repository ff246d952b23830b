"""A density of shrunken kernels around poses, in clusters that share a covariance, with everything that is linear and Gaussian exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pose_priors.priors.gaussians.keeping import Kept
from pose_priors.priors.gaussians.observation import Observation, observe
from pose_priors.priors.networks.derived import at_once

_T = TypeVar("_T")

MAX_KEPT = 3
"""Observations whose factors are kept: an optimiser asks for one noise, or for a few, again and again."""
# Rows whose densities under all kernels are held at once.
_NUM_ROWS = 512
# Nats below the largest exponent from which on nothing is left of the sum in any precision. Exponentials that underflow take fifty times as
# long as others.
_NOTHING = -60.0


class KernelMixture(nn.Module):
    """p(x) = sum of share[m, w] p_mw(x), over M clusterings of N centres and W widths of kernels, x of D numbers.

    p_mw is the mean over centres c of normal densities with mean `mu + sqrt(1 - h^2) (c - mu)` and covariance `h^2 S`, where h is the width
    and mu and S are of the cluster of c. Shrinking centres towards their mean keeps S the covariance of the cluster, whatever the width
    (West, "Approximating posterior distributions by mixtures", JRSS B 55, 1993; Vincent and Bengio, "Manifold Parzen windows", NeurIPS
    2002). At width 1 a cluster is one Gaussian, and p_mw a Gaussian mixture; beyond it the Gaussian is that much wider than the cluster.

    A *cell* is one cluster at one width, number `cluster * W + width` of C. All rows of `x` may have a common `shift`.

    Args:
        size: D.
        num_clusterings: M.
        widths: W, positive.
    """

    centres: Tensor
    group: Tensor
    mean: Tensor
    root: Tensor

    def __init__(self, size: int, num_clusterings: int, widths: Sequence[float]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.log_share = nn.Parameter(torch.zeros(num_clusterings, len(self.widths)))
        self.shift = nn.Parameter(torch.zeros(size))
        # one cluster in each clustering, until it is fitted
        self.register_buffer("centres", torch.zeros(1, size))
        self.register_buffer("group", torch.arange(num_clusterings)[:, None])
        self.register_buffer("mean", torch.zeros(num_clusterings, size))
        self.register_buffer("root", torch.eye(size).expand(num_clusterings, -1, -1).clone())
        self._kept, self._rows_kept = Kept(MAX_KEPT), Kept(1)

    @torch.no_grad()
    def set(self, centres: Tensor, group: Tensor, mean: Tensor, covariance: Tensor, share: Tensor) -> None:
        """Takes what was fitted.

        Args:
            centres: (N, D).
            group: (M, N) in which of G clusters each is, in each clustering; the first clustering has the first clusters, and so on.
            mean: (G, D).
            covariance: (G, D, D).
            share: (M, W).
        """
        values = {"centres": centres, "group": group, "mean": mean, "root": torch.linalg.cholesky(covariance)}
        for name, value in values.items():
            self._resize(name, value.shape)
            getattr(self, name).copy_(value)
        self.log_share.copy_(share.log())
        self.shift.zero_()
        self._forget()

    def log_prob(self, x: Tensor, observation: Observation, is_excluded: Tensor | None = None) -> Tensor:
        """Log-density of what is observed of x, in nats: (B, V) -> (B,)."""
        return torch.logsumexp(self.log_cells(x, observation, is_excluded), -1)

    def log_cells(self, x: Tensor, observation: Observation, is_excluded: Tensor | None = None) -> Tensor:
        """Log of share times density of each cell.

        Args:
            x: (B, V) what is observed.
            is_excluded: (B, N) centres that a row does not have.
        Returns:
            (B, C).
        """
        centred = x - observation.matrix @ self.shift
        kernels, gaussians = ([cell for cell in range(observation.num_cells) if (self._spread(cell) > 0) is many] for many in (True, False))
        densities = [observation.gaussians(centred, gaussians)]
        for cell in kernels:
            logits = observation.logits(centred, cell)
            if is_excluded is not None:
                logits = logits.masked_fill(is_excluded[:, self._rows(cell)], -math.inf)
            densities.append(_log_sum(logits).unsqueeze(-1))
        order = torch.tensor([*gaussians, *kernels], device=x.device).argsort()
        return self._weighted(torch.cat(densities, -1)[:, order])

    def log_parts(self, x: Tensor, observation: Observation) -> Tensor:
        """Log-densities of what is observed of x, (B, V), under each clustering at each width alone: (B, M, W)."""
        cells = (self.log_cells(x, observation) - self._log_share_of_cells()).unflatten(-1, (-1, len(self.widths)))
        return torch.stack([of_clustering.logsumexp(1) for of_clustering in cells.split(self._num_clusters(), 1)], 1)

    def posterior_means(self, x: Tensor, observation: Observation) -> tuple[Tensor, Tensor]:
        """What x is given what is observed of it, in each cell: log-probabilities (B, C) and means (B, C, D)."""
        centred = x - observation.matrix @ self.shift
        densities, means = [], []
        for cell in range(observation.num_cells):
            logits = observation.logits(centred, cell)
            densities.append(torch.logsumexp(logits, -1))
            place = torch.softmax(logits, -1) @ self._places(cell)
            means.append(self._updated(place, centred, observation, cell))
        return torch.log_softmax(self._weighted(torch.stack(densities, -1)), -1), torch.stack(means, 1) + self.shift

    @torch.no_grad()
    def draw(self, x: Tensor, observation: Observation, generator: torch.Generator | None) -> Tensor:
        """Draws all of x given what is observed without noise: (B, V) -> (B, D). One row that is expanded to B is scored once."""
        place, chosen, _ = self._drawn_kernel(x, observation, generator)
        centred = x - observation.matrix @ self.shift
        noise = torch.randn(len(x), self.centres.shape[1], generator=generator, dtype=x.dtype, device=x.device)
        drawn = torch.empty_like(noise)
        for cell in chosen.unique().tolist():
            at = (chosen == cell).nonzero().squeeze(-1)
            drawn[at] = self._updated(place[at], centred[at], observation, cell) + noise[at] @ observation.posterior_root(cell).T
        return drawn + self.shift

    @torch.no_grad()
    def draw_component(self, x: Tensor, observation: Observation, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Draws the kernel that brought forth what is observed without noise, (B, V): its place (B, D), the number (B,) of its cell, and
        the log-density (B,) of what is observed."""
        place, chosen, log_density = self._drawn_kernel(x, observation, generator)
        return place + self.shift, chosen, log_density

    def _drawn_kernel(self, x: Tensor, observation: Observation, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """The same, places without the shift that all have in common."""
        # what is not observed at all is the same for all rows, and so is a row that is expanded
        rows = x[:1] if not x.shape[1] or x.stride(0) == 0 else x
        of_cells = torch.cat([self.log_cells(some, observation) for some in rows.split(_NUM_ROWS)])
        # drawn before rows are grouped, so that a row that is not finite changes no other
        of_cell, of_place = torch.rand((2, len(x), 1), generator=generator, dtype=x.dtype, device=x.device)
        chosen, centred = _picked(of_cells.softmax(-1).expand(len(x), -1), of_cell), rows - observation.matrix @ self.shift
        place = x.new_empty(len(x), self.centres.shape[1])
        for cell in chosen.unique().tolist():
            at = (chosen == cell).nonzero().squeeze(-1)
            share = observation.logits(centred if len(rows) == 1 else centred[at], cell).softmax(-1)
            place[at] = self._places(cell)[_picked(share.expand(len(at), -1), of_place[at])]
        return place, chosen, of_cells.logsumexp(-1).expand(len(x))

    def observation(self, columns: Tensor | None = None, noise: Tensor | None = None) -> Observation:
        """What follows from seeing some of the D numbers.

        Args:
            columns: (V,) which, all by default.
            noise: (V,) variance of independent normal noise in each, none by default.
        """
        with at_once():
            key = tuple(None if value is None else tuple(value.tolist()) for value in (columns, noise))

            def made() -> Observation:
                rows = torch.eye(len(self.shift), dtype=torch.float64, device=self.mean.device)
                return self.observation_of(rows if columns is None else rows[columns], noise)

            return self.kept(key, made, lambda observation: observation.matrix)

    def kept(self, key: Any, made: Callable[[], _T], sample: Callable[[_T], Tensor], trained: bool = False) -> _T:
        """What follows from the mixture as it is, and from its shares and shift if `trained`: worked out anew only if it was not among the
        latest few keys. It is kept until the mixture changes, if a tensor of it, `sample`, may be."""
        return self._kept.get(key, [*self.buffers(), *(self.parameters() if trained else ())], made, sample)

    def observation_of(self, matrix: Tensor, noise: Tensor | None = None) -> Observation:
        """What follows from seeing V sums of the D numbers, by a matrix (V, D); `noise` as in `observation`."""
        widths = torch.tensor(self.widths, dtype=torch.float64, device=self.mean.device)
        centres = [self.centres[rows] for rows in self._clusters()]
        return observe(matrix, noise, self.mean, self.root, centres, widths)

    def repeats(self, x: Tensor) -> Tensor:
        """Which centres are the row itself, (B, D) -> (B, N), so that training can leave them out."""
        return torch.cdist(x, self.centres, compute_mode="donot_use_mm_for_euclid_dist") < 1e-4

    def finest(self) -> Tensor:
        """Which of the G clusters are of the clustering that has the most."""
        numbers = self._num_clusters()
        most = numbers.index(max(numbers))
        return torch.arange(sum(numbers[:most]), sum(numbers[: most + 1]), device=self.mean.device)

    def clusters(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Of each of the G clusters the mean (D,), the root (D, D) of the covariance, the centres (n, D), and the logarithm of what each of
        these counts at each width, (W,)."""
        share = (self._log_share_of_cells() - math.log(len(self.centres))).unflatten(0, (-1, len(self.widths)))
        parts = zip(self.mean + self.shift, self.root, self._clusters(), share, strict=True)
        return [(mean, root, self.centres[rows] + self.shift, own) for mean, root, rows, own in parts]

    def _updated(self, place: Tensor, centred: Tensor, observation: Observation, cell: int) -> Tensor:
        """Means (B, D) of Gaussians of a cell, given what is observed (B, V)."""
        return place + (centred - place @ observation.matrix.T) @ observation.gain[cell].T

    def _places(self, cell: int) -> Tensor:
        """(n, D) where the kernels of a cell are; from width 1 on there is one, at the cluster's mean."""
        mean, spread = self.mean[cell // len(self.widths)], self._spread(cell)
        return mean + spread * (self.centres[self._rows(cell)] - mean) if spread else mean[None]

    def _spread(self, cell: int) -> float:
        """What is left of the distance of a cell's centres from their mean."""
        return math.sqrt(max(0.0, 1 - self.widths[cell % len(self.widths)] ** 2))

    def _rows(self, cell: int) -> Tensor:
        return self._clusters()[cell // len(self.widths)]

    def _clusters(self) -> list[Tensor]:
        """The rows of `centres` in each of G clusters."""

        def made() -> list[Tensor]:
            rows: list[Tensor] = []
            with at_once():
                for group in self.group:
                    rows.extend(group.argsort(stable=True).split((group - group.min()).bincount().tolist()))
            return rows

        return self._rows_kept.get("rows", (self.group,), made, lambda rows: rows[0])

    def _weighted(self, densities: Tensor) -> Tensor:
        """Log of sums over the centres of each cell, (B, C), as log of share times density."""
        return densities - math.log(len(self.centres)) + self._log_share_of_cells()

    def _log_share_of_cells(self) -> Tensor:
        share = torch.log_softmax(self.log_share.flatten(), -1).view_as(self.log_share)
        return torch.cat([of_clustering.repeat(num) for of_clustering, num in zip(share, self._num_clusters(), strict=True)])

    def _num_clusters(self) -> list[int]:
        """How many of the G clusters each clustering has."""
        with at_once():
            ends = [-1, *self.group.amax(1).tolist()]
        return [after - before for before, after in pairwise(ends)]

    def _resize(self, name: str, shape: Sequence[int]) -> None:
        own = getattr(self, name)
        if own.shape != tuple(shape):
            self._buffers[name] = torch.empty(tuple(shape), dtype=own.dtype, device=own.device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        for name in ("centres", "group", "mean", "root"):  # how many there are is the data's to say
            if prefix + name in state_dict:
                self._resize(name, state_dict[prefix + name].shape)
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        self._forget()

    def _forget(self) -> None:
        self._kept.forget()
        self._rows_kept.forget()


def _log_sum(logits: Tensor) -> Tensor:
    """`torch.logsumexp` over the last dimension, but for the gradient it keeps the exponentials, which are most of what a pose costs."""
    if logits.shape[-1] == 1:
        return logits.squeeze(-1)
    parts, peak = exponentials(logits)
    return peak.squeeze(-1) + parts.sum(-1).log()


def exponentials(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Of what is relative to the largest of the last dimension, (..., K), and that largest, (..., 1), which is a constant to gradients."""
    peak = logits.detach().amax(-1, keepdim=True).clamp_min(torch.finfo(logits.dtype).min)
    return (logits - peak).clamp_min(_NOTHING).exp(), peak


def _picked(share: Tensor, uniform: Tensor) -> Tensor:
    """(B,) one of K with probabilities (B, K), by numbers in [0, 1), (B, 1); anything where these are not finite."""
    cumulated = share.cumsum(-1)
    found: Tensor = torch.searchsorted(cumulated, uniform * cumulated[:, -1:], right=True).squeeze(-1)
    return found.clamp_max(share.shape[-1] - 1)
