"""The flow-matching prior: a continuous normalizing flow over the whole pose, learnt by regression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from body.rotations import haar_correction
from priors.angular_central_gaussian import AngularCentralGaussian, defend
from priors.base import Prior, PriorConfigBase
from priors.flows import TailCompression, standard_normal_log_prob
from priors.scores import bits_per_dof
from priors.standardize import Whitening
from priors.velocity import VelocityField, integrate, with_divergence

# The bound is an integral over the log of the signal-to-noise ratio, between times at which nothing but noise is left (what lies before
# is worth 0.05 nats) and at which noise is a fiftieth of the data's spread.
_FIRST_TIME, _LAST_TIME = 0.05, 0.98


class FlowMatchingConfig(PriorConfigBase):
    """How the flow-matching prior is built."""

    kind: Literal["flow_matching"]
    hidden: int = Field(512, ge=1)
    """Width of the velocity network."""
    num_blocks: int = Field(3, ge=1)
    dropout: float = Field(0.15, ge=0, lt=1)
    num_steps: int = Field(10, ge=1)
    """Steps of Runge-Kutta, four passes of the network each, that a path takes from noise to pose or back."""
    num_draws: int = Field(16, ge=2)
    """Passes of the network that the energy takes."""
    defensive_weight: float = Field(0.01, gt=0, lt=1)
    """Share of the broad component in the density."""

    def build(self, joint_indices: Sequence[int]) -> FlowMatching:
        return FlowMatching(self, joint_indices)


class FlowMatching(Prior):
    """Poses as noise that has flowed along a learnt velocity field (Lipman et al., "Flow matching for generative modeling", ICLR 2023).

    The velocity is regressed on straight paths x_t = (1 - t) noise + t pose between the standard normal and whitened, tail-compressed
    rotation vectors. `sample` and `log_prob` follow its paths, dozens of network passes a pose, and of Jacobians too for the density.
    Optimisers need something cheaper: `energy` is the variational bound on the negative log-likelihood of the same network read as a
    denoiser (Kingma et al., "Variational diffusion models", NeurIPS 2021), estimated with noise that is drawn once and kept, so that it
    is a smooth function of the pose. Both are defended by a broad angular central Gaussian per joint.
    """

    noise: Tensor

    def __init__(self, config: FlowMatchingConfig, joint_indices: Sequence[int]) -> None:
        super().__init__(joint_indices)
        self.config = config
        self.num_features = 3 * self.num_joints
        self.whitening = Whitening(self.num_joints)
        self.compression = TailCompression()
        self.broad = AngularCentralGaussian(self.num_joints)
        self.velocity = VelocityField(self.num_features, config.hidden, config.num_blocks, config.dropout)
        drawn = torch.randn(config.num_draws, self.num_features, generator=torch.Generator().manual_seed(0))
        # of one length, which keeps their second moments and takes most of the luck out of a few draws
        self.register_buffer("noise", math.sqrt(self.num_features) * nn.functional.normalize(drawn))

    @torch.no_grad()
    def start(self, poses: Tensor) -> None:
        super().start(poses)
        rotvec = self.select(poses)
        self.whitening.fit(rotvec)
        self.broad.fit(rotvec)
        self.velocity.fit(self._features(rotvec)[0])

    def energy(self, pose: Tensor) -> Tensor:
        """A bound on `-log_prob` in nats, in `num_draws` passes of the network: (*batch, 55, 3) -> (*batch,)."""
        rotvec = self.select(pose)
        x, log_det = self._features(rotvec)
        # x_t = t (x + noise / sqrt(SNR)), and -log p(x) <= -E log p(x | x_t at the last time) + 1/2 integral of |x - x_hat|^2 dSNR, where
        # x - x_hat = (1 - t) (x - noise - v); over log SNR, half the integrand is t^2 |x - noise - v|^2 / 2.
        first, last = (2 * math.log(t / (1 - t)) for t in (_FIRST_TIME, _LAST_TIME))
        width = (last - first) / self.config.num_draws
        bound = 0.5 * self.num_features * (1 + math.log(2 * math.pi) - last)
        for number, noise in enumerate(self.noise):
            time = torch.sigmoid(0.5 * (first + (number + 0.5) * width * torch.ones_like(x[..., 0])))
            moved = time.unsqueeze(-1)
            miss = x - noise - self.velocity((1 - moved) * noise + moved * x, time)
            bound = bound + 0.5 * width * time.square() * miss.square().sum(-1)
        return -defend(log_det - bound, self.broad.log_prob(rotvec).sum(-1), self.config.defensive_weight)

    def log_prob(self, pose: Tensor) -> Tensor:
        """Log-density in nats against normalised Haar measure over the joints learnt, by the paths and the divergence along them.

        Args:
            pose: (*batch, 55, 3).
        Returns:
            (*batch,).
        """
        rotvec = self.select(pose)
        x, log_det = self._features(rotvec)
        state = torch.cat([x, torch.zeros_like(x[..., :1])], -1).reshape(-1, self.num_features + 1)
        state = integrate(with_divergence(self.velocity), state, 1.0, 0.0, self.config.num_steps)
        flow = (standard_normal_log_prob(state[:, :-1]) + state[:, -1]).view(log_det.shape) + log_det
        return defend(flow, self.broad.log_prob(rotvec).sum(-1), self.config.defensive_weight)

    def loss(self, pose: Tensor) -> dict[str, Tensor]:
        """The squared error of the velocity, summed over features. Times are half uniform, half logit-normal (Esser et al., ICML 2024)."""
        x, _ = self._features(self.select(pose))
        # held-out poses meet the same noise each time, so that epochs can be compared
        generator = None if self.training else torch.Generator(x.device).manual_seed(0)
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        uniform, coin = torch.rand(2, len(x), generator=generator, dtype=x.dtype, device=x.device)
        normal = torch.randn(len(x), generator=generator, dtype=x.dtype, device=x.device)
        time = torch.where(coin < 0.5, uniform, torch.sigmoid(normal))
        moved = time.unsqueeze(-1)
        miss = x - noise - self.velocity((1 - moved) * noise + moved * x, time)
        return {"loss": miss.square().sum(-1).mean()}

    @torch.no_grad()
    def sample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        device = self.fill.device
        noise = torch.randn(num_samples, self.num_features, generator=generator, dtype=self.fill.dtype, device=device)
        broad = self.broad.sample(num_samples, generator)
        coin = torch.rand(num_samples, 1, 1, generator=generator, device=device)
        return self.expand(torch.where(coin < self.config.defensive_weight, broad, self._pose_of(noise)))

    def reconstruct(self, pose: Tensor) -> Tensor:
        """The pose after its path to noise and back, off by what the integration in `num_steps` steps misses."""
        x, _ = self._features(self.select(pose))
        return self.expand(self._pose_of(integrate(self.velocity, x, 1.0, 0.0, self.config.num_steps)))

    @torch.no_grad()
    def extra_scores(self, poses: Tensor) -> dict[str, float | int]:
        """The negative log-likelihoods of held-out poses (N, 55, 3)."""
        nll = -self.log_prob(poses)
        mean = float(nll.mean())
        values = {"nll": mean, "nll_median": float(nll.median()), "nll_worst": float(nll.max())}
        return values | {"bits_per_dof": bits_per_dof(mean, self.num_joints)}

    def _features(self, rotvec: Tensor) -> tuple[Tensor, Tensor]:
        """(*batch, J, 3) -> (*batch, 3 J), and the logarithm of how much that stretches Haar measure, (*batch,)."""
        white, log_det = self.whitening(rotvec)
        x, of_compression = self.compression(white.flatten(-2))
        return x, (log_det + haar_correction(rotvec)).sum(-1) + of_compression

    def _pose_of(self, noise: Tensor) -> Tensor:
        """(N, 3 J) -> (N, J, 3)."""
        x = integrate(self.velocity, noise, 0.0, 1.0, self.config.num_steps)
        return self.whitening.inverse(self.compression.inverse(x)[0].unflatten(-1, (self.num_joints, 3)))
