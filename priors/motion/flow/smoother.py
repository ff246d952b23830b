"""Gaussian processes over the frames of a window: what is seen of a feature tells its other frames, in closed form."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pose_priors.priors.motion.flow.view import GROUP_OF, NUM_FEATURES, NUM_GROUPS, PATH, RUNS

_EXACT = 1e-3  # standard deviations of noise, in those of the data, below which what is seen counts as exact
_LEAST_SCALE = 1e-3  # of the data: what never moves is not blown up
_RIDGE = 1e-6  # of the variance
_ORIGIN_M = 1.0  # standard deviation of where a window's path lies from its origin


class Smoother(nn.Module):
    """Independent Gaussian processes for each feature, of one covariance over time for the features of a group.

    Args:
        num_frames: T, of a window.
    """

    mean: Tensor
    scale: Tensor
    covariance: Tensor
    group: Tensor

    def __init__(self, num_frames: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(NUM_FEATURES))
        self.register_buffer("scale", torch.ones(NUM_GROUPS))
        self.register_buffer("covariance", torch.eye(num_frames, dtype=torch.float64).repeat(NUM_GROUPS, 1, 1))
        self.register_buffer("group", GROUP_OF.clone(), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Smoother:
        """Covariances stay in double precision: rounded, what is seen nearly exactly leaves them none."""
        exact = self.covariance
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.covariance = exact.to(self.covariance.device)
        return self

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Sets means, scales and covariances from windows (N, T, F), whose paths begin anywhere."""
        x = features.double()
        centred = torch.cat([x[..., PATH] - x[..., PATH].mean(1, keepdim=True), x[..., PATH.stop :]], -1)
        self.mean.copy_(centred.mean((0, 1)))
        self.mean[PATH] = 0
        centred = centred - self.mean
        for group in range(NUM_GROUPS):
            of_group = centred[..., group == GROUP_OF]
            scale = of_group.square().mean().sqrt().clamp_min(_LEAST_SCALE)
            unit = (of_group / scale).transpose(1, 2).flatten(0, 1)
            covariance = unit.T @ unit / len(unit)
            if group == 0:
                covariance = covariance + (_ORIGIN_M / scale) ** 2
            self.scale[group] = scale
            self.covariance[group] = covariance + _RIDGE * torch.eye(covariance.shape[-1], dtype=torch.float64)

    def normalized(self, features: Tensor) -> Tensor:
        """Features (..., F) in standard deviations from their mean."""
        return (features - self.mean.to(features)) / self.scale[self.group].to(features)

    def denormalized(self, x: Tensor) -> Tensor:
        """The inverse of `normalized`."""
        return x * self.scale[self.group].to(x) + self.mean.to(x)

    def posterior(self, seen: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """What is known of features, seen with noise: their posterior means and standard deviations under the processes.

        Args:
            seen: (B, T, F) normalised; what it holds where nothing is seen does not matter, NaN neither.
            noise: (B, T, G) standard deviations, of the same unit; infinite where nothing is seen. It has no gradient.
        Returns:
            (B, T, F) and (B, T, G).
        """
        batch = len(noise)
        if batch > 1 and bool((noise == noise[:1]).all()):
            noise = noise[:1]  # what all windows have in common is computed once
        precise = noise.detach().double().clamp_min(_EXACT).reciprocal().transpose(1, 2)  # (B, G, T), 0 where nothing is seen
        covariance = self.covariance.double()
        variance = covariance.diagonal(dim1=-2, dim2=-1).expand(len(noise), -1, -1).clone()
        of_groups = (precise > 0).any(-1).any(0)
        finite = torch.where((precise.transpose(1, 2) > 0)[..., self.group], seen, 0.0).double()
        means, first = [], 0
        for part, (count, size) in zip(finite.split([count * size for count, size in RUNS], -1), RUNS, strict=True):
            groups = torch.arange(first, first + count, device=noise.device)[of_groups[first : first + count]]
            columns = part.unflatten(-1, (count, size)).permute(2, 1, 0, 3)  # (groups, T, B, size)
            mean = torch.zeros_like(columns)
            if len(groups):
                mean[groups - first], variance[:, groups] = self._posterior(columns[groups - first], precise[:, groups], covariance[groups])
            means.append(mean.permute(2, 1, 0, 3).flatten(-2))
            first += count
        std = variance.clamp_min(1e-12).sqrt().transpose(1, 2).to(seen)
        return torch.cat(means, -1).to(seen), std.expand(batch, -1, -1)

    @staticmethod
    def _posterior(columns: Tensor, precise: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Means of columns (G, T, B, size) and variances (B or 1, G, T), by precisions (B or 1, G, T) and covariances (G, T, T)."""
        eye = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
        with torch.no_grad():
            root = torch.linalg.cholesky(eye + precise[..., None] * covariance * precise[..., None, :])
            half = torch.linalg.solve_triangular(root, precise[..., None] * covariance, upper=False)
            variance = covariance.diagonal(dim1=-2, dim2=-1) - half.square().sum(-2)
        one = len(precise) == 1
        told = columns.flatten(2)[None] if one else columns.permute(2, 0, 1, 3)  # (B or 1, G, T, columns)
        mean = half.mT @ torch.linalg.solve_triangular(root, precise[..., None] * told, upper=False)
        return (mean[0].unflatten(-1, columns.shape[2:]) if one else mean.permute(1, 2, 0, 3)), variance
