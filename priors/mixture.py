"""The mixture prior: Gaussians and shrunken kernels around training poses, fitted in a minute, exact wherever a likelihood is Gaussian."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.rotations import canonicalize, haar_correction
from pose_priors.priors.angular_central_gaussian import AngularCentralGaussian, defend, defensive_share
from pose_priors.priors.base import MaximumLikelihoodPrior, PriorConfigBase
from pose_priors.priors.conditioning.visibility import check_visible, with_visible
from pose_priors.priors.denoising.contract import told
from pose_priors.priors.gaussians.chordal import nearest_rotation
from pose_priors.priors.gaussians.observation import Observation
from pose_priors.priors.gaussians.patterns import by_pattern, chunks_of, columns_of
from pose_priors.priors.gaussians.selection import KernelsConfig
from pose_priors.priors.networks.derived import at_once
from pose_priors.priors.networks.eager_gradient import eagerly
from pose_priors.priors.networks.precision import without_autocast
from pose_priors.priors.posterior import Energy, LogLikelihood, lead
from pose_priors.priors.posteriors.annealing import draw_given, particles_given
from pose_priors.priors.posteriors.components import OfKernels

# Poses that are drawn at once.
_NUM_DRAWN = 2048
# Draws with a rotation beyond pi are drawn again so many times; what is left then is folded back.
_MAX_ROUNDS = 20


class MixtureConfig(PriorConfigBase, KernelsConfig):
    """How the mixture is built."""

    kind: Literal["mixture"]
    defensive_weight: float = Field(0.01, gt=0, lt=1)
    """Share of the defensive component in the density."""

    def build(self, joint_indices: Sequence[int]) -> Mixture:
        return Mixture(self, joint_indices)


class Mixture(MaximumLikelihoodPrior):
    """p(pose) by several clusterings of training poses, each a Gaussian mixture and kernel density estimates, over rotation vectors.

    Everything is fitted before training begins; what is left to it are the shares and a shift that all poses have in common. While it
    trains, a pose does not see the kernel around itself. As a density over rotations it is restricted to angles <= pi; what little mass
    lies beyond is not folded back, so it integrates to just under one, and draws from there are drawn again.
    """

    joint_index: Tensor

    def __init__(self, config: MixtureConfig, joint_indices: Sequence[int]) -> None:
        super().__init__(joint_indices)
        self.config = config
        self.kernels = config.kernels(3 * self.num_joints)
        self.defensive = AngularCentralGaussian(self.num_joints)

    @torch.no_grad()
    def fit_statistics(self, poses: Tensor) -> None:
        super().fit_statistics(poses)
        rotvec = self.select(poses)
        self.defensive.fit(rotvec)
        self.config.fit(self.kernels, rotvec.flatten(1))

    def log_prob(self, pose: Tensor) -> Tensor:
        return self._log_prob(pose, self._everything())

    def smoothed_energy(self, pose: Tensor, noise: float) -> Tensor:
        """In closed form: `-log_prob` of poses to which noise was added, as rotation vectors."""
        variance = torch.full((3 * self.num_joints,), noise**2, dtype=torch.float64, device=self.joint_index.device)
        return -self._log_prob(pose, self._everything(variance))

    def _losses(self, pose: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        if not self.training:
            return super()._losses(pose)
        rotvec = self.select(pose)
        flat = rotvec.flatten(1)
        log_prob = self._defended(self.kernels.log_prob(flat, self._everything(), self.kernels.repeats(flat)), rotvec)
        nll = -log_prob.mean()
        return {"loss": nll, "nll": nll}, log_prob

    @torch.no_grad()
    def sample(self, num_samples: int, generator: torch.Generator | None = None, defensive: bool = False) -> Tensor:
        """Draws poses, (num_samples, 55, 3), canonical; some from the defensive component only if `defensive`."""
        nothing = self.kernels.shift.new_zeros(num_samples, 0)
        observation = self.kernels.observation(self.joint_index.new_zeros(0))
        drawn = self._draw(nothing, observation, generator)
        if defensive:
            coin = torch.rand(num_samples, 1, 1, generator=generator, device=drawn.device)
            drawn = torch.where(coin < self.config.defensive_weight, self.defensive.sample(num_samples, generator), drawn)
        return self.expand(drawn)

    def reconstruct(self, pose: Tensor) -> Tensor:
        """The pose whitened by the cell that explains it best, and back."""
        rotvec = self.select(pose)
        flat, observation = rotvec.flatten(1), self._everything()
        cell = torch.cat([self.kernels.log_cells(chunk, observation).argmax(-1) for chunk in chunks_of(flat)])
        whitening, mean = observation.whitening[cell], observation.mean[cell]
        white = torch.einsum("nab,nb->na", whitening, flat - mean)
        back = torch.linalg.solve_triangular(whitening, white.unsqueeze(-1), upper=False).squeeze(-1) + mean
        return self.expand(back.view_as(rotvec))

    @property
    def completes(self) -> bool:
        return True

    def _drawn_given(self, pose: Tensor, visible: Tensor, generator: torch.Generator | None, defensive: bool) -> Tensor:
        """Exact draws from the conditional density of the hidden joints, by what is seen also of the defensive component's share of it."""
        rotvec = self.select(pose)
        flat = rotvec.flatten(1)
        drawn, share = torch.empty_like(flat), torch.zeros_like(flat[:, 0])
        for pattern, at in by_pattern(visible):
            columns = columns_of(pattern)
            observation = self.kernels.observation(columns)
            drawn[at] = self._draw(flat[at][:, columns], observation, generator).flatten(1)
            if defensive:
                haar, broad = self._densities(self.kernels.log_prob(flat[at][:, columns], observation), rotvec[at], pattern)
                share[at] = defensive_share(haar, broad, self.config.defensive_weight)
        result = drawn.unflatten(-1, (-1, 3))
        if defensive:
            coin = torch.rand(len(flat), 1, 1, generator=generator, device=flat.device)
            result = torch.where(coin < share[:, None, None], self.defensive.sample(len(flat), generator), result)
        return self.expand(result)

    @property
    def has_conditional_density(self) -> bool:
        return True

    def log_prob_given(self, pose: Tensor, visible: Tensor) -> Tensor:
        """See the base class: exactly that of `log_prob`."""
        check_visible(pose, visible)
        rotvec = self.select(pose).reshape(-1, self.num_joints, 3)
        of_joints = visible[..., self.joint_index].expand(*pose.shape[:-2], -1).reshape(-1, self.num_joints)
        marginal = torch.zeros_like(rotvec[:, 0, 0])
        for pattern, at in by_pattern(of_joints):
            columns = columns_of(pattern)
            seen = self._scores(rotvec.flatten(1)[at][:, columns], self.kernels.observation(columns))
            marginal = marginal.index_put((at,), self._defended(seen, rotvec[at], pattern))
        return self.log_prob(pose) - marginal.view(pose.shape[:-2])

    def complete_point(self, pose: Tensor, visible: Tensor) -> Tensor:
        """The chordal mean over cells of the hidden joints' rotations given the visible ones; arguments and shapes as `complete`."""
        pose, visible = with_visible(pose, visible)
        flat, of_joints = self.select(pose).reshape(-1, 3 * self.num_joints), visible[..., self.joint_index]
        mean = torch.empty_like(flat)
        for pattern, at in by_pattern(of_joints.reshape(-1, self.num_joints)):
            columns = columns_of(pattern)
            mean[at] = self._mean(flat[at][:, columns], self.kernels.observation(columns)).flatten(1)
        hidden = torch.zeros_like(visible).index_copy(-1, self.joint_index, ~of_joints)
        return torch.where(hidden.unsqueeze(-1), self.expand(mean.view(*pose.shape[:-2], -1, 3)).to(pose), pose)

    def denoise(self, pose: Tensor, std: float | Tensor) -> Tensor:
        """See the base class; in closed form: the chordal mean of what each cell expects."""
        rows = pose.reshape(-1, *pose.shape[-2:])
        with at_once():
            of_joints = told(std, pose)[:, self.joint_index]
        flat = self.select(rows).flatten(1)
        if len(of_joints) == 1:
            return rows.index_copy(1, self.joint_index, self._expected(flat, of_joints).to(rows)).view(pose.shape)
        result = rows.clone()
        for noise, at in by_pattern(of_joints):
            result = result.index_put((at[:, None], self.joint_index), self._expected(flat[at], noise[None]).to(result))
        return result.view(pose.shape)

    def log_seen(self, pose: Tensor, std: float | Tensor) -> Tensor:
        """See `ExactUnderNoise`: (*batch, 55, 3) -> (*batch,)."""
        flat = self.select(pose).reshape(-1, 3 * self.num_joints)
        result = torch.zeros_like(flat[:, 0])
        for noise, at in by_pattern(told(std, pose)[:, self.joint_index].expand(len(flat), -1, -1)):
            columns, observation = self._seen(noise)
            result = result.index_put((at,), self._scores(flat[at][:, columns], observation))
        return result.view(pose.shape[:-2])

    def _expected(self, flat: Tensor, std: Tensor) -> Tensor:
        """Chordal means of rotations that were seen with the same noise: (N, 3 J), (1, J, 3) -> (N, J, 3)."""
        columns, observation = self._seen(std)
        return self._mean(flat[:, columns], observation)

    def _seen(self, std: Tensor) -> tuple[Tensor, Observation]:
        """Which numbers of rotation vectors are seen with noise (..., J, 3) of one pose, and what follows from seeing them."""
        with at_once():
            noise = std.flatten()
            columns = noise.isfinite().nonzero().squeeze(-1)
            return columns, self.kernels.observation(columns, noise[columns].square())

    def posterior(
        self, log_likelihood: LogLikelihood, num_observations: int, num_samples: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draws poses given what was seen, see `priors.posteriors.annealing.draw_given`: from p(pose) exp(log_likelihood(pose)), the broad
        component left out, as in `sample`."""
        return draw_given(self, self.components(), log_likelihood, num_observations, num_samples, generator)

    def components(self) -> OfKernels:
        """What is learnt, without the broad component."""
        return OfKernels(self.kernels, self._draw)

    def posterior_of(
        self,
        log_likelihood: LogLikelihood,
        num_observations: int,
        num_samples: int,
        generator: torch.Generator | None,
        meant: Energy,
    ) -> Tensor:
        """The same of another prior, whose energy is `meant`: draws of the mixture given what was seen lead to them, see
        `priors.posterior.lead`."""
        place = particles_given(self, self.components(), log_likelihood, num_observations, num_samples, generator)
        return lead(self, place, self._precision, meant, log_likelihood, num_samples, generator)

    def _precision(self, rotvec: Tensor) -> Tensor:
        """The mean precision of the cells that explain poses: (B, J, 3) -> (B, 3J, 3J)."""
        observation = self._everything()
        share = self.kernels.log_cells(canonicalize(rotvec).flatten(1), observation).softmax(-1)
        return torch.einsum("bc,cxy->bxy", share, observation.whitening.mT @ observation.whitening)

    def _everything(self, noise: Tensor | None = None) -> Observation:
        return self.kernels.observation(noise=noise)

    def _log_prob(self, pose: Tensor, observation: Observation) -> Tensor:
        rotvec = self.select(pose)
        rows = rotvec.reshape(-1, 3 * self.num_joints)
        of_rows = partial(self.kernels.log_prob, observation=observation)
        # what a pose leaves for its gradient is a megabyte: of many the gradient is taken at once, chunk by chunk
        frozen = not any(parameter.requires_grad for parameter in self.parameters())
        chunks = chunks_of(rows)
        is_eager = torch.is_grad_enabled() and frozen and len(chunks) > 1
        score: Callable[[Tensor], Tensor] = (lambda chunk: eagerly(of_rows, chunk)) if is_eager else of_rows
        with without_autocast(rotvec):
            return self._defended(torch.cat([score(chunk) for chunk in chunks]).view(rotvec.shape[:-2]), rotvec)

    def _defended(self, kernels: Tensor, rotvec: Tensor, joints: Tensor | None = None) -> Tensor:
        """From log-densities over rotation vectors to those of the prior: (*batch,), (*batch, J, 3) -> (*batch,); of some of the J joints
        alone where they are given, (J,) bool."""
        return defend(*self._densities(kernels, rotvec, joints), self.config.defensive_weight)

    def _densities(self, kernels: Tensor, rotvec: Tensor, joints: Tensor | None) -> tuple[Tensor, Tensor]:
        """Log-densities of the kernels and of the defensive component against Haar measure; arguments and shapes as `_defended`."""
        counts = torch.ones_like(self.joint_index, dtype=torch.bool) if joints is None else joints
        return kernels + (haar_correction(rotvec) * counts).sum(-1), (self.defensive.log_prob(rotvec) * counts).sum(-1)

    def _scores(self, seen: Tensor, observation: Observation) -> Tensor:
        """Log-densities of the kernels over rotation vectors, of what is observed of them: (B, V) -> (B,)."""
        return torch.cat([self.kernels.log_prob(chunk, observation) for chunk in chunks_of(seen)])

    def _mean(self, seen: Tensor, observation: Observation) -> Tensor:
        """The chordal mean over cells of the rotations that each expects given what is observed of them: (B, V) -> (B, J, 3)."""
        means = []
        for chunk in chunks_of(seen):
            log_share, of_cells = self.kernels.posterior_means(chunk, observation)
            matrices = conversions.rotvec_to_rotmat(of_cells.unflatten(-1, (-1, 3)))
            means.append(torch.einsum("bc,bcjxy->bjxy", log_share.exp(), matrices))
        return nearest_rotation(torch.cat(means))

    def _draw(self, seen: Tensor, observation: Observation, generator: torch.Generator | None) -> Tensor:
        """Draws rotation vectors given what is observed of them: (B, V) -> (B, J, 3)."""
        parts = [self.kernels.draw(rows, observation, generator) for rows in seen.split(_NUM_DRAWN)]
        drawn = torch.cat(parts).unflatten(-1, (-1, 3))
        for _ in range(_MAX_ROUNDS):
            beyond = (torch.linalg.vector_norm(drawn, dim=-1) > math.pi).any(-1)
            if not beyond.any():
                break
            drawn[beyond] = self.kernels.draw(seen[beyond], observation, generator).unflatten(-1, (-1, 3))
        return canonicalize(drawn)
