"""The ensemble: several densities side by side, of one kind or of several, and the mixture of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pose_priors.body.rotations import to_rotmat
from pose_priors.priors.base import MaximumLikelihoodPrior, PriorConfigBase
from pose_priors.priors.denoising.denoiser import DenoiserConfig
from pose_priors.priors.gaussian import Gaussian, GaussianConfig
from pose_priors.priors.gaussians.chordal import nearest_rotation
from pose_priors.priors.gaussians.patterns import ExactUnderNoise
from pose_priors.priors.global_flow import GlobalFlow, GlobalFlowConfig
from pose_priors.priors.joint_flow import JointFlow, JointFlowConfig
from pose_priors.priors.mixture import Mixture, MixtureConfig
from pose_priors.priors.posterior import LogLikelihood
from pose_priors.priors.posteriors.annealing import draw_given
from pose_priors.priors.posteriors.components import SideBySide

Member = JointFlow | GlobalFlow | Mixture | Gaussian
MemberConfig = Annotated[JointFlowConfig | GlobalFlowConfig | MixtureConfig | GaussianConfig, Field(discriminator="kind")]

_NUM_MEMBERS = 4


class EnsembleConfig(PriorConfigBase):
    """How the ensemble is built: of `members`, or of `num_members` times one `member`."""

    kind: Literal["ensemble"]
    members: list[MemberConfig] | None = Field(None, min_length=2)
    """What the members are, each by its kind and options."""
    weights: list[Annotated[float, Field(gt=0)]] | None = None
    """How much each member counts, in proportion; all alike if not given."""
    member: MemberConfig | None = None
    """What each member is, where all are alike."""
    num_members: int | None = Field(None, ge=2)
    """How many of `member` there are, 4 if not given."""
    denoiser: DenoiserConfig | None = None
    """What `denoise` and energies under noise are learnt by, trained beside the density; null for none."""

    @property
    def of_members(self) -> list[MemberConfig]:
        """The config of each member."""
        if self.members is not None:
            return self.members
        assert self.member is not None
        return [self.member] * (self.num_members or _NUM_MEMBERS)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.members is None) == (self.member is None):
            raise ValueError("give model.members, a list, or model.member and model.num_members, where all are alike")
        if self.members is not None and self.num_members is not None:
            raise ValueError("model.num_members is of model.member; model.members has as many as it lists")
        members = self.of_members
        if self.weights is not None and len(self.weights) != len(members):
            raise ValueError(f"model.weights has {len(self.weights)} numbers for {len(members)} members")
        if any(getattr(member, "denoiser", None) is not None for member in members):
            raise ValueError("members have no denoisers of their own; give model.denoiser")
        flows = [member for member in members if isinstance(member, GlobalFlowConfig) and member.use_conditioning]
        if any(member.condition == "visible_joints" for member in flows):
            raise ValueError("members that learn to complete do not make the ensemble complete; give use_conditioning=false to each member")
        if len(flows) not in (0, len(members)):
            raise ValueError("with condition=global_orient members are densities given the root's orientation: all have to be, or none")
        return self

    def build(self, joint_indices: Sequence[int]) -> Ensemble:
        return Ensemble(self, joint_indices)


class Ensemble(MaximumLikelihoodPrior):
    """p(pose) = sum_k w_k p_k(pose), members of several kinds, or of one that differ in their random start and in what dropout leaves.

    Each flow is trained on its own loss, so that each errs in its own way where the data are few; their mixture errs less than any of them
    (Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep ensembles", NeurIPS 2017). Gaussians and
    mixtures of theirs are fitted before training, and left as they are where there are flows. It is a normalised density, by Jensen's
    inequality never less likely than its members are on average.

    What is exact for all members is for the ensemble: completion where all complete, posterior means and energies under noise where all
    know these in closed form.
    """

    weight: Tensor

    def __init__(self, config: EnsembleConfig, joint_indices: Sequence[int]) -> None:
        super().__init__(joint_indices)
        self.config = config
        self.denoiser = None if config.denoiser is None else config.denoiser.build(self.joint_indices)
        self.members = nn.ModuleList(member.build(joint_indices) for member in config.of_members)
        self.register_buffer("weight", torch.tensor(config.weights or [1.0] * len(self.members)), persistent=False)
        self.given_root = any(member.given_root for member in self._members)
        for member in self._members:
            if member not in self._trained:
                member.requires_grad_(False)

    @property
    def _members(self) -> list[Member]:
        return [cast(Member, member) for member in self.members]

    @property
    def _trained(self) -> list[Member]:
        """Those that training is for: flows, or all if there are none."""
        flows: list[Member] = [member for member in self._members if isinstance(member, JointFlow | GlobalFlow)]
        return flows or self._members

    @torch.no_grad()
    def fit_statistics(self, poses: Tensor) -> None:
        super().fit_statistics(poses)
        for member in self._members:
            member.fit_statistics(poses)

    def log_prob(self, pose: Tensor) -> Tensor:
        if pose.dim() == 2:  # torch.func takes second derivatives of sums over single numbers in two types, and fails
            return self.log_prob(pose.unsqueeze(0)).squeeze(0)
        return self._mixed([member.log_prob(pose) for member in self._members])

    def _losses(self, pose: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The mean of what the members minimise in training, the mixture's own negative log-likelihood in evaluation mode."""
        losses, log_probs = zip(*[member._losses(pose) for member in (self._trained if self.training else self._members)], strict=True)
        names = dict.fromkeys(name for loss in losses for name in loss)
        values = {name: torch.stack([loss[name] for loss in losses if name in loss]).mean() for name in names}
        if self.training:
            return values, torch.stack(log_probs).mean(0)
        log_prob = self._mixed(log_probs)
        return values | {"loss": -log_prob.mean(), "nll": -log_prob.mean()}, log_prob

    def _mixed(self, log_probs: Sequence[Tensor]) -> Tensor:
        """The log-density of the mixture, by those of the members (*batch,)."""
        return torch.logsumexp(self._weighted(log_probs), 0)

    def _weighted(self, log_probs: Sequence[Tensor]) -> Tensor:
        """Logarithms of weight times density of each member: K times (*batch,) -> (K, *batch)."""
        weight = self.weight.to(log_probs[0]).view(-1, *[1] * log_probs[0].dim())
        return torch.stack(list(log_probs)) + (weight / weight.sum()).log()

    @torch.no_grad()
    def sample(self, num_samples: int, generator: torch.Generator | None = None, defensive: bool = False) -> Tensor:
        """Draws poses, (num_samples, 55, 3), canonical; some from the members' defensive components only if `defensive`."""
        if num_samples == 0:  # which torch refuses to draw
            return self.default_pose.new_zeros(0, *self.default_pose.shape)
        chosen = torch.multinomial(self.weight, num_samples, replacement=True, generator=generator)
        return self._drawn(chosen, lambda member, rows: member.sample(len(rows), generator, defensive))

    def _drawn(self, chosen: Tensor, draw: Callable[[Member, Tensor], Tensor]) -> Tensor:
        """Poses (N, 55, 3), of which each is drawn by the member (N,) chosen for it."""
        poses = self.default_pose.expand(len(chosen), -1, 3).clone()
        for number, member in enumerate(self._members):
            rows = (chosen == number).nonzero().squeeze(-1)
            if len(rows):
                poses[rows] = draw(member, rows)
        return poses

    def reconstruct(self, pose: Tensor) -> Tensor:
        """Through the latent space of the member that finds the pose most likely."""
        back = torch.stack([member.reconstruct(pose) for member in self._members])
        best = torch.stack([member.log_prob(pose) for member in self._members]).argmax(0)
        return back[best, torch.arange(len(best), device=back.device)]

    @property
    def completes(self) -> bool:
        return self.has_conditional_density

    @property
    def has_conditional_density(self) -> bool:
        return all(member.has_conditional_density for member in self._members)

    def complete(self, pose: Tensor, visible: Tensor, generator: torch.Generator | None = None, defensive: bool = False) -> Tensor:
        """See the base class: drawn by one of the members, which have as much of a say as they expected what is visible."""
        self._asked_conditionals()
        return super().complete(pose, visible, generator, defensive)

    def _drawn_given(self, pose: Tensor, visible: Tensor, generator: torch.Generator | None, defensive: bool) -> Tensor:
        of_pose = torch.zeros(pose.shape[:-1], dtype=torch.bool, device=pose.device).index_copy(1, self.joint_index, visible)
        share = self._weighted(self._marginals(pose, of_pose)).softmax(0).nan_to_num(1 / len(self.members))
        chosen = torch.multinomial(share.T, 1, generator=generator).squeeze(-1)
        return self._drawn(chosen, lambda member, rows: member._drawn_given(pose[rows], visible[rows], generator, defensive))

    def log_prob_given(self, pose: Tensor, visible: Tensor) -> Tensor:
        """See the base class: exactly that of `log_prob`."""
        self._asked_conditionals()
        return self.log_prob(pose) - self._mixed(self._marginals(pose, visible))

    def _marginals(self, pose: Tensor, visible: Tensor) -> list[Tensor]:
        """Log-densities of what is visible under each member, (*batch,)."""
        return [member.log_prob(pose) - member.log_prob_given(pose, visible) for member in self._members]

    def _asked_conditionals(self) -> None:
        if lacking := dict.fromkeys(member.config.kind for member in self._members if not member.has_conditional_density):
            raise ValueError(
                f"an ensemble has conditional densities, and completes poses, where all of its members do: {', '.join(lacking)} does not; "
                "give mixtures alone, or model.kind=flow_matching with model.use_conditioning=true"
            )

    def smoothed_energy(self, pose: Tensor, noise: float) -> Tensor:
        """By the denoiser where there is one; in closed form where all members have one."""
        if self.denoiser is not None or not self._is_exact:
            return super().smoothed_energy(pose, noise)
        return -self._mixed([-member.smoothed_energy(pose, noise) for member in self._members])

    def denoise(self, pose: Tensor, std: float | Tensor) -> Tensor:
        """See the base class; without a denoiser, where all members have closed forms, the chordal mean of what they expect, each of which
        counts as much as it expected what was seen."""
        if self.denoiser is not None or not self._is_exact:
            return super().denoise(pose, std)
        evidence = [cast(ExactUnderNoise, member).log_seen(pose, std) for member in self._members]
        found = [self.select(member.denoise(pose, std)) for member in self._members]
        mean = torch.einsum("k...,k...jxy->...jxy", self._weighted(evidence).softmax(0), torch.stack([to_rotmat(one) for one in found]))
        return pose.index_copy(-2, self.joint_index, nearest_rotation(mean).to(pose))

    @property
    def _is_exact(self) -> bool:
        """Whether all members know noise in closed form."""
        return all(isinstance(member, ExactUnderNoise) for member in self._members)

    def posterior(
        self, log_likelihood: LogLikelihood, num_observations: int, num_samples: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """See the base class; where all members are mixtures or Gaussians, as these draw. Otherwise a mixture among them leads to the draws
        where no denoiser has one."""
        if self.denoiser is not None and self.denoiser.guide is not None:
            return super().posterior(log_likelihood, num_observations, num_samples, generator)
        normal = [member for member in self._members if isinstance(member, Mixture | Gaussian)]
        if len(normal) == len(self.members):
            components = SideBySide([member.components() for member in normal], self.weight)
            return draw_given(self, components, log_likelihood, num_observations, num_samples, generator)
        guides = [member for member in normal if isinstance(member, Mixture)]
        if not guides:
            return super().posterior(log_likelihood, num_observations, num_samples, generator)
        return guides[0].posterior_of(log_likelihood, num_observations, num_samples, generator, self.energy)
