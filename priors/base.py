"""What a pose prior is: an energy over poses, in nats, that can be trained and sampled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pose_priors.body.pose_vectors import check_poses
from pose_priors.body.rotations import canonicalize
from pose_priors.body.skeleton import JOINT_NAMES, NUM_JOINTS, PARTS
from pose_priors.configs.base import Config
from pose_priors.priors.conditioning.visibility import with_visible
from pose_priors.priors.default_pose import default_pose
from pose_priors.priors.denoising.contract import PoseDenoiser, checked_noise, told
from pose_priors.priors.networks.precision import canonical
from pose_priors.priors.posterior import LogLikelihood, draw_posterior


class PriorConfigBase(Config, ABC):
    """The config of a kind of prior, which it builds. Ours name their kind by a literal; one of another package has the name by which it
    was asked for."""

    kind: str

    @abstractmethod
    def build(self, joint_indices: Sequence[int]) -> Prior:
        """The prior, before `Prior.fit_statistics`."""


class TrainablePrior(nn.Module, ABC):
    """What `PriorModule` trains: an energy over what the data module's batches hold, poses or windows of motions."""

    trained_on: str = ""
    """What a checkpoint says that it was trained on, in words."""

    def extra_repr(self) -> str:
        return f"trained on: {self.trained_on}" if self.trained_on else ""

    def fit_statistics(self, data: Any) -> None:
        """Sets whatever depends on the data before training; every rank calls it with the same data."""

    def set_total_steps(self, total_steps: int) -> None:
        """Told before training how many steps there will be at most, for what is scheduled over them."""

    @abstractmethod
    def energy(self, batch: Any) -> Tensor:
        """Implausibility of each member of a batch in nats: (B,)."""

    @abstractmethod
    def loss(self, batch: Any) -> dict[str, Tensor]:
        """What training minimises, for a batch: scalars, of which `loss` is the one to minimise and the rest are logged."""

    def held_out(self, batch: Any) -> tuple[dict[str, Tensor], Tensor]:
        """What `loss` and `energy` say of held-out members of a batch, for the price of one where they share the work."""
        return self.loss(batch), self.energy(batch)

    def check_finite(self) -> None:
        """Raises `ValueError` if a parameter or buffer is not finite, so that a broken model is never used in silence."""
        for name, value in self.state_dict().items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise ValueError(f"{name} of the {type(self).__name__} is not finite")


