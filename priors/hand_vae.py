"""Variational autoencoder of hand poses whose decoder is a density on SO(3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from pose_priors.body import conversions
from pose_priors.body.rotations import geodesic_angle, to_rotmat
from pose_priors.body.skeleton import JOINT_NAMES, PARTS
from pose_priors.configs.base import UserError
from pose_priors.priors.base import Prior, PriorConfigBase
from pose_priors.priors.denoising.contract import checked_noise
from pose_priors.priors.denoising.denoiser import DenoiserConfig
from pose_priors.priors.evaluation.scores import round_trip_deg
from pose_priors.priors.networks.flows import compress
from pose_priors.priors.networks.hands import LinearSkipMLP, rotmat_from_6d
from pose_priors.priors.so3_density import IsotropicAngularCentralGaussian, half_angle_sine_squared

_HANDS = ("left_hand", "right_hand")
_MIRROR = (1.0, -1.0, -1.0)
_MIN_STD = 0.02
"""Floor of the standardisation (radians, or entries of a rotation matrix): finger joints are hinges, some components hardly move."""
_START_SCALE_RATIO = 0.2
"""First decoder scale over the spread of the data: from the full spread the posterior collapses before the decoder has learnt anything."""
_LOG_STD_RANGE, _START_LOG_STD = 5.0, -2.0
_EVALUATION_SEED = 0
_CHUNK_ROWS = 16384
"""Latents decoded at once when bounding the density; limits memory."""


class HandVAEConfig(PriorConfigBase):
    """Configuration of `HandVAE`."""

    kind: Literal["hand_vae"]
    type: Literal["standard", "so3"] = "standard"
    """What the networks read and write: rotation vectors, or the first two columns of rotation matrices (6D)."""
    hands: Literal["both", "one"] = "both"
    """both: the two hands jointly. one: a single hand, trained on right hands and on mirrored left ones."""
    z_dim: int = Field(default=24, ge=1)
    hidden: int = Field(default=256, ge=1)
    n_layers: int = Field(default=3, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    beta: float = Field(default=1.0, ge=0)
    """Weight of the Kullback-Leibler term after the warm-up; 1 is the evidence lower bound."""
    kl_warmup_steps: int = Field(default=1000, ge=0)
    """Training steps over which the weight rises linearly from 0."""
    free_bits: float = Field(default=0.0, ge=0)
    """Nats per latent dimension that cost nothing (Kingma et al., NeurIPS 2016)."""
    num_importance_samples: int = Field(default=64, ge=1)
    """K of the importance-weighted bound."""
    denoiser: DenoiserConfig | None = None
    """What `denoise` and energies under noise are learnt by, trained beside the density; null for none."""

    def build(self, joint_indices: Sequence[int]) -> HandVAE:
        return HandVAE(self, joint_indices)


class HandVAE(Prior):
    """Latent variable model of hands, p(R) = integral of p(R | z) N(z; 0, I) (Kingma and Welling, "Auto-Encoding Variational Bayes", 2014).

    The decoder p(R | z) is a normalised density on SO(3) per joint, so `bound` is comparable with the `log_prob` of other priors; it stays
    a bound, and there is no `log_prob`.

    It scores the complete hands that the data had, and no other joint. With `hands="one"` two such hands are scored by the same model,
    independently, with latents of their own; a hand that the data did not have is not scored (`body.rotations.mirror_pose` brings it over).
    A latent code z is (..., `latent_dim`), that is z_dim, or z_dim per hand (left first) if two hands are modelled one by one.

    Args:
        joint_indices: SMPL-X indices of the joints with data, ascending; those outside of complete hands are ignored.

    Raises `UserError` if there is no complete hand, or only one for `hands="both"`.
    """

    reflection: Tensor
    mean: Tensor
    std: Tensor
    num_steps: Tensor

    def __init__(self, config: HandVAEConfig, joint_indices: Sequence[int]) -> None:
        hands = _complete_hands(config, joint_indices)
        super().__init__([i for hand in hands for i in PARTS[hand]])
        self.config = config
        self.denoiser = None if config.denoiser is None else config.denoiser.build(self.joint_indices)
        self._warmup_steps = config.kl_warmup_steps
        self.num_units = 1 if config.hands == "both" else len(hands)
        joints_per_unit = self.num_joints // self.num_units
        reflection = torch.ones(len(hands), self.num_joints // len(hands), 3)
        if config.hands == "one":
            reflection[[hand == "left_hand" for hand in hands]] = torch.tensor(_MIRROR)
        self.register_buffer("reflection", reflection.reshape(self.num_units, joints_per_unit, 3), persistent=False)
        width = joints_per_unit * (3 if config.type == "standard" else 6)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.long))
        self.encoder = LinearSkipMLP(width, 2 * config.z_dim, config.hidden, config.n_layers, config.dropout)
        self.decoder = LinearSkipMLP(config.z_dim, width, config.hidden, config.n_layers, config.dropout)
        self.density = IsotropicAngularCentralGaussian(joints_per_unit)
        nn.init.constant_(self.encoder.skip.bias[config.z_dim :], _START_LOG_STD)

    @property
    def latent_dim(self) -> int:
        return self.num_units * self.config.z_dim

    @torch.no_grad()
    def fit_statistics(self, poses: Tensor) -> None:
        """Sets the standardisation, and the decoder's scale as a part of the data's spread about its mean."""
        super().fit_statistics(poses)
        rotvec = self._split(poses).flatten(0, 1)
        features = self._features(rotvec)
        self.mean.copy_(features.mean(0))
        self.std.copy_(features.std(0, correction=0).clamp_min(_MIN_STD))
        # for small angles 4 sin^2(t/2) is t^2, of which each of three axes has a third
        variance = 4 / 3 * half_angle_sine_squared(to_rotmat(rotvec), self._rotations(self.mean)).mean(0)
        self.density.set_scale(_START_SCALE_RATIO * variance.sqrt())

    def set_total_steps(self, total_steps: int) -> None:
        """Keeps the warm-up within a third of a short run."""
        self._warmup_steps = min(self.config.kl_warmup_steps, total_steps // 3)

    def loss(self, pose: Tensor) -> dict[str, Tensor]:
        """Negative evidence lower bound of one latent sample, with the weight of its KL term still rising in training mode.

        In evaluation mode the weight is the final one and the noise is always the same, so that epochs can be compared and the global
        random state is left alone. Logged: `nll_reconstruction` and `kl` in nats per pose, `beta`, and `reconstruction_deg`, the mean
        geodesic error per joint (of the sample in training, at the posterior mean in evaluation).
        """
        rotvec = self._split(pose)
        rotation, posterior = to_rotmat(rotvec), self._posterior(rotvec)
        beta = torch.full_like(self.mean[0], self.config.beta)
        if self.training:
            self.num_steps += 1
            beta = beta * (self.num_steps / max(self._warmup_steps, 1)).clamp(max=1)
            mode = shown = self._mode(posterior.rsample())
        else:
            generator = torch.Generator(pose.device).manual_seed(_EVALUATION_SEED)
            mode, shown = self._mode(_draw(posterior, (), generator)), self._mode(posterior.mean)
        reconstruction = -self.density.log_prob(rotation, mode).sum((-2, -1)).mean()
        # free bits are granted to the batch's mean of each dimension, or a pose that needs few nats would be made to spend them
        kl = kl_divergence(posterior, self._latent_prior()).flatten(0, -3).mean(0)
        loss = reconstruction + beta * kl.clamp_min(self.config.free_bits).sum()
        values = {
            "loss": loss,
            "nll_reconstruction": reconstruction.detach(),
            "kl": kl.sum().detach(),
            "beta": beta,
            "reconstruction_deg": torch.rad2deg(geodesic_angle(shown.detach(), rotation)).mean(),
        }
        return self._with_denoising(values, pose)

    def energy(self, pose: Tensor, noise: float = 0.0) -> Tensor:
        """Negative evidence lower bound with the posterior mean for its sample, in nats: (*batch, 55, 3) -> (*batch,).

        Deterministic in evaluation mode. It is no bound and compares only poses under one model; for densities there is `bound`. With
        `noise`, see the base class.
        """
        if checked_noise(noise):
            return self.smoothed_energy(pose, noise)
        rotvec = self._split(pose)
        posterior = self._posterior(rotvec)
        reconstruction = -self.density.log_prob(to_rotmat(rotvec), self._mode(posterior.mean))
        return reconstruction.sum((-2, -1)) + kl_divergence(posterior, self._latent_prior()).sum((-2, -1))

    @torch.no_grad()
    def bound(self, pose: Tensor, num_samples: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Importance-weighted lower bound on the log-density, in nats against normalised Haar measure over the joints scored
        (Burda et al., "Importance Weighted Autoencoders", ICLR 2016).

        Args:
            pose: (*batch, 55, 3).
            num_samples: K; by default that of the configuration.
        Returns:
            (*batch,), no gradient. Its expectation rises with K to the log-density.
        """
        num_samples = num_samples or self.config.num_importance_samples
        bounds = []
        for rotvec in self._split(pose.reshape(-1, *pose.shape[-2:])).split(max(1, _CHUNK_ROWS // (num_samples * self.num_units))):
            rotation, posterior = to_rotmat(rotvec), self._posterior(rotvec)
            z = _draw(posterior, (num_samples,), generator)
            log_ratio = (self._latent_prior().log_prob(z) - posterior.log_prob(z)).sum(-1)
            log_weight = self.density.log_prob(rotation, self._mode(z)).sum(-1) + log_ratio
            bounds.append((torch.logsumexp(log_weight, 0) - math.log(num_samples)).sum(-1))
        return torch.cat(bounds).reshape(pose.shape[:-2])

    def encode(self, pose: Tensor) -> Normal:
        """The approximate posterior of the latent code, with `mean` and `stddev` (*batch, latent_dim)."""
        posterior = self._posterior(self._split(pose))
        return _normal(posterior.mean.flatten(-2), posterior.stddev.flatten(-2))

    def decode(self, z: Tensor) -> Tensor:
        """The decoder's mode: (*batch, latent_dim) -> (*batch, 55, 3), canonical, with `default_pose` for the other joints."""
        mode = self._mode(z.unflatten(-1, (self.num_units, self.config.z_dim)))
        rotvec = conversions.unitquat_to_rotvec(conversions.rotmat_to_unitquat(mode)) * self.reflection
        return self.expand(rotvec.flatten(-3, -2))

    def reconstruct(self, pose: Tensor) -> Tensor:
        """`decode` of the posterior mean: (*batch, 55, 3) -> (*batch, 55, 3)."""
        return self.decode(self.encode(pose).mean)

    @torch.no_grad()
    def sample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """The decoder's modes at z ~ N(0, I), (num_samples, 55, 3); the decoder's own, heavy-tailed noise is left out."""
        z = torch.randn(num_samples, self.latent_dim, generator=generator, dtype=self.mean.dtype, device=self.mean.device)
        return self.decode(z)

    @torch.no_grad()
    def extra_scores(self, poses: Tensor) -> dict[str, float | int]:
        """`nll_bound` (its mean; an upper bound on the negative log-likelihood), its median, its K, and `reconstruction_deg`."""
        generator = torch.Generator(poses.device).manual_seed(_EVALUATION_SEED)
        nll = -self.bound(poses, generator=generator)
        return {
            "nll_bound": float(nll.mean()),
            "nll_bound_median": float(nll.median()),
            "num_importance_samples": self.config.num_importance_samples,
            "reconstruction_deg": round_trip_deg(self, poses),
        }

    def _split(self, pose: Tensor) -> Tensor:
        """(*batch, 55, 3) -> (*batch, units, joints per unit, 3), left hands mirrored where hands are modelled one by one."""
        units: Tensor = self.select(pose).unflatten(-2, self.reflection.shape[:2])
        return units * self.reflection

    def _features(self, rotvec: Tensor) -> Tensor:
        if self.config.type == "standard":
            return rotvec.flatten(-2)
        return to_rotmat(rotvec)[..., :2].transpose(-1, -2).flatten(-3)

    def _rotations(self, features: Tensor) -> Tensor:
        if self.config.type == "so3":
            return rotmat_from_6d(features.unflatten(-1, (-1, 6)))
        return to_rotmat(features.unflatten(-1, (-1, 3)))

    def _posterior(self, rotvec: Tensor) -> Normal:
        # both compressions are the identity near the data; without them the energy of poses far from it grows into the tens of thousands
        mean, raw = self.encoder(compress((self._features(rotvec) - self.mean) / self.std)).chunk(2, -1)
        return _normal(compress(mean), (_LOG_STD_RANGE * torch.tanh(raw / _LOG_STD_RANGE)).exp())

    def _mode(self, z: Tensor) -> Tensor:
        return self._rotations(self.mean + self.std * self.decoder(z))

    def _latent_prior(self) -> Normal:
        return _normal(torch.zeros_like(self.mean[0]), torch.ones_like(self.mean[0]))


def _normal(mean: Tensor, std: Tensor) -> Normal:
    """A normal distribution that takes NaN for what it is: one hand that holds it must not stop a batch."""
    return Normal(mean, std, validate_args=False)


def _draw(distribution: Normal, sample_shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """`distribution.sample(sample_shape)` from a generator of one's own, which torch's distributions do not take."""
    mean = distribution.mean
    noise = torch.randn(*sample_shape, *mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    return mean + distribution.stddev * noise


def _complete_hands(config: HandVAEConfig, joint_indices: Sequence[int]) -> list[str]:
    learnt = {int(i) for i in joint_indices}
    missing = {hand: [JOINT_NAMES[i] for i in PARTS[hand] if i not in learnt] for hand in _HANDS}
    hands = [hand for hand in _HANDS if not missing[hand]]
    if not hands:
        found = ", ".join(f"{len(PARTS[hand]) - len(missing[hand])} of 15 {hand} joints" for hand in _HANDS)
        raise UserError(f"hand_vae needs all 15 joints of a hand to vary in the data, found {found}; choose data.path with moving hands")
    if config.hands == "both" and len(hands) == 1:
        raise UserError(f"model.hands=both needs two complete hands, the data has the {hands[0]} only; set model.hands=one")
    return hands
