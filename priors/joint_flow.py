"""The joint-flow prior: one conditional normalizing flow per joint, all joints in one batched pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pose_priors.body.rotations import NUM_MATRIX_FEATURES, haar_correction, matrix_features
from pose_priors.priors.angular_central_gaussian import AngularCentralGaussian, defend, defensive_share
from pose_priors.priors.base import MaximumLikelihoodPrior, PriorConfigBase
from pose_priors.priors.conditioning.context import NO_JOINT, ContextKind, choose_context, generation_order, max_context
from pose_priors.priors.conditioning.drawing import drawn_within_pi
from pose_priors.priors.denoising.denoiser import DenoiserConfig
from pose_priors.priors.networks.derived import at_once
from pose_priors.priors.networks.flows import CouplingKind, TailCompression, compose, coupling, standard_normal_log_prob
from pose_priors.priors.networks.grouped import GroupContext, GroupedConditioner
from pose_priors.priors.standardize import Whitening

# Which of a joint's three components each coupling layer moves; over three layers every component is moved given every other.
_MASKS = ((1, 1, 0), (0, 1, 1), (1, 0, 1))
# Spread below which what a network sees of a context joint is not blown up any further.
_MIN_CONTEXT_STD = 0.02


class JointFlowConfig(PriorConfigBase):
    """How the joint flow is built."""

    kind: Literal["joint_flow"]
    hidden: int = Field(128, ge=1)
    """Width of each joint's conditioners."""
    K: int = Field(4, ge=1)
    """Coupling layers."""
    transform: CouplingKind = "spline"
    context: ContextKind = "parent"
    num_context: int = Field(8, ge=1)
    """Joints in a context of kind `correlated`, the parent among them."""
    num_blocks: int = Field(1, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    defensive_weight: float = Field(0.01, gt=0, lt=1)
    """Share of the defensive component in each joint's density."""
    denoiser: DenoiserConfig | None = None
    """What `denoise` and energies under noise are learnt by, trained beside the density; null for none."""

    def build(self, joint_indices: Sequence[int]) -> JointFlow:
        return JointFlow(self, joint_indices)


class JointFlow(MaximumLikelihoodPrior):
    """p(pose) = prod_j p(joint j | its context), each factor a 3-D flow over the joint's rotation vector.

    The conditionals are spline (Durkan et al., NeurIPS 2019) or affine (Dinh et al., ICLR 2017) coupling flows of whitened, tail-compressed
    rotation vectors; each is defended by a broad angular central Gaussian, so that no joint can make the energy explode. What a
    conditional sees of its context are rotation matrices' first two columns, which are bounded and continuous (Zhou et al., CVPR 2019).
    """

    context: Tensor
    context_mean: Tensor
    context_std: Tensor

    def __init__(self, config: JointFlowConfig, joint_indices: Sequence[int]) -> None:
        super().__init__(joint_indices)
        self.config = config
        self.denoiser = None if config.denoiser is None else config.denoiser.build(self.joint_indices)
        width = max_context(config.context, self.joint_indices, config.num_context)
        self.register_buffer("context", torch.full((self.num_joints, width), NO_JOINT, dtype=torch.long))
        self.register_buffer("context_mean", torch.zeros(self.num_joints, NUM_MATRIX_FEATURES))
        self.register_buffer("context_std", torch.ones(self.num_joints, NUM_MATRIX_FEATURES))
        self.whitening = Whitening(self.num_joints)
        self.defensive = AngularCentralGaussian(self.num_joints)

        def conditioner(num_inputs: int, num_outputs: int) -> nn.Module:
            return GroupedConditioner(
                self.num_joints, width * NUM_MATRIX_FEATURES, num_inputs, num_outputs, config.hidden, config.num_blocks, config.dropout
            )

        layers = [coupling(config.transform, _MASKS[k % len(_MASKS)], conditioner) for k in range(config.K)]
        self.transform = compose([TailCompression(), *layers])

    @torch.no_grad()
    def fit_statistics(self, poses: Tensor) -> None:
        super().fit_statistics(poses)
        rotvec = self.select(poses)
        self.whitening.fit(rotvec)
        self.defensive.fit(rotvec)
        self.context.copy_(choose_context(self.config.context, self.joint_indices, self.config.num_context, rotvec))
        features = matrix_features(rotvec)
        self.context_mean.copy_(features.mean(0))
        self.context_std.copy_(features.std(0).clamp_min(_MIN_CONTEXT_STD))

    def joint_log_prob(self, pose: Tensor) -> Tensor:
        """Log-density of each joint given its context, in nats against normalised Haar measure; low where a joint is implausible.

        Args:
            pose: (*batch, 55, 3).
        Returns:
            (*batch, J) in the order of `joints`; its sum over J is `log_prob`.
        """
        return defend(*self._log_densities(pose), self.config.defensive_weight)

    def log_prob(self, pose: Tensor) -> Tensor:
        return self.joint_log_prob(pose).sum(-1)

    def _losses(self, pose: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        flow, defensive = self._log_densities(pose)
        log_prob = defend(flow, defensive, self.config.defensive_weight).sum(-1)
        share = defensive_share(flow, defensive, self.config.defensive_weight).mean()
        return {"loss": -log_prob.mean(), "nll": -log_prob.mean(), "broad_share": share}, log_prob

    def _log_densities(self, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Log-densities of the flow and of the defensive component, (*batch, J) each."""
        rotvec = self.select(pose)
        batch = rotvec.shape[:-2]
        rotvec = rotvec.reshape(-1, self.num_joints, 3)
        noise, log_det = self._forward(rotvec)
        flow = standard_normal_log_prob(noise) + log_det + haar_correction(rotvec)
        return flow.view(*batch, self.num_joints), self.defensive.log_prob(rotvec).view(*batch, self.num_joints)

    @torch.no_grad()
    def sample(self, num_samples: int, generator: torch.Generator | None = None, defensive: bool = False) -> Tensor:
        """Draws poses, (num_samples, 55, 3), canonical; some joints from their defensive components only if `defensive`."""
        of, share = self.default_pose, self.config.defensive_weight if defensive else 0.0

        def noise() -> tuple[Tensor, Tensor, Tensor]:
            normal = torch.randn(num_samples, self.num_joints, 3, generator=generator, dtype=of.dtype, device=of.device)
            broad = self.defensive.sample(num_samples, generator)
            return normal, broad, torch.rand(num_samples, self.num_joints, 1, generator=generator, device=of.device)

        return self.expand(drawn_within_pi(noise, lambda _, normal, broad, coin: self._inverse(normal, broad, coin < share)))

    @property
    def num_noise(self) -> int:
        return 3 * self.num_joints

    def from_noise(self, noise: Tensor) -> Tensor:
        """What `sample` makes of standard normal numbers, see `DrawnFromNoise`: (N, 3 J) -> (N, J, 3)."""
        of_joints = noise.unflatten(-1, (self.num_joints, 3))
        return self._inverse(of_joints, of_joints, torch.zeros_like(of_joints[..., :1], dtype=torch.bool))

    def reconstruct(self, pose: Tensor) -> Tensor:
        return self.expand(self.from_noise(self._forward(self.select(pose))[0].flatten(1)))

    def _forward(self, rotvec: Tensor) -> tuple[Tensor, Tensor]:
        """(B, J, 3) -> noise (B, J, 3) and log-determinants (B, J), all joints at once."""
        white, log_det = self.whitening(rotvec)
        noise, flow_log_det = self.transform(white.transpose(0, 1).flatten(0, 1), self._context_of(rotvec, None))
        return noise.view(self.num_joints, -1, 3).transpose(0, 1), flow_log_det.view(self.num_joints, -1).T + log_det

    def _inverse(self, noise: Tensor, defensive: Tensor, use_defensive: Tensor) -> Tensor:
        """Noise (B, J, 3) -> rotation vectors, round by round of joints whose contexts are known; `defensive` (B, J, 3) where asked for."""
        rotvec = torch.zeros_like(noise)
        with at_once():
            rounds = generation_order(self.context)
        for joints in rounds:
            groups = torch.tensor(joints, device=noise.device)
            white, _ = self.transform.inverse(noise[:, groups].transpose(0, 1).flatten(0, 1), self._context_of(rotvec, groups))
            drawn = self.whitening.inverse(white.view(len(joints), -1, 3).transpose(0, 1), groups)
            rotvec = rotvec.index_copy(1, groups, torch.where(use_defensive[:, groups], defensive[:, groups], drawn))
        return rotvec

    def _context_of(self, rotvec: Tensor, groups: Tensor | None) -> GroupContext:
        """(B, J, 3) -> features (G, B, C*6): standardised matrix columns of the context joints, zeros where there is none."""
        table = self.context if groups is None else self.context[groups]
        standardised = (matrix_features(rotvec) - self.context_mean) / self.context_std
        features = standardised[:, table.clamp_min(0)] * (table != NO_JOINT).unsqueeze(-1)
        return GroupContext(features.flatten(-2).transpose(0, 1), groups)
