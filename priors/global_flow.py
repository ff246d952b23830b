"""The global-flow prior: one normalizing flow over the whole pose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pose_priors.body.rotations import NUM_MATRIX_FEATURES, haar_correction, matrix_features
from pose_priors.configs.base import UserError
from pose_priors.priors.angular_central_gaussian import AngularCentralGaussian, defend, defensive_share
from pose_priors.priors.base import MaximumLikelihoodPrior, PriorConfigBase
from pose_priors.priors.conditioning.drawing import drawn_within_pi
from pose_priors.priors.conditioning.visibility import draw_visible
from pose_priors.priors.denoising.denoiser import DenoiserConfig
from pose_priors.priors.networks.dropout import Dropout
from pose_priors.priors.networks.flows import (
    ConditionerMLP,
    CouplingKind,
    TailCompression,
    actnorm,
    compose,
    coupling,
    mixing,
    standard_normal_log_prob,
)
from pose_priors.priors.standardize import Whitening

# Poses that initialise the activation normalisation; more would not change it in the third digit.
_NUM_START = 8192


class GlobalFlowConfig(PriorConfigBase):
    """How the global flow is built."""

    kind: Literal["global_flow"]
    hidden: int = Field(512, ge=1)
    """Width of the conditioners."""
    K: int = Field(6, ge=1)
    """Steps of flow: normalisation, mixing, coupling."""
    transform: CouplingKind = "affine"
    use_actnorm: bool = True
    use_conditioning: bool = False
    condition: Literal["visible_joints", "global_orient"] = "visible_joints"
    """With `use_conditioning`: what the density is conditioned on."""
    num_blocks: int = Field(2, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    defensive_weight: float = Field(0.05, gt=0, lt=1)
    """Share of the defensive component in the density."""
    denoiser: DenoiserConfig | None = None
    """What `denoise` and energies under noise are learnt by, trained beside the density; null for none."""

    def build(self, joint_indices: Sequence[int]) -> GlobalFlow:
        return GlobalFlow(self, joint_indices)


class GlobalFlow(MaximumLikelihoodPrior):
    """p(pose) by a coupling flow over all joints' whitened, tail-compressed rotation vectors (Dinh et al., ICLR 2017; Kingma and Dhariwal,
    NeurIPS 2018; Durkan et al., NeurIPS 2019), defended by a broad angular central Gaussian per joint.

    Conditioned on visible joints, `complete` fills the others of a pose in one pass, and `log_prob` is the density with none visible.
    Conditioned on the root's orientation, `log_prob` is that of the other joints given it.
    """

    def __init__(self, config: GlobalFlowConfig, joint_indices: Sequence[int]) -> None:
        super().__init__(joint_indices)
        self.config = config
        self.denoiser = None if config.denoiser is None else config.denoiser.build(self.joint_indices)
        self._condition = config.condition if config.use_conditioning else None
        if self._condition == "global_orient" and 0 in self.joint_indices:
            raise UserError(
                "model.condition is global_orient, and the root's orientation is also among the joints to learn: set "
                "data.include_root=false, or model.condition=visible_joints"
            )
        self.whitening = Whitening(self.num_joints)
        self.defensive = AngularCentralGaussian(self.num_joints)
        self.root = AngularCentralGaussian(1) if self._condition == "global_orient" else None
        self.given_root = self.root is not None
        num_features = 3 * self.num_joints
        context_sizes = {None: 0, "visible_joints": (NUM_MATRIX_FEATURES + 1) * self.num_joints, "global_orient": NUM_MATRIX_FEATURES}
        num_context = context_sizes[self._condition]

        def conditioner(num_inputs: int, num_outputs: int) -> nn.Module:
            return _Conditioner(num_inputs, num_context, num_outputs, config)

        layers: list[nn.Module] = [TailCompression()]
        for step in range(config.K):
            if config.use_actnorm:
                layers.append(actnorm(num_features))
            layers.append(mixing(num_features))
            mask = [(i + step) % 2 for i in range(num_features)]
            layers.append(coupling(config.transform, mask, conditioner))
        self.transform = compose(layers)

    @torch.no_grad()
    def fit_statistics(self, poses: Tensor) -> None:
        super().fit_statistics(poses)
        rotvec = self.select(poses)
        self.whitening.fit(rotvec)
        self.defensive.fit(rotvec)
        if self.root is not None:
            if poses[:, 0].std(0).max() == 0:
                raise UserError("model.condition is global_orient, but the data has no root orientation: set model.use_conditioning=false")
            self.root.fit(poses[:, :1])
        # nflows' normalisation initialises itself at its first forward pass in training mode: here, on poses that every rank shares
        was_training = self.training
        self.train()
        for module in self.modules():
            if isinstance(module, Dropout):
                module.eval()
        first = poses[:: max(1, len(poses) // _NUM_START)]
        self._flow_log_prob(self.select(first), self._context(first, None))
        self.train(was_training)

    def log_prob(self, pose: Tensor) -> Tensor:
        rotvec = self.select(pose)
        flow = self._flow_log_prob(rotvec, self._context(pose, None))
        return defend(flow, self.defensive.log_prob(rotvec).sum(-1), self.config.defensive_weight)

    def _losses(self, pose: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        rotvec, visible = self.select(pose), None
        if self._condition == "visible_joints" and self.training:
            visible = draw_visible(len(pose), self.joint_indices, device=pose.device)
        flow = self._flow_log_prob(rotvec, self._context(pose, visible), visible)
        hidden = torch.ones_like(rotvec[..., 0], dtype=torch.bool) if visible is None else ~visible
        defensive = (self.defensive.log_prob(rotvec) * hidden).sum(-1)
        weight = self.config.defensive_weight
        log_prob = defend(flow, defensive, weight)
        values = {"loss": -log_prob.mean(), "broad_share": defensive_share(flow, defensive, weight).mean().detach()}
        unconditional = hidden.all(-1)
        if unconditional.any():
            values["nll"] = -log_prob[unconditional].mean().detach()
        return values, log_prob

    @torch.no_grad()
    def sample(self, num_samples: int, generator: torch.Generator | None = None, defensive: bool = False) -> Tensor:
        """Draws poses, (num_samples, 55, 3), canonical, some from the defensive component only if `defensive`; conditioned on the root's
        orientation, that is drawn first."""
        poses = self.default_pose.expand(num_samples, -1, 3).clone()
        if self.root is not None:
            poses[:, :1] = self.root.sample(num_samples, generator)
        return self._draw(poses, None, generator, defensive)

    @property
    def num_noise(self) -> int:
        return 0 if self._condition == "global_orient" else 3 * self.num_joints

    def from_noise(self, noise: Tensor) -> Tensor:
        """What `sample` makes of standard normal numbers, see `DrawnFromNoise`: (N, 3 J) -> (N, J, 3)."""
        white, _ = self.transform.inverse(noise, self._context(self.default_pose.expand(noise.shape[0], -1, -1), None))
        return self.whitening.inverse(white.unflatten(-1, (self.num_joints, 3)))

    def reconstruct(self, pose: Tensor) -> Tensor:
        context = self._context(pose, None)
        noise, _ = self.transform(self.whitening(self.select(pose))[0].flatten(1), context)
        white, _ = self.transform.inverse(noise, context)
        return self.expand(self.whitening.inverse(white.view(-1, self.num_joints, 3)))

    @property
    def completes(self) -> bool:
        return self._condition == "visible_joints"

    def _drawn_given(self, pose: Tensor, visible: Tensor, generator: torch.Generator | None, defensive: bool) -> Tensor:
        return self._draw(pose, visible, generator, defensive)

    def _draw(self, pose: Tensor, visible: Tensor | None, generator: torch.Generator | None, defensive: bool) -> Tensor:
        """Draws (B, 55, 3), conditioned on what poses (B, 55, 3) show of it."""
        num, context = len(pose), self._context(pose, visible)
        share = self.config.defensive_weight if defensive else 0.0
        kept = torch.zeros_like(self.joint_index, dtype=torch.bool) if visible is None else visible

        def noise() -> tuple[Tensor, Tensor, Tensor]:
            dtype, device = self.default_pose.dtype, pose.device
            normal = torch.randn(num, 3 * self.num_joints, generator=generator, dtype=dtype, device=device)
            broad = self.defensive.sample(num, generator)
            return normal, broad, torch.rand(num, 1, 1, generator=generator, device=device)

        def pose_of(rows: Tensor, normal: Tensor, broad: Tensor, coin: Tensor) -> Tensor:
            white, _ = self.transform.inverse(normal, None if context is None else context[rows])
            drawn = torch.where(coin < share, broad, self.whitening.inverse(white.view(-1, self.num_joints, 3)))
            # what is seen is not drawn: how far that of the flow would be from zero does not matter
            return drawn.masked_fill((kept.expand(num, -1)[rows]).unsqueeze(-1), 0.0)

        result = self.expand(drawn_within_pi(noise, pose_of))
        if self.root is not None:
            result[:, 0] = pose[:, 0]
        return result

    def _flow_log_prob(self, rotvec: Tensor, context: Tensor | None, visible: Tensor | None = None) -> Tensor:
        """Nats against Haar measure of the hidden joints, given the visible: (*batch, J, 3) -> (*batch,).

        The flow has a fixed number of features; those of visible joints hold noise from the standard normal, whose density is divided
        out again, so that they neither inform nor are scored.
        """
        batch = rotvec.shape[:-2]
        rotvec = rotvec.reshape(-1, self.num_joints, 3)
        white, log_det = self.whitening(rotvec)
        per_joint = log_det + haar_correction(rotvec)
        filler_log_prob = torch.zeros_like(log_det)
        if visible is not None:
            filler = torch.randn_like(white)
            white = torch.where(visible.unsqueeze(-1), filler, white)
            per_joint = per_joint * ~visible
            filler_log_prob = standard_normal_log_prob(filler) * visible
        noise, flow_log_det = self.transform(white.flatten(1), context)
        log_prob: Tensor = standard_normal_log_prob(noise) + flow_log_det + per_joint.sum(-1) - filler_log_prob.sum(-1)
        return log_prob.view(batch)

    def _context(self, pose: Tensor, visible: Tensor | None) -> Tensor | None:
        """What the conditioners see beside the pose: (B, context) or None."""
        if self._condition is None:
            return None
        pose = pose.reshape(-1, *pose.shape[-2:])
        if self._condition == "global_orient":
            return matrix_features(self._canonical(pose[:, :1])).flatten(1)
        rotvec = self.select(pose)
        seen = rotvec.new_zeros(rotvec.shape[:-1]) if visible is None else visible.to(rotvec)
        return torch.cat([(matrix_features(rotvec) * seen.unsqueeze(-1)).flatten(1), seen], -1)


class _Conditioner(nn.Module):
    """A residual network over the untouched features and, where there is one, the context."""

    def __init__(self, num_inputs: int, num_context: int, num_outputs: int, config: GlobalFlowConfig) -> None:
        super().__init__()
        self.hidden_features = config.hidden  # nflows scales a spline's logits by it
        self.net = ConditionerMLP(num_inputs + num_context, num_outputs, config.hidden, nn.Linear, config.num_blocks, config.dropout)

    def forward(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        outputs: Tensor = self.net(inputs if context is None else torch.cat([inputs, context], -1))
        return outputs
