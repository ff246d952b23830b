"""Mixtures of Gaussians over rotation vectors, with exact marginals and conditionals: what a learnt prior has to beat."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import roma
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import ConditionalDensityCandidate
from pose_priors.benchmarks.priors.components import SharedGaussians
from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.body.rotations import canonicalize, haar_correction
from pose_priors.body.skeleton import SMPL_TO_SMPLX
from pose_priors.configs.base import UserError
from pose_priors.datamodules.safe_pickle import load_pickle
from pose_priors.priors.posterior import LogLikelihood
from pose_priors.priors.posteriors.annealing import draw_given

_REG_COVAR = 1e-5
"""Added to the variances of every covariance that is fitted, in rad^2: a standard deviation of 0.2 degrees."""


class Mixture(ConditionalDensityCandidate):
    """A mixture of K Gaussians over the rotation vectors of J joints.

    As a density over rotations it is the mixture restricted to angles <= pi; the little mass beyond is not folded back, so it integrates to
    just under one.

    Args:
        name, joint_indices, default_pose: as `Candidate`.
        weights: (K,).
        means: (K, 3J) radians.
        covariances: (K, 3J, 3J), positive definite.
    """

    def __init__(
        self, name: str, joint_indices: Sequence[int], default_pose: Tensor, weights: Tensor, means: Tensor, covariances: Tensor
    ) -> None:
        super().__init__(name, joint_indices, default_pose)
        self.weights, self.means, self.covariances = weights.double(), means.double(), covariances.double()
        self._everything = list(range(self.means.shape[-1]))

    def log_prob(self, pose: Tensor) -> Tensor:
        rotvec = self.select(pose)
        return torch.logsumexp(self._weighted(rotvec.flatten(-2), self._everything), -1) + haar_correction(rotvec).sum(-1)

    def marginal_log_prob(self, pose: Tensor, joints: Sequence[int]) -> Tensor:
        """Log-density of some of the joints alone, in nats against normalised Haar measure: (N, 55, 3) -> (N,)."""
        rotvec, at = self.select(pose), self._places(joints)
        flat = rotvec.flatten(-2)[..., self._components(at)]
        return torch.logsumexp(self._weighted(flat, self._components(at)), -1) + haar_correction(rotvec[..., at, :]).sum(-1)

    def conditional_log_prob(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        return self.log_prob(pose) - self.marginal_log_prob(pose, [joint for joint in self.joint_indices if joint not in hidden])

    @torch.no_grad()
    def sample(self, num: int, generator: torch.Generator | None) -> Tensor:
        which = torch.multinomial(self.weights, num, replacement=True, generator=generator)
        noise = torch.randn(num, len(self._everything), generator=generator, dtype=torch.float64)
        drawn = self.means[which] + _by_component(torch.linalg.cholesky(self.covariances), which, noise)
        return self.expand(drawn.unflatten(-1, (-1, 3)))

    def smoothed(self, noise: float) -> Callable[[Tensor], Tensor]:
        return self._with_noise(noise).energy

    def _with_noise(self, std: float) -> Mixture:
        """Noise is added to rotation vectors."""
        covariances = self.covariances + std**2 * torch.eye(len(self._everything), dtype=torch.float64)
        return Mixture(self.name, self.joint_indices, self.default_pose, self.weights, self.means, covariances)

    @torch.no_grad()
    def denoise(self, pose: Tensor, std: float) -> Tensor:
        """The chordal mean over components of what each expects."""
        flat, noisy = self.select(pose).flatten(1), self._with_noise(std)
        share = torch.softmax(noisy._weighted(flat, self._everything), -1)
        gain = torch.linalg.solve(noisy.covariances, self.covariances).mT
        means = self.means + torch.einsum("kab,nkb->nka", gain, flat.unsqueeze(1) - self.means)
        matrices = torch.einsum("nk,nkjab->njab", share, roma.rotvec_to_rotmat(means.unflatten(-1, (-1, 3))))
        found = pose.double().clone()
        found[:, list(self.joint_indices)] = roma.rotmat_to_rotvec(roma.special_procrustes(matrices))
        return found

    def posterior(self, log_likelihood: LogLikelihood, num_observations: int, num_samples: int, generator: torch.Generator) -> Tensor:
        components = SharedGaussians(self.weights, self.means, self.covariances, torch.arange(len(self.means)))
        return draw_given(self, components, log_likelihood, num_observations, num_samples, generator)

    @torch.no_grad()
    def draw_hidden(self, pose: Tensor, hidden: Sequence[int], num: int, generator: torch.Generator) -> Tensor:
        """Rotation vectors of the hidden joints given the others, of any length, as the Gaussians draw them: (num, N, H, 3)."""
        share, mean, covariance = self.given(pose, hidden)
        which = torch.multinomial(share, num, replacement=True, generator=generator).T
        noise = torch.randn(*which.shape, mean.shape[-1], generator=generator, dtype=torch.float64)
        centre = mean.expand(num, *mean.shape).gather(2, which[..., None, None].expand(-1, -1, 1, mean.shape[-1]))[:, :, 0]
        root = torch.linalg.cholesky(covariance)
        drawn = centre.flatten(0, 1) + _by_component(root, which.flatten(), noise.flatten(0, 1))
        rotvec: Tensor = drawn.unflatten(0, which.shape).unflatten(-1, (-1, 3))
        return rotvec

    def complete(self, pose: Tensor, hidden: Sequence[int], num: int, generator: torch.Generator) -> Tensor:
        return self._with(pose.expand(num, *pose.shape), hidden, self.draw_hidden(pose, hidden, num, generator))

    @torch.no_grad()
    def complete_point(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        """The conditional mean of the rotation vectors."""
        share, mean, _ = self.given(pose, hidden)
        return self._with(pose, hidden, (share.unsqueeze(-1) * mean).sum(1).unflatten(-1, (-1, 3)))

    def given(self, pose: Tensor, hidden: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Of the components given the joints not hidden: shares (N, K), means (N, K, 3H) and covariances (K, 3H, 3H)."""
        h = self._components(self._places(hidden))
        v = [component for component in self._everything if component not in h]
        seen = self.select(pose).flatten(-2)[:, v]
        share = torch.softmax(self._weighted(seen, v), -1)
        cross = self.covariances[:, v][:, :, h]
        gain = torch.linalg.solve(self.covariances[:, v][:, :, v], cross).mT
        mean = self.means[:, h] + torch.einsum("khv,nkv->nkh", gain, seen.unsqueeze(1) - self.means[:, v])
        covariance = self.covariances[:, h][:, :, h] - gain @ cross
        return share, mean, (covariance + covariance.mT) / 2

    def _weighted(self, flat: Tensor, components: Sequence[int]) -> Tensor:
        """Log of weight times density of each Gaussian, over some of the components: (N, C) -> (N, K)."""
        mean, whitening, constant = self._gaussians(tuple(components))
        return constant - torch.einsum("kab,nkb->nka", whitening, flat.unsqueeze(-2) - mean).square().sum(-1) / 2

    @cache  # noqa: B019 a mixture lives as long as the run
    def _gaussians(self, components: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Of the Gaussians over some of the components: means (K, C), what whitens them (K, C, C), log-densities at the mean (K,)."""
        root = torch.linalg.cholesky(self.covariances[:, components][:, :, components])
        whitening = torch.linalg.solve_triangular(root, torch.eye(len(components), dtype=root.dtype), upper=False)
        log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = self.weights.log() - log_det - len(components) / 2 * math.log(2 * math.pi)
        return self.means[:, components], whitening, constant

    def _with(self, pose: Tensor, hidden: Sequence[int], rotvec: Tensor) -> Tensor:
        """The poses with other rotations at the hidden joints."""
        completed = pose.double().clone()
        completed[..., list(hidden), :] = canonicalize(rotvec)
        return completed

    def _places(self, joints: Sequence[int]) -> list[int]:
        return [self.joint_indices.index(joint) for joint in joints]

    def _components(self, places: Sequence[int]) -> list[int]:
        return [3 * place + axis for place in places for axis in range(3)]


def fit_gaussian(name: str, data: BenchmarkData, blocks: Literal["components", "joints", "pose"]) -> Mixture:
    """The Gaussian of maximum likelihood in which only components of one block correlate."""
    flat = _fitted_on(data)
    size = {"components": 1, "joints": 3, "pose": flat.shape[1]}[blocks]
    block = torch.arange(flat.shape[1]) // size
    covariance = torch.cov(flat.T, correction=0) * (block[:, None] == block)
    return _gaussian(name, data, flat.mean(0), covariance + _REG_COVAR * torch.eye(len(block), dtype=torch.float64))


def fit_gmm(name: str, data: BenchmarkData, num_components: int) -> Mixture:
    """A mixture of Gaussians with full covariances, by scikit-learn's expectation-maximisation."""
    model = GaussianMixture(num_components, reg_covar=_REG_COVAR, random_state=0, max_iter=200).fit(_fitted_on(data).numpy())
    parameters = (torch.from_numpy(value) for value in (model.weights_, model.means_, model.covariances_))
    return Mixture(name, data.joint_indices, data.default_pose, *parameters)


def fit_ppca(name: str, data: BenchmarkData) -> Mixture:
    """Principal components and isotropic noise in closed form, as many components as the validation poses are likeliest with (Tipping &
    Bishop, "Probabilistic Principal Component Analysis", J. Royal Statistical Society B 61, 1999)."""
    flat = _fitted_on(data)
    values, vectors = torch.linalg.eigh(torch.cov(flat.T, correction=0))

    def with_components(num: int) -> Mixture:
        noise = values[:-num].mean()
        kept = vectors[:, -num:]
        covariance = kept * (values[-num:] - noise) @ kept.T + noise * torch.eye(len(values), dtype=torch.float64)
        return _gaussian(f"{name}-{num}", data, flat.mean(0), covariance)

    return min(map(with_components, range(1, flat.shape[1])), key=lambda candidate: float(candidate.energies(data.val).mean()))


def read_smplify_gmm(name: str, data: BenchmarkData, path: Path) -> Mixture:
    """The mixture that SMPLify fits with (Bogo et al., "Keep it SMPL", ECCV 2016), `gmm_08.pkl`, as a density: its marginal over the joints
    scored. It was fitted to other poses.

    Raises:
        UserError: if the file is no such mixture, or says nothing of a joint that is scored.
    """
    if not path.is_file():
        raise UserError(f"--smplify-gmm: there is no file '{path}'; give SMPLify's gmm_08.pkl")
    content = load_pickle(path)
    names = ("weights", "means", "covars")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), np.ndarray) for key in names):
        raise UserError(f"--smplify-gmm: '{path}' does not hold the arrays {', '.join(names)}; give SMPLify's gmm_08.pkl")
    weights, means, covariances = (torch.from_numpy(np.asarray(content[key], dtype=np.float64)) for key in names)
    size = 3 * (len(SMPL_TO_SMPLX) + 1)  # its 23 joints are the body's 21 and two stubs of hands
    if means.shape != (len(means), size) or covariances.shape != (len(means), size, size) or weights.numel() != len(means):
        raise UserError(f"--smplify-gmm: '{path}' holds means of shape {tuple(means.shape)}; SMPLify's are (K, {size})")
    if unknown := [joint for joint in data.joint_indices if joint not in SMPL_TO_SMPLX[1:]]:
        raise UserError(f"--smplify-gmm: the mixture knows the body's 21 joints, but {len(unknown)} others are scored too; leave it out")
    scored = [3 * (joint - 1) + axis for joint in data.joint_indices for axis in range(3)]
    covariances = covariances[:, scored][:, :, scored]
    return Mixture(name, data.joint_indices, data.default_pose, weights.flatten() / weights.sum(), means[:, scored], covariances)


def _gaussian(name: str, data: BenchmarkData, mean: Tensor, covariance: Tensor) -> Mixture:
    return Mixture(name, data.joint_indices, data.default_pose, torch.ones(1), mean[None], covariance[None])


def _fitted_on(data: BenchmarkData) -> Tensor:
    """The training poses' rotation vectors, (N, 3J)."""
    return data.train[:, list(data.joint_indices)].flatten(1)


def _by_component(root: Tensor, which: Tensor, noise: Tensor) -> Tensor:
    """Noise (N, C) coloured by the root (K, C, C) of each row's own component."""
    coloured = torch.empty_like(noise)
    for component in which.unique().tolist():
        rows = which == component
        coloured[rows] = noise[rows] @ root[component].T
    return coloured
