"""Mixtures of thousands of Gaussians that share a few covariances: kernel density estimates, and these beside Gaussian mixtures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import roma
import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import ConditionalDensityCandidate
from pose_priors.benchmarks.priors.components import SharedGaussians
from pose_priors.body.rotations import canonicalize, haar_correction
from pose_priors.priors.posterior import LogLikelihood
from pose_priors.priors.posteriors.annealing import draw_given

# Poses whose densities under all Gaussians are held at once.
_ROWS = 256


class KernelMixture(ConditionalDensityCandidate):
    """A mixture of M Gaussians over the rotation vectors of J joints, in G groups of one covariance each.

    As a density over rotations it is restricted to angles <= pi; the little mass beyond is not folded back.

    Args:
        name, joint_indices, default_pose: as `Candidate`.
        weights: (M,).
        means: (M, 3J) radians.
        covariances: (G, 3J, 3J), positive definite.
        group: (M,) whose covariance each has.
    """

    def __init__(
        self,
        name: str,
        joint_indices: Sequence[int],
        default_pose: Tensor,
        weights: Tensor,
        means: Tensor,
        covariances: Tensor,
        group: Tensor,
    ) -> None:
        super().__init__(name, joint_indices, default_pose)
        self.weights, self.means, self.covariances, self.group = weights.double(), means.double(), covariances.double(), group
        self._members = [(group == number).nonzero().squeeze(-1) for number in range(len(covariances))]
        self._everything = tuple(range(self.means.shape[-1]))

    def log_prob(self, pose: Tensor) -> Tensor:
        rotvec = self.select(pose)
        return self._log_density(rotvec.flatten(-2), self._everything) + haar_correction(rotvec).sum(-1)

    def conditional_log_prob(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        shown, rotvec = self._shown(hidden), self.select(pose)
        correction = haar_correction(rotvec)[..., self._places(hidden)].sum(-1)
        flat = rotvec.flatten(-2)
        return self._log_density(flat, self._everything) - self._log_density(flat[:, list(shown)], shown) + correction

    @torch.no_grad()
    def sample(self, num: int, generator: torch.Generator | None) -> Tensor:
        which = torch.multinomial(self.weights, num, replacement=True, generator=generator)
        noise = torch.randn(num, len(self._everything), generator=generator, dtype=torch.float64)
        return self.expand(self._moved(self.means[which], torch.linalg.cholesky(self.covariances), which, noise).unflatten(-1, (-1, 3)))

    def smoothed(self, noise: float) -> Callable[[Tensor], Tensor]:
        return self._with_noise(noise).energy

    def _with_noise(self, std: float) -> KernelMixture:
        """Noise is added to rotation vectors."""
        covariances = self.covariances + std**2 * torch.eye(len(self._everything), dtype=torch.float64)
        return KernelMixture(self.name, self.joint_indices, self.default_pose, self.weights, self.means, covariances, self.group)

    @torch.no_grad()
    def denoise(self, pose: Tensor, std: float) -> Tensor:
        """The chordal mean over groups of what each expects."""
        smoothed = self._with_noise(std)
        gain = torch.linalg.solve(smoothed.covariances, self.covariances).mT
        found = pose.double().clone()
        flat = self.select(pose).flatten(1)
        found[:, list(self.joint_indices)] = torch.cat([self._expected(rows, smoothed, gain) for rows in flat.split(_ROWS)])
        return found

    def posterior(self, log_likelihood: LogLikelihood, num_observations: int, num_samples: int, generator: torch.Generator) -> Tensor:
        components = SharedGaussians(self.weights, self.means, self.covariances, self.group)
        return draw_given(self, components, log_likelihood, num_observations, num_samples, generator)

    @torch.no_grad()
    def complete(self, pose: Tensor, hidden: Sequence[int], num: int, generator: torch.Generator) -> Tensor:
        shown, places = list(self._shown(hidden)), list(self._columns(hidden))
        seen = self.select(pose).flatten(1)[:, shown]
        which = torch.cat(
            [
                torch.multinomial(self._weighted(rows, tuple(shown)).softmax(-1), num, replacement=True, generator=generator)
                for rows in seen.split(_ROWS)
            ]
        ).T.flatten()
        gain, covariance = self._given(shown, places)
        means = self.means[which]
        noise = torch.randn(len(which), len(places), generator=generator, dtype=torch.float64)
        centre = self._moved(means[:, places], gain, which, seen.repeat(num, 1) - means[:, shown])
        drawn = self._moved(centre, torch.linalg.cholesky(covariance), which, noise)
        completed = pose.double().expand(num, *pose.shape).clone()
        completed[:, :, list(hidden)] = canonicalize(drawn.view(num, len(pose), len(hidden), 3))
        return completed

    @torch.no_grad()
    def complete_point(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        """The conditional mean of the rotation vectors."""
        shown, places = list(self._shown(hidden)), list(self._columns(hidden))
        gain, _ = self._given(shown, places)
        parts = []
        for seen in self.select(pose).flatten(1)[:, shown].split(_ROWS):
            share = self._weighted(seen, tuple(shown)).softmax(-1)
            mean = torch.zeros(len(seen), len(places), dtype=torch.float64)
            for number, members in enumerate(self._members):
                of_group, centres = share[:, members], self.means[members]
                off = of_group.sum(1, keepdim=True) * seen - of_group @ centres[:, shown]
                mean += of_group @ centres[:, places] + off @ gain[number].T
            parts.append(mean)
        completed = pose.double().clone()
        completed[:, list(hidden)] = canonicalize(torch.cat(parts).unflatten(-1, (-1, 3)))
        return completed

    def _expected(self, seen: Tensor, smoothed: KernelMixture, gain: Tensor) -> Tensor:
        """Rotation vectors (N, J, 3) that are expected of those seen, (N, 3J), by what each group expects."""
        weighted = smoothed._weighted(seen, self._everything)
        share = weighted.softmax(-1)
        mean = torch.zeros(len(seen), len(self.joint_indices), 3, 3, dtype=torch.float64)
        for number, members in enumerate(self._members):
            of_group = weighted[:, members].softmax(-1)  # also where the group has hardly a share
            place = of_group @ self.means[members]
            rotvec = place + (seen - place) @ gain[number].T
            mean += share[:, members].sum(1)[:, None, None, None] * roma.rotvec_to_rotmat(rotvec.unflatten(-1, (-1, 3)))
        expected: Tensor = roma.rotmat_to_rotvec(roma.special_procrustes(mean))
        return expected

    def _given(self, shown: Sequence[int], hidden: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Of each group, how hidden numbers follow shown ones and their covariance given these: (G, H, V) and (G, H, H)."""
        cross = self.covariances[:, shown][:, :, hidden]
        gain = torch.linalg.solve(self.covariances[:, shown][:, :, shown], cross).mT
        covariance = self.covariances[:, hidden][:, :, hidden] - gain @ cross
        return gain, (covariance + covariance.mT) / 2

    def _log_density(self, flat: Tensor, columns: tuple[int, ...]) -> Tensor:
        return torch.cat([self._log_groups(rows, columns).logsumexp(-1) for rows in flat.split(_ROWS)])

    def _log_groups(self, flat: Tensor, columns: tuple[int, ...]) -> Tensor:
        """Over some of the numbers, of each group: (N, V) -> (N, G)."""
        weighted = self._weighted(flat, columns)
        return torch.stack([weighted[:, members].logsumexp(-1) for members in self._members], -1)

    def _weighted(self, flat: Tensor, columns: tuple[int, ...]) -> Tensor:
        """Log of weight times density of each Gaussian over some of the numbers: (N, V) -> (N, M)."""
        of_members = []
        for members, whitening, centres, constant in zip(self._members, *self._white(columns), strict=True):
            white = flat @ whitening.T
            squares = white.square().sum(-1, keepdim=True) + centres.square().sum(-1) - 2 * white @ centres.T
            of_members.append(self.weights[members].log() + constant - squares / 2)
        return torch.cat(of_members, -1)[:, torch.cat(self._members).argsort()]

    @cache  # noqa: B019 a mixture lives as long as the run
    def _white(self, columns: tuple[int, ...]) -> tuple[list[Tensor], list[Tensor], list[float]]:
        """Of each group: what whitens some of the numbers (V, V), its means white (n, V), and the log-density at a mean."""
        root = torch.linalg.cholesky(self.covariances[:, columns][:, :, columns])
        whitening = torch.linalg.solve_triangular(root, torch.eye(len(columns), dtype=root.dtype), upper=False)
        centres = [self.means[members][:, columns] @ own.T for members, own in zip(self._members, whitening, strict=True)]
        log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return list(whitening), centres, (-log_det - len(columns) / 2 * math.log(2 * math.pi)).tolist()

    def _moved(self, centre: Tensor, matrix: Tensor, which: Tensor, by: Tensor) -> Tensor:
        """Rows (N, C) plus the matrix (G, C, V) of each one's Gaussian times rows (N, V)."""
        moved, group = centre.clone(), self.group[which]
        for number in group.unique().tolist():
            rows = group == number
            moved[rows] += by[rows] @ matrix[number].T
        return moved

    def _shown(self, hidden: Sequence[int]) -> tuple[int, ...]:
        columns = self._columns(hidden)
        return tuple(column for column in self._everything if column not in columns)

    def _columns(self, joints: Sequence[int]) -> tuple[int, ...]:
        return tuple(3 * place + axis for place in self._places(joints) for axis in range(3))

    def _places(self, joints: Sequence[int]) -> list[int]:
        return [self.joint_indices.index(joint) for joint in joints]
