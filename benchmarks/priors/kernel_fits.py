"""The strongest of the simple baselines: kernel density estimates and averaged Gaussian mixtures, their settings chosen by validation."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from functools import lru_cache

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.kernels import KernelMixture

log = logging.getLogger("benchmark")

_BANDWIDTHS = (0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_NUM_COMPONENTS, _FLOORS, _RESTARTS = (8, 16), (1e-4, 1e-3), 7
_BROAD = (1.5, 2.5, 5.0)
"""Widths of the broad Gaussians that defend a mixture, in those of all poses."""
_EM_STEPS, _MIN_SHARE = 200, 1e-3
_FLOOR = 1e-5


def fit_kde(name: str, data: BenchmarkData) -> KernelMixture:
    """A kernel at every training pose, with the covariance of all poses times the square of a bandwidth."""
    flat = _flat(data.train, data)
    covariance = torch.cov(flat.T, correction=0) + _floor(flat, _FLOOR)
    group = torch.zeros(len(flat), dtype=torch.long)
    fits = {h: _kernels(name, data, flat, h**2 * covariance[None], group) for h in _BANDWIDTHS}
    return _best(name, fits, data)


def fit_averaged_gmm(name: str, data: BenchmarkData) -> KernelMixture:
    """The mean of several fits of one Gaussian mixture, with broad Gaussians beside it."""
    return _with_shares(name, data, [_averaged(data), *_broad(data)])


def fit_kde_and_gmm(name: str, data: BenchmarkData) -> KernelMixture:
    """Kernels at all training poses, each with the covariance of its cluster times the square of a bandwidth; the mean of several Gaussian
    mixtures; and broad Gaussians."""
    mixture, flat = _mixtures(data)[0], _flat(data.train, data)
    group = torch.from_numpy(mixture.predict(flat.numpy())).long()
    covariances = torch.from_numpy(mixture.covariances_)
    others = [_averaged(data), *_broad(data)]
    kernels = {h: _kernels(name, data, flat, h**2 * covariances, group) for h in _BANDWIDTHS}
    return _best(name, {h: _with_shares(name, data, [of_h, *others]) for h, of_h in kernels.items()}, data)


def _best(name: str, fits: dict[float, KernelMixture], data: BenchmarkData) -> KernelMixture:
    chosen = min(fits, key=lambda bandwidth: float(fits[bandwidth].energies(data.val).mean()))
    log.info("%s: bandwidth %g of %s by validation", name, chosen, _BANDWIDTHS)
    return fits[chosen]


@lru_cache(maxsize=1)
def _mixtures(data: BenchmarkData) -> list[GaussianMixture]:
    """Fits of the number of Gaussians and the floor of variances under which validation poses are the likeliest, from several starts."""
    flat, judge = _flat(data.train, data).numpy(), _flat(data.val, data).numpy()
    settings = [(num, floor) for num in _NUM_COMPONENTS for floor in _FLOORS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # validation says how good a fit is
        first = {setting: _gmm(*setting, 0).fit(flat) for setting in settings}
        best = max(settings, key=lambda setting: float(first[setting].score(judge)))
        log.info("mean of GMMs: %d Gaussians, floor %g rad^2, by validation", *best)
        return [first[best], *(_gmm(*best, start).fit(flat) for start in range(1, _RESTARTS))]


def _gmm(num_components: int, floor: float, start: int) -> GaussianMixture:
    return GaussianMixture(num_components, reg_covar=floor, random_state=start, max_iter=200)


def _averaged(data: BenchmarkData) -> KernelMixture:
    fits = _mixtures(data)
    weights, means, covariances = (
        torch.cat([torch.from_numpy(getattr(fit, key)) for fit in fits]) for key in ("weights_", "means_", "covariances_")
    )
    return KernelMixture("", data.joint_indices, data.default_pose, weights / len(fits), means, covariances, torch.arange(len(weights)))


def _broad(data: BenchmarkData) -> list[KernelMixture]:
    flat = _flat(data.train, data)
    covariance = torch.cov(flat.T, correction=0) + _floor(flat, _FLOOR)
    one = torch.zeros(1, dtype=torch.long)
    return [_kernels("", data, flat.mean(0, keepdim=True), width**2 * covariance[None], one) for width in _BROAD]


def _with_shares(name: str, data: BenchmarkData, parts: Sequence[KernelMixture]) -> KernelMixture:
    """One mixture of several, with the shares that make validation poses the likeliest (by EM, which for shares alone has one optimum)."""
    of_parts = torch.stack([-part.energies(data.val) for part in parts], -1)
    share = torch.full((len(parts),), 1 / len(parts), dtype=torch.float64)
    for _ in range(_EM_STEPS):
        share = torch.softmax(of_parts + share.log(), -1).mean(0)
    # what validation poses have no use for bounds the energy of stranger ones
    share = share.clamp_min(_MIN_SHARE) / share.clamp_min(_MIN_SHARE).sum()
    offsets = torch.tensor([len(part.covariances) for part in parts]).cumsum(0).tolist()
    return KernelMixture(
        name,
        data.joint_indices,
        data.default_pose,
        torch.cat([part.weights * own for part, own in zip(parts, share, strict=True)]),
        torch.cat([part.means for part in parts]),
        torch.cat([part.covariances for part in parts]),
        torch.cat([part.group + first for part, first in zip(parts, [0, *offsets], strict=False)]),
    )


def _kernels(name: str, data: BenchmarkData, means: Tensor, covariances: Tensor, group: Tensor) -> KernelMixture:
    weights = torch.full((len(means),), 1 / len(means), dtype=torch.float64)
    return KernelMixture(name, data.joint_indices, data.default_pose, weights, means, covariances, group)


def _flat(poses: Tensor, data: BenchmarkData) -> Tensor:
    """Rotation vectors of the joints scored, (N, 3J)."""
    return poses[:, list(data.joint_indices)].flatten(1)


def _floor(flat: Tensor, variance: float) -> Tensor:
    return variance * torch.eye(flat.shape[1], dtype=flat.dtype)