class Prior(TrainablePrior):
    """A scalar energy over whole-body poses, low where poses are plausible.

    A pose is a tensor `(*batch, 55, 3)` of rotation vectors in radians, joints in SMPL-X order. Only `joints`, those that the training data
    told something about, count; the others are ignored when scoring and come out as `default_pose` when sampling.

    Args:
        joint_indices: SMPL-X indices of the J joints to learn, ascending.
    """

    joint_index: Tensor
    default_pose: Tensor

    def __init__(self, joint_indices: Sequence[int]) -> None:
        super().__init__()
        self.joint_indices = tuple(int(i) for i in joint_indices)
        self.register_buffer("joint_index", torch.tensor(self.joint_indices, dtype=torch.long), persistent=False)
        self.register_buffer("default_pose", torch.zeros(NUM_JOINTS, 3))
        self.denoiser: PoseDenoiser | None = None
        self.given_root = False  # whether it is a density given the root's orientation, which is not among its joints

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the joints that the prior scores."""
        return tuple(JOINT_NAMES[i] for i in self.joint_indices)

    @property
    def drawn_part(self) -> str:
        """What a picture of a sample should show: one hand where only hands are learnt, else the whole body."""
        learnt = set(self.joint_indices)
        if not learnt <= {*PARTS["left_hand"], *PARTS["right_hand"]}:
            return "body"
        return "right_hand" if learnt & set(PARTS["right_hand"]) else "left_hand"

    @property
    def num_joints(self) -> int:
        return len(self.joint_indices)

    def select(self, pose: Tensor) -> Tensor:
        """The learnt joints of a pose: (*batch, 55, 3) -> (*batch, J, 3), canonical, in the prior's own precision.

        Raises `TypeError` or `ValueError` if it is no pose, see `check_poses`."""
        check_poses(pose)
        return self._canonical(pose.index_select(-2, self.joint_index))

    def _canonical(self, rotvec: Tensor) -> Tensor:
        """Rotation vectors (..., 3), canonical, in the prior's own precision."""
        return canonical(rotvec, self.default_pose.dtype)

    def expand(self, rotvec: Tensor) -> Tensor:
        """The inverse of `select`: (*batch, J, 3) -> (*batch, 55, 3), canonical, with `default_pose` for the joints not learnt."""
        pose = self.default_pose.to(rotvec).expand(*rotvec.shape[:-2], NUM_JOINTS, 3)
        return pose.index_copy(-2, self.joint_index, canonicalize(rotvec))

    @torch.no_grad()
    def fit_statistics(self, poses: Tensor) -> None:
        """Sets whatever depends on the data before training; every rank calls it with the same poses.

        Args:
            poses: (N, 55, 3) canonical training poses, a representative part if there are many.
        """
        self.default_pose.copy_(default_pose(poses, self.joint_indices))
        if self.denoiser is not None:
            self.denoiser.fit_statistics(poses)

    @abstractmethod
    def energy(self, pose: Tensor, noise: float = 0.0) -> Tensor:
        """Implausibility in nats: (*batch, 55, 3) -> (*batch,). Finite, with finite gradient, for any rotations.

        With `noise`, of the prior smoothed by normal noise of so many radians about each axis: an optimiser goes from coarse to fine.
        Raises `ValueError` if the prior has not learnt it, see `smoothed_energy`."""

    def smoothed_energy(self, pose: Tensor, noise: float) -> Tensor:
        """What `energy` is for noise above 0: by the denoiser where a kind has no closed form, `ValueError` without one."""
        return self._asked_denoiser().energy(pose, noise)

    def denoise(self, pose: Tensor, std: float | Tensor) -> Tensor:
        """The posterior mean of rotations that were seen with normal noise about each axis, in one pass; differentiable by the pose.

        Args:
            pose: (*batch, 55, 3) what was seen.
            std: of the noise in radians: a number, (55,) by joint, (55, 3) by axis, or (*batch, 55, 3); 0 for what is certain, infinite for
                what was not seen.
        Returns:
            (*batch, 55, 3), chordal means; joints that the prior does not know as they were seen.
        Raises:
            ValueError: if a `std` is negative or no number, or the prior was trained without a denoiser.
        """
        result = self._asked_denoiser().denoise(pose.reshape(-1, *pose.shape[-2:]), told(std, pose))
        return result.view(pose.shape)

    def posterior(
        self, log_likelihood: LogLikelihood, num_observations: int, num_samples: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draws poses given what was seen: from exp(log_likelihood(pose) - energy(pose)), see `priors.posterior.draw_posterior`.

        Where the denoiser has a mixture, its posterior draws lead to them."""
        guide = None if self.denoiser is None else self.denoiser.guide
        if guide is None:
            return draw_posterior(self, log_likelihood, num_observations, num_samples, generator)
        return guide(log_likelihood, num_observations, num_samples, generator, self.energy)

    def _asked_denoiser(self) -> PoseDenoiser:
        if self.denoiser is None:
            raise ValueError(f"this {type(self).__name__} was trained without a denoiser; give model.denoiser={{}} and train it again")
        return self.denoiser

    def _with_denoising(self, values: dict[str, Tensor], pose: Tensor) -> dict[str, Tensor]:
        """A loss beside that of the denoiser, where there is one: held-out poses choose by the first alone."""
        if self.denoiser is None:
            return values
        denoising: Tensor = self.denoiser.loss(pose)
        return values | {"loss": values["loss"] + denoising if self.training else values["loss"], "denoising": denoising.detach()}

    @abstractmethod
    def loss(self, pose: Tensor) -> dict[str, Tensor]:
        """What training minimises, for a batch (B, 55, 3): scalars, of which `loss` is the one to minimise and the rest are logged."""

    @abstractmethod
    def sample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws poses, (num_samples, 55, 3), canonical. The same generator state gives the same poses.

        Densities that a broad component defends take `defensive=True`, and give it its share of the draws; otherwise it gets none, and
        draws are those of what was learnt."""

    @abstractmethod
    def reconstruct(self, pose: Tensor) -> Tensor:
        """The pose after a trip through the model's latent space and back: exact up to rounding for a flow, lossy for an autoencoder.

        Args:
            pose: (B, 55, 3).
        Returns:
            (B, 55, 3), canonical; joints that the prior has not learnt hold `default_pose`.
        """

    @property
    def completes(self) -> bool:
        """Whether it was trained to draw hidden joints given visible ones."""
        return False

    @torch.no_grad()
    def complete(self, pose: Tensor, visible: Tensor, generator: torch.Generator | None = None, defensive: bool = False) -> Tensor:
        """Draws the joints that are not visible given those that are.

        Args:
            pose: (*batch, 55, 3); what it holds at hidden joints that the prior knows does not matter, NaN neither.
            visible: (*batch, 55) bool; batches broadcast.
            defensive: whether the broad component that defends the density gets its share of the draws.
        Returns:
            (*batch, 55, 3), equal to `pose` where visible and at the joints that the prior does not know; but `default_pose` where such a
            joint is hidden and NaN or inf.
        Raises:
            TypeError, ValueError: on other poses or masks, or if the prior was not trained for that.
        """
        if not self.completes:
            raise ValueError(
                f"this {type(self).__name__} was not trained to complete poses; a mixture completes as it is, flow matching with "
                "model.use_conditioning=true, a global flow with model.condition=visible_joints besides"
            )
        pose, visible = with_visible(pose, visible)
        rows, seen = pose.reshape(-1, *pose.shape[-2:]), visible.reshape(-1, visible.shape[-1])
        rows = torch.where(seen.unsqueeze(-1) | rows.isfinite().all(-1, keepdim=True), rows, self.default_pose.to(rows))
        given = torch.where(seen.unsqueeze(-1), rows, self.default_pose.to(rows))
        drawn = self._drawn_given(given, seen[:, self.joint_index], generator, defensive)
        kept = seen.clone()
        kept[:, [i for i in range(NUM_JOINTS) if i not in self.joint_indices]] = True
        return torch.where(kept.unsqueeze(-1), rows, drawn).view(pose.shape)

    def _drawn_given(self, pose: Tensor, visible: Tensor, generator: torch.Generator | None, defensive: bool) -> Tensor:
        """(B, 55, 3), and which of the J joints are visible, (B, J) -> (B, 55, 3)."""
        raise NotImplementedError

    def extra_scores(self, poses: Tensor) -> dict[str, float | int]:
        """Scores that only this kind of prior has, on held-out poses (N, 55, 3)."""
        return {}


class DensityPrior(Prior):
    """A prior with a normalised density, `log_prob`. Its energy may be something cheaper that optimisers can live with."""

    @property
    def energy_is_nll(self) -> bool:
        """Whether `energy` is exactly `-log_prob`, and not something cheaper beside it."""
        return False

    @abstractmethod
    def log_prob(self, pose: Tensor) -> Tensor:
        """Log-density in nats against normalised Haar measure over the joints learnt (the uniform distribution scores 0):
        (*batch, 55, 3) -> (*batch,)."""

    @property
    def has_conditional_density(self) -> bool:
        """Whether there is a `log_prob_given`. A prior may complete poses without one."""
        return False

    def log_prob_given(self, pose: Tensor, visible: Tensor) -> Tensor:
        """Log-density of the hidden joints given the visible ones, as `complete` draws them, in nats against normalised Haar measure:
        (*batch, 55, 3), (*batch, 55) bool -> (*batch,).

        Raises:
            ValueError: if the prior has learnt no conditional densities.
        """
        raise ValueError(
            f"this {type(self).__name__} has no conditional densities; flow matching has them, with model.use_conditioning=true"
        )


class MaximumLikelihoodPrior(DensityPrior):
    """A density that is cheap enough to be trained by maximum likelihood: its energy is `-log_prob`."""

    @property
    def energy_is_nll(self) -> bool:
        return True

    def energy(self, pose: Tensor, noise: float = 0.0) -> Tensor:
        return self.smoothed_energy(pose, noise) if checked_noise(noise) else -self.log_prob(pose)

    def loss(self, pose: Tensor) -> dict[str, Tensor]:
        return self._with_denoising(self._losses(pose)[0], pose)

    def held_out(self, batch: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        if type(self).loss is not MaximumLikelihoodPrior.loss:  # somebody's own
            return super().held_out(batch)
        values, log_prob = self._losses(batch)
        return self._with_denoising(values, batch), -log_prob

    def _losses(self, pose: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """What `loss` is without the denoiser, and the log-densities that it is made of, (B,)."""
        log_prob = self.log_prob(pose)
        nll = -log_prob.mean()
        return {"loss": nll, "nll": nll}, log_prob
