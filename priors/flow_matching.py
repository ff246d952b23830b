"""The flow-matching prior: a continuous normalizing flow over the whole pose, learnt by regression."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from pose_priors.body.rotations import haar_correction
from pose_priors.priors.angular_central_gaussian import AngularCentralGaussian, defend
from pose_priors.priors.base import DensityPrior, PriorConfigBase
from pose_priors.priors.conditioning.drawing import drawn_within_pi
from pose_priors.priors.conditioning.visibility import check_visible, draw_visible
from pose_priors.priors.denoising.contract import checked_noise
from pose_priors.priors.denoising.denoiser import DenoiserConfig
from pose_priors.priors.gaussians.kernels import MAX_KEPT
from pose_priors.priors.gaussians.patterns import by_pattern
from pose_priors.priors.networks.chunks import by_chunks, gives_numbers
from pose_priors.priors.networks.flows import TailCompression
from pose_priors.priors.networks.heavy_tails import defended_by_tails, tails_of
from pose_priors.priors.networks.mixture_velocity import MixtureVelocity, MixtureVelocityConfig
from pose_priors.priors.networks.path_energy import by_feature, denoising_energy, squared_residual
from pose_priors.priors.networks.velocity import VelocityField, everywhere, integrate, nodes_from_data, times_to_data
from pose_priors.priors.standardize import Whitening

# Share of the broad component in exp(-energy), and derivatives of hidden units that are held at once, so many times the networks' width.
_BROAD, _CHUNK = 0.01, 4096
# Paths that are followed at a time, and sets of visible joints: what follows from each is kept while the next is begun.
_PATHS, _PATTERNS = 128, MAX_KEPT - 1


class FlowMatchingConfig(PriorConfigBase):
    """How the flow-matching prior is built."""

    kind: Literal["flow_matching"]
    hidden: int = Field(512, ge=1)
    """Width of the velocity network."""
    num_blocks: int = Field(3, ge=1)
    num_networks: int = Field(1, ge=1)
    """Velocity networks, trained side by side, whose velocities are averaged."""
    dropout: float = Field(0.15, ge=0, lt=1)
    use_conditioning: bool = True
    """Whether it also learns the velocities of some joints given the others, half of the time."""
    num_steps: int = Field(6, ge=1)
    """Steps of Runge-Kutta, four passes of the network each, that a path takes from noise to pose or back; the density sums twice as
    many divergences."""
    num_draws: int = Field(16, ge=2)
    """Passes of a network that the energy takes, in pairs."""
    mixture: MixtureVelocityConfig | None = None
    """A mixture of training poses, whose exact velocity is averaged with those of the networks; null for none."""
    defensive_weight: float = Field(0.03, gt=0, lt=1)
    """Share of the defensive component in the density."""
    denoiser: DenoiserConfig | None = None
    """What `denoise` and energies under noise are learnt by, trained beside the density; null for none."""

    def build(self, joint_indices: Sequence[int]) -> FlowMatching:
        return FlowMatching(self, joint_indices)


class FlowMatching(DensityPrior):
    """Poses as noise that has flowed along a learnt velocity field (Lipman et al., "Flow matching for generative modeling", ICLR 2023).

    The velocity is regressed on straight paths x_t = (1 - t) noise + t pose between the standard normal and whitened, tail-compressed
    rotation vectors. `sample` and `log_prob` follow its paths, dozens of network passes a pose, and of Jacobians too for the density.
    Optimisers need something cheaper: `energy` is a denoising energy, the terms of the variational bound on the negative log-likelihood
    of the same network read as a denoiser (Kingma et al., "Variational diffusion models", NeurIPS 2021), with noise that is drawn once
    and kept, so that it is a smooth function of the pose. The mean of those terms over all noise would bound `-log_prob`; with the noise
    kept they bound nothing, at no pose: exp(-energy) integrates to more than one. It is defended by a broad angular central Gaussian per
    joint, the density by heavy tails of the same flow, see `priors.networks.heavy_tails`.

    With `use_conditioning`, half of the training poses have some joints at their end of the path from the start, and the networks are told
    which: `complete` moves the others alone. Several networks err less than one, as ensembles of regressions do (Breiman, "Bagging
    predictors", Machine Learning 24, 1996), and their mean is one velocity field with one density. So does a mixture of training poses
    beside them, see `priors.networks.mixture_velocity`; energies leave it out, as optimisers ask for many.
    """

    noise: Tensor

    def __init__(self, config: FlowMatchingConfig, joint_indices: Sequence[int]) -> None:
        super().__init__(joint_indices)
        self.config = config
        self.denoiser = None if config.denoiser is None else config.denoiser.build(self.joint_indices)
        self.num_features = 3 * self.num_joints
        self.whitening = Whitening(self.num_joints)
        self.compression = TailCompression()
        self.defensive = AngularCentralGaussian(self.num_joints)
        num_conditions = self.num_joints if config.use_conditioning else 0
        self.networks = nn.ModuleList(
            VelocityField(self.num_features, config.hidden, config.num_blocks, config.dropout, num_conditions)
            for _ in range(config.num_networks)
        )
        self.mixture = None if config.mixture is None else MixtureVelocity(config.mixture, self.num_features)
        self._times = times_to_data(config.num_steps)
        self._nodes = nodes_from_data(2 * config.num_steps)
        drawn = torch.randn(config.num_draws, self.num_features, generator=torch.Generator().manual_seed(0))
        # of one length, which keeps their second moments and takes most of the luck out of a few draws
        self.register_buffer("noise", math.sqrt(self.num_features) * nn.functional.normalize(drawn))

    @property
    def _fields(self) -> list[VelocityField]:
        return [cast(VelocityField, network) for network in self.networks]

    @property
    def _beside(self) -> MixtureVelocity | None:
        """The mixture, if it counts."""
        return self.mixture if self.mixture is not None and self.mixture.counts else None

    @torch.no_grad()
    def fit_statistics(self, poses: Tensor) -> None:
        super().fit_statistics(poses)
        rotvec = self.select(poses)
        self.whitening.fit(rotvec)
        self.defensive.fit(rotvec)
        features, _ = self._features(rotvec)
        for network in self._fields:
            network.fit(features)
        if self.mixture is not None:
            self.mixture.fit(features)

    def velocity(self, x: Tensor, time: Tensor, visible: Tensor | None = None) -> Tensor:
        """The mean of the networks and of the mixture beside them: (*batch, 3 J), (*batch), and of which joints x holds what they end in,
        (*batch, J), none by default -> (*batch, 3 J), zero at those joints."""
        given = None if visible is None else visible.to(x)
        learnt = self._mean([network(x, time, given) for network in self._fields], visible)
        mixture = self._beside
        return learnt if mixture is None else mixture.beside(learnt, x, time, visible)

    def energy(self, pose: Tensor, noise: float = 0.0) -> Tensor:
        """The denoising energy in nats, in `num_draws` passes of a network: (*batch, 55, 3) -> (*batch,). No bound on `-log_prob`.

        It is the integral over noise levels of how far the network misses the pose, with few draws of noise that are always the same, each
        of which is also taken away, and so is what it adds for normal data by being what it is: for these the energy is exact. Of others
        it is mostly a constant away from `-log_prob`. Each pair asks one of the networks, in turn. Their mean would take as many times the
        passes; that they disagree raises the energy. With `noise`, see the base class.
        """
        if checked_noise(noise):
            return self.smoothed_energy(pose, noise)
        rotvec = self.select(pose)
        x, log_det = self._features(rotvec)
        # of many poses the gradient is taken at once, unless it is for the parameters, too
        frozen = not any(parameter.requires_grad for parameter in self.parameters())
        energy = denoising_energy(self._fields, x, self.noise, frozen)
        return -defend(log_det.sum(-1) - energy, self.defensive.log_prob(rotvec).sum(-1), _BROAD)

    def log_prob(self, pose: Tensor) -> Tensor:
        """Log-density in nats against normalised Haar measure over the joints learnt, by the paths and the divergence along them.

        Args:
            pose: (*batch, 55, 3).
        Returns:
            (*batch,).
        """
        return self._log_prob_of(pose, torch.zeros_like(self.joint_index, dtype=torch.bool))

    def log_prob_given(self, pose: Tensor, visible: Tensor) -> Tensor:
        """Log-density of the hidden joints given the visible ones, as `complete` draws them, in nats against normalised Haar measure.

        It is learnt beside `log_prob`, of which it is the conditional only as far as both are right.

        Args:
            pose: (*batch, 55, 3).
            visible: (*batch, 55) bool.
        Returns:
            (*batch,).
        Raises:
            ValueError: if the prior was not trained to complete.
        """
        if not self.has_conditional_density:
            return super().log_prob_given(pose, visible)
        check_visible(pose, visible)
        return self._log_prob_of(pose, visible[..., self.joint_index])

    def loss(self, pose: Tensor) -> dict[str, Tensor]:
        """The squared error of the velocity, summed over features. Times are half uniform, half logit-normal (Esser et al., ICML 2024)."""
        x, _ = self._features(self.select(pose))
        if not self.training:
            # held-out poses meet the same noise each time, so that epochs can be compared
            held_out = self._velocity_error(self.velocity, x, torch.Generator(x.device).manual_seed(0), None)
            return self._with_denoising({"loss": held_out}, pose)
        visible = draw_visible(len(x), self.joint_indices, x.device) if self.completes else None
        loss = torch.stack([self._velocity_error(network, x, None, visible) for network in self._fields]).mean()
        return self._with_denoising({"loss": loss}, pose)

    @torch.no_grad()
    def sample(self, num_samples: int, generator: torch.Generator | None = None, defensive: bool = False) -> Tensor:
        """Draws poses, (num_samples, 55, 3), canonical; some from the defensive component only if `defensive`."""
        nowhere = self.default_pose.new_zeros(num_samples, self.num_features)
        return self._draw(nowhere, None, generator, defensive)

    def reconstruct(self, pose: Tensor) -> Tensor:
        """The pose after its path to noise and back, off by what the integration in `num_steps` steps misses."""
        x, _ = self._features(self.select(pose))
        return self.expand(self.from_noise(integrate(self.velocity, x, self._times[::-1])))

    @property
    def num_noise(self) -> int:
        return self.num_features

    @property
    def completes(self) -> bool:
        return self.config.use_conditioning

    @property
    def has_conditional_density(self) -> bool:
        return self.config.use_conditioning

    def _drawn_given(self, pose: Tensor, visible: Tensor, generator: torch.Generator | None, defensive: bool) -> Tensor:
        return self._draw(self._features(self.select(pose))[0], visible, generator, defensive)

    def _draw(self, x: Tensor, visible: Tensor | None, generator: torch.Generator | None, defensive: bool) -> Tensor:
        """Draws (B, 55, 3), of which features x (B, 3 J) hold the joints that are visible, (B, J); these are never too far to be drawn."""
        share = self.config.defensive_weight if defensive else 0.0

        def noise() -> tuple[Tensor]:
            normal = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            coin = torch.rand(len(x), 1, generator=generator, device=x.device)
            return (torch.where(coin < share, tails_of(normal, generator), normal),)

        def pose_of(rows: Tensor, noise: Tensor) -> Tensor:
            if visible is None:
                return self.from_noise(noise)
            seen = visible[rows]
            return self.from_noise(torch.where(by_feature(seen), x[rows], noise), seen).masked_fill(seen.unsqueeze(-1), 0.0)

        return self.expand(drawn_within_pi(noise, pose_of))

    def _log_prob_of(self, pose: Tensor, visible: Tensor) -> Tensor:
        """Of the joints that are not `visible`, (*batch, J)."""
        rotvec = self.select(pose)
        x, log_det = self._features(rotvec)
        seen = visible.expand(log_det.shape)
        flat, of_joints = x.reshape(-1, self.num_features), seen.reshape(-1, self.num_joints)

        def to_noise(rows: Tensor) -> tuple[Tensor, Tensor]:
            return self._to_noise(flat[rows], of_joints[rows])

        most, plain = max(1, _CHUNK // self.num_features), gives_numbers(self, flat)
        ends, divergences = by_chunks(to_noise, self._alike(of_joints), most, plain, _PATTERNS)
        log_volume = (log_det * ~seen).sum(-1) - divergences.view(log_det.shape[:-1])
        anywhere = (self.defensive.log_prob(rotvec) * ~seen).sum(-1)
        return defended_by_tails(ends.view(*log_det.shape, 3), ~seen, log_volume, anywhere, self.config.defensive_weight)

    def _alike(self, visible: Tensor) -> list[Tensor]:
        """Rows (N, J) in groups that follow their paths one after the other: what a mixture expects is worked out once for each pattern."""
        if self._beside is None or not len(visible):
            return [torch.arange(len(visible), device=visible.device)]
        return [rows for _, rows in by_pattern(visible)]

    def _to_noise(self, x: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Where paths begin, and the integrals of the divergence along them: (N, 3 J), (N, J) -> (N, 3 J), (N,)."""
        field, given, mixture = partial(self.velocity, visible=visible), visible.to(x), self._beside
        integral, before = torch.zeros_like(x[:, 0]), 1.0
        for after, weight in self._nodes:
            # a path costs little beside its Jacobians: it is followed from each of these to the next
            x = integrate(field, x, [before, after])
            time = everywhere(after, x)
            divergence = self._mean([network.slopes(x, time, given) for network in self._fields], visible).sum(-1)
            if mixture is not None:
                divergence = mixture.beside_divergence(divergence, x, time, visible)
            integral, before = integral + weight * divergence, after
        return integrate(field, x, [before, 0.0]), integral

    def _velocity_error(self, field: Callable[..., Tensor], x: Tensor, generator: torch.Generator | None, visible: Tensor | None) -> Tensor:
        """The mean squared residual of a field's velocities at random times, where joints are not `visible`."""
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        uniform, coin = torch.rand(2, len(x), generator=generator, dtype=x.dtype, device=x.device)
        normal = torch.randn(len(x), generator=generator, dtype=x.dtype, device=x.device)
        time = torch.where(coin < 0.5, uniform, torch.sigmoid(normal))
        return squared_residual(field, x, noise, time, visible).mean()

    def _mean(self, of_networks: list[Tensor], visible: Tensor | None) -> Tensor:
        """(*batch, 3 J) each, zero where joints are `visible`."""
        mean = reduce(torch.add, of_networks) / len(of_networks)
        return mean if visible is None else mean * ~by_feature(visible)

    def _features(self, rotvec: Tensor) -> tuple[Tensor, Tensor]:
        """(*batch, J, 3) -> (*batch, 3 J), and the logarithm of how much that stretches Haar measure, (*batch, J)."""
        white, log_det = self.whitening(rotvec)
        x, of_compression = self.compression(white)
        return x.flatten(-2), log_det + of_compression + haar_correction(rotvec)

    def from_noise(self, start: Tensor, visible: Tensor | None = None) -> Tensor:
        """Where paths end, see `DrawnFromNoise`: (N, 3 J), and of which joints that is known, (N, J) -> (N, J, 3)."""
        plain = gives_numbers(self, start)
        if visible is None and not plain:  # of as many rows as there are, also where it becomes a program
            x = integrate(self.velocity, start, self._times)
        else:

            def ends(rows: Tensor) -> tuple[Tensor]:
                seen = None if visible is None else visible[rows]
                return (integrate(partial(self.velocity, visible=seen), start[rows], self._times),)

            groups = [torch.arange(len(start), device=start.device)] if visible is None else self._alike(visible)
            (x,) = by_chunks(ends, groups, _PATHS, plain, _PATTERNS)
        return self.whitening.inverse(self.compression.inverse(x.unflatten(-1, (self.num_joints, 3)))[0])
