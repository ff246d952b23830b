"""The ensemble: several flows that are trained side by side, and the equal mixture of their densities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pose_priors.priors.base import MaximumLikelihoodPrior, PriorConfigBase
from pose_priors.priors.denoising.denoiser import DenoiserConfig
from pose_priors.priors.global_flow import GlobalFlow, GlobalFlowConfig
from pose_priors.priors.joint_flow import JointFlow, JointFlowConfig


class EnsembleConfig(PriorConfigBase):
    """How the ensemble is built."""

    kind: Literal["ensemble"]
    member: Annotated[JointFlowConfig | GlobalFlowConfig, Field(discriminator="kind")]
    """What each member is."""
    num_members: int = Field(4, ge=2)
    denoiser: DenoiserConfig | None = None
    """What `denoise` and energies under noise are learnt by, trained beside the density; null for none."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.member, GlobalFlowConfig) and self.member.use_conditioning and self.member.condition == "visible_joints":
            raise ValueError("an ensemble completes nothing; give member.use_conditioning=false, or model.kind=global_flow")
        if self.member.denoiser is not None:
            raise ValueError("members have no denoisers of their own; give model.denoiser, not model.member.denoiser")
        return self

    def build(self, joint_indices: Sequence[int]) -> Ensemble:
        return Ensemble(self, joint_indices)


class Ensemble(MaximumLikelihoodPrior):
    """p(pose) = 1/K sum_k p_k(pose), with K members of one kind that differ in their random start and in what dropout leaves them.

    Each is trained on its own loss, so that each errs in its own way where the data are few; their mixture errs less than any of them
    (Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep ensembles", NeurIPS 2017). It is a
    normalised density, by Jensen's inequality never less likely than its members are on average.
    """

    def __init__(self, config: EnsembleConfig, joint_indices: Sequence[int]) -> None:
        super().__init__(joint_indices)
        self.config = config
        self.denoiser = None if config.denoiser is None else config.denoiser.build(self.joint_indices)
        self.members = nn.ModuleList(config.member.build(joint_indices) for _ in range(config.num_members))

    @property
    def _members(self) -> list[JointFlow | GlobalFlow]:
        return [cast(JointFlow | GlobalFlow, member) for member in self.members]

    @torch.no_grad()
    def fit_statistics(self, poses: Tensor) -> None:
        super().fit_statistics(poses)
        for member in self._members:
            member.fit_statistics(poses)

    def log_prob(self, pose: Tensor) -> Tensor:
        if pose.dim() == 2:  # torch.func takes second derivatives of sums over single numbers in two types, and fails
            return self.log_prob(pose.unsqueeze(0)).squeeze(0)
        return torch.logsumexp(self._of_members(pose), 0) - math.log(len(self.members))

    def _losses(self, pose: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The mean of what the members minimise in training, the mixture's own negative log-likelihood in evaluation mode."""
        losses, log_probs = zip(*[member._losses(pose) for member in self._members], strict=True)
        values = {name: torch.stack([loss[name] for loss in losses]).mean() for name in losses[0]}
        log_prob = torch.logsumexp(torch.stack(log_probs), 0) - math.log(len(self.members))
        return values if self.training else values | {"loss": -log_prob.mean(), "nll": -log_prob.mean()}, log_prob

    @torch.no_grad()
    def sample(self, num_samples: int, generator: torch.Generator | None = None, defensive: bool = False) -> Tensor:
        """Draws poses, (num_samples, 55, 3), canonical; some from the members' defensive components only if `defensive`."""
        poses = self.default_pose.expand(num_samples, -1, 3).clone()
        drawn_by = torch.randint(len(self.members), (num_samples,), generator=generator, device=poses.device)
        for number, member in enumerate(self._members):
            rows = (drawn_by == number).nonzero().squeeze(-1)
            if len(rows):
                poses[rows] = member.sample(len(rows), generator, defensive)
        return poses

    def reconstruct(self, pose: Tensor) -> Tensor:
        """Through the latent space of the member that finds the pose most likely."""
        back = torch.stack([member.reconstruct(pose) for member in self._members])
        best = self._of_members(pose).argmax(0)
        return back[best, torch.arange(len(best), device=back.device)]

    def _of_members(self, pose: Tensor) -> Tensor:
        """Log-densities under each member, (K, *batch)."""
        return torch.stack([member.log_prob(pose) for member in self._members])
