"""The Gaussian prior: the baseline that every learnt prior is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pose_priors.body.rotations import canonicalize, haar_correction
from pose_priors.priors.angular_central_gaussian import AngularCentralGaussian, defend
from pose_priors.priors.base import MaximumLikelihoodPrior, PriorConfigBase
from pose_priors.priors.conditioning.drawing import drawn_within_pi
from pose_priors.priors.denoising.contract import told
from pose_priors.priors.gaussians.normal import posterior_of_normal
from pose_priors.priors.gaussians.patterns import by_pattern
from pose_priors.priors.networks.flows import standard_normal_log_prob
from pose_priors.priors.networks.precision import without_autocast
from pose_priors.priors.posterior import LogLikelihood
from pose_priors.priors.posteriors.annealing import draw_given
from pose_priors.priors.posteriors.components import OneNormal
from pose_priors.priors.standardize import MIN_STD

Covariance = Literal["diagonal", "joint", "full"]


class GaussianConfig(PriorConfigBase):
    """How the Gaussian prior is built."""

    kind: Literal["gaussian"]
    covariance: Covariance = "diagonal"
    """Which components may correlate: none, those of one joint, or all."""
    defensive_weight: float = Field(1e-4, gt=0, lt=1)
    """Share of the defensive component; per joint, or per pose where the covariance is full."""

    def build(self, joint_indices: Sequence[int]) -> Gaussian:
        return Gaussian(self, joint_indices)


class Gaussian(MaximumLikelihoodPrior):
    """A Gaussian over rotation vectors, with a diagonal, per-joint or full covariance.

    It starts at the moments of the training data and is trained by maximum likelihood from there. As a density over rotations it is the
    Gaussian restricted to angles <= pi; what little mass lies beyond is not folded back, so the density integrates to just under one, and
    draws from there are drawn again. A defensive component bounds its energy.
    """

    scale: Tensor
    centre: Tensor

    def __init__(self, config: GaussianConfig, joint_indices: Sequence[int]) -> None:
        super().__init__(joint_indices)
        self.config = config
        # a covariance of blocks: 3J of size 1, J of size 3, or one of size 3J
        block = {"diagonal": 1, "joint": 3, "full": 3 * self.num_joints}[config.covariance]
        blocks = 3 * self.num_joints // block
        self.register_buffer("scale", torch.ones(3 * self.num_joints))
        self.register_buffer("centre", torch.zeros(3 * self.num_joints))
        self.log_diagonal = nn.Parameter(torch.zeros(blocks, block))
        self.lower = nn.Parameter(torch.zeros(blocks, block * (block - 1) // 2))
        self.shift = nn.Parameter(torch.zeros(blocks, block))
        self.defensive = AngularCentralGaussian(self.num_joints)

    @torch.no_grad()
    def fit_statistics(self, poses: Tensor) -> None:
        super().fit_statistics(poses)
        rotvec = self.select(poses)
        self.defensive.fit(rotvec)
        flat = rotvec.flatten(1).double()
        self.centre.copy_(flat.mean(0))
        self.scale.copy_(flat.std(0).clamp_min(MIN_STD))
        blocks = self._blocks(rotvec).double()
        size = blocks.shape[-1]
        covariance = torch.einsum("nga,ngb->gab", blocks, blocks) / len(blocks)
        # directions that move less than the scale's floor are as wide as that; a hair more, since joints may move in a plane
        short = (1 - covariance.diagonal(dim1=-2, dim2=-1)).clamp_min(0)
        covariance = covariance + torch.diag_embed(short) + 1e-6 * torch.eye(size, dtype=covariance.dtype, device=covariance.device)
        root = torch.linalg.inv(torch.linalg.cholesky(covariance))
        self.log_diagonal.copy_(root.diagonal(dim1=-2, dim2=-1).log())
        row, column = torch.tril_indices(size, size, -1)
        self.lower.copy_(root[:, row, column])
        self.shift.zero_()

    def log_prob(self, pose: Tensor) -> Tensor:
        rotvec = self.select(pose)
        return self._defended(self._gaussian_log_prob(rotvec), rotvec)

    def _defended(self, log_density: Tensor, rotvec: Tensor) -> Tensor:
        """Of what may correlate together, see `_gaussian_log_prob`, to (*batch,)."""
        defensive = self.defensive.log_prob(rotvec)
        if self.config.covariance == "full":
            defensive = defensive.sum(-1, keepdim=True)
        return defend(log_density, defensive, self.config.defensive_weight).sum(-1)

    def _losses(self, pose: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        # The Gaussian is fitted alone, outliers and all, so that the baseline is the field's Gaussian; the other component only bounds it.
        rotvec = self.select(pose)
        log_density = self._gaussian_log_prob(rotvec)
        log_prob = self._defended(log_density.detach(), rotvec.detach())
        return {"loss": -log_density.sum(-1).mean(), "nll": -log_prob.mean()}, log_prob

    def smoothed_energy(self, pose: Tensor, noise: float) -> Tensor:
        """In closed form: `-log_prob` of poses to which noise was added, as rotation vectors."""
        rotvec = self.select(pose)
        mean, covariance = self._moments()
        root = torch.linalg.cholesky(covariance + noise**2 * torch.eye(covariance.shape[-1]).to(covariance))
        with without_autocast(rotvec):
            off = (rotvec.flatten(-2).unflatten(-1, self.shift.shape) - mean.to(rotvec)).unsqueeze(-1)
            white = torch.linalg.solve_triangular(root.to(rotvec), off, upper=False).squeeze(-1)
        blocks = standard_normal_log_prob(white) - root.diagonal(dim1=-2, dim2=-1).log().sum(-1).to(rotvec)
        return -self._defended(self._of_blocks(blocks, haar_correction(rotvec)), rotvec)

    def denoise(self, pose: Tensor, std: float | Tensor) -> Tensor:
        """See the base class; in closed form, the mean rotation vectors."""
        rows, noise = pose.reshape(-1, *pose.shape[-2:]), told(std, pose)[:, self.joint_index]
        seen = self.select(rows)
        mean, _ = posterior_of_normal(*self._whole(), seen.flatten(1), noise.flatten(1))
        found = torch.where(noise == 0, seen, mean.view(seen.shape).to(seen))
        return rows.index_copy(1, self.joint_index, canonicalize(found).to(rows)).view(pose.shape)

    def log_seen(self, pose: Tensor, std: float | Tensor) -> Tensor:
        """See `ExactUnderNoise`: (*batch, 55, 3) -> (*batch,)."""
        flat = self.select(pose).reshape(-1, 3 * self.num_joints)
        precision, mean = self._whole()
        covariance = torch.linalg.inv(precision)
        result = torch.zeros_like(flat[:, 0])
        for noise, at in by_pattern(told(std, pose)[:, self.joint_index].flatten(1).expand(len(flat), -1)):
            columns = noise.isfinite().nonzero().squeeze(-1)
            root = torch.linalg.cholesky(covariance[columns][:, columns] + torch.diag(noise[columns].to(covariance).square()))
            off = (flat[at][:, columns] - mean[columns].to(flat)).mT
            white = torch.linalg.solve_triangular(root.to(flat), off, upper=False).mT
            result = result.index_put((at,), standard_normal_log_prob(white) - root.diagonal().log().sum().to(flat))
        return result.view(pose.shape[:-2])

    def posterior(
        self, log_likelihood: LogLikelihood, num_observations: int, num_samples: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draws poses given what was seen, see `priors.posteriors.annealing.draw_given`: from p(pose) exp(log_likelihood(pose)), the broad
        component left out, as in `sample`."""
        return draw_given(self, self.components(), log_likelihood, num_observations, num_samples, generator)

    def components(self) -> OneNormal:
        """What is learnt, without the broad component."""
        return OneNormal(*self._whole())

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the blocks of rotation vectors: (blocks, size), (blocks, size, size) float64."""
        inverse = torch.linalg.inv(self._root().double())
        scale = self.scale.double().view(self.shift.shape)
        mean = (inverse @ self.shift.double().unsqueeze(-1)).squeeze(-1) * scale + self.centre.double().view(self.shift.shape)
        root = scale.unsqueeze(-1) * inverse
        return mean, root @ root.mT

    def _whole(self) -> tuple[Tensor, Tensor]:
        """Precision (3 J, 3 J) and mean (3 J,) of rotation vectors, float64."""
        mean, covariance = self._moments()
        return torch.block_diag(*torch.linalg.inv(covariance)), mean.flatten()

    def _gaussian_log_prob(self, rotvec: Tensor) -> Tensor:
        """Nats against Haar measure of what may correlate together: (*batch, J, 3) -> (*batch, J), or (*batch, 1) for a full covariance."""
        log_scale = self.scale.log().view(-1, 3).sum(-1)
        blocks = standard_normal_log_prob(self._whiten(rotvec)) + self.log_diagonal.sum(-1)
        return self._of_blocks(blocks, haar_correction(rotvec) - log_scale)

    def _of_blocks(self, blocks: Tensor, by_joint: Tensor) -> Tensor:
        """Log-densities of blocks (*batch, blocks), and what is to be added of each joint, (*batch, J) -> as `_gaussian_log_prob`."""
        if self.config.covariance == "full":
            return blocks + by_joint.sum(-1, keepdim=True)
        of_joints: Tensor = blocks.unflatten(-1, (self.num_joints, -1)).sum(-1)
        return of_joints + by_joint

    @torch.no_grad()
    def sample(self, num_samples: int, generator: torch.Generator | None = None, defensive: bool = False) -> Tensor:
        """Draws poses, (num_samples, 55, 3), canonical; some from the defensive component only if `defensive`."""
        of, num_coins = self.shift, 1 if self.config.covariance == "full" else self.num_joints
        share = self.config.defensive_weight if defensive else 0.0

        def noise() -> tuple[Tensor, Tensor, Tensor]:
            normal = torch.randn(num_samples, *of.shape, generator=generator, dtype=of.dtype, device=of.device)
            broad = self.defensive.sample(num_samples, generator)
            return normal, broad, torch.rand(num_samples, num_coins, 1, generator=generator, device=of.device)

        def pose_of(_: Tensor, normal: Tensor, broad: Tensor, coin: Tensor) -> Tensor:
            return torch.where(coin < share, broad, self._colour(normal))

        return self.expand(drawn_within_pi(noise, pose_of))

    @property
    def num_noise(self) -> int:
        return self.shift.numel()

    def from_noise(self, noise: Tensor) -> Tensor:
        """What `sample` makes of standard normal numbers, see `DrawnFromNoise`: (N, 3 J) -> (N, J, 3)."""
        return self._colour(noise.unflatten(-1, self.shift.shape))

    def reconstruct(self, pose: Tensor) -> Tensor:
        return self.expand(self._colour(self._whiten(self.select(pose))))

    def _whiten(self, rotvec: Tensor) -> Tensor:
        """(*batch, J, 3) -> standard normal (*batch, blocks, size)."""
        with without_autocast(rotvec):
            return torch.einsum("gab,...gb->...ga", self._root(), self._blocks(rotvec)) - self.shift

    def _colour(self, noise: Tensor) -> Tensor:
        """The inverse: (*batch, blocks, size) -> (*batch, J, 3)."""
        blocks = torch.linalg.solve_triangular(self._root(), (noise + self.shift).unsqueeze(-1), upper=False)
        rotvec: Tensor = (blocks.flatten(-3) * self.scale + self.centre).unflatten(-1, (self.num_joints, 3))
        return rotvec

    def _blocks(self, rotvec: Tensor) -> Tensor:
        """(*batch, J, 3) -> standardised (*batch, blocks, size)."""
        blocks: Tensor = ((rotvec.flatten(-2) - self.centre) / self.scale).unflatten(-1, self.shift.shape)
        return blocks

    def _root(self) -> Tensor:
        """The lower-triangular root of each block's precision, (blocks, size, size)."""
        size = self.shift.shape[-1]
        row, column = torch.tril_indices(size, size, -1)
        root = torch.diag_embed(self.log_diagonal.exp())
        root[:, row, column] = self.lower
        return root
