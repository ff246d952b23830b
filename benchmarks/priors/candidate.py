"""What takes part in the benchmark: the interface that trained priors and baselines have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pose_priors.body.rotations import canonicalize
from pose_priors.body.skeleton import JOINT_NAMES, NUM_JOINTS
from pose_priors.priors.posterior import LogLikelihood

_CHUNK = 1024


class Candidate(ABC):
    """A prior over whole-body poses, (N, 55, 3) rotation vectors in radians in SMPL-X order, of which it looks at some joints.

    Args:
        name: how tables call it.
        joint_indices: SMPL-X indices of the J joints that it scores and draws, ascending.
        default_pose: (55, 3) what the other joints come out as.
    """

    has_density = False
    """Whether it is a `DensityCandidate`."""

    def __init__(self, name: str, joint_indices: Sequence[int], default_pose: Tensor) -> None:
        self.name = name
        self.joint_indices = tuple(int(joint) for joint in joint_indices)
        self.default_pose = default_pose.detach().double()

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the joints that it scores."""
        return tuple(JOINT_NAMES[joint] for joint in self.joint_indices)

    def select(self, pose: Tensor) -> Tensor:
        """The joints scored: (..., 55, 3) -> (..., J, 3), canonical, float64."""
        return canonicalize(pose[..., list(self.joint_indices), :].double())

    def expand(self, rotvec: Tensor) -> Tensor:
        """The inverse of `select`, with `default_pose` for the other joints: (..., J, 3) -> (..., 55, 3)."""
        pose = self.default_pose.to(rotvec).expand(*rotvec.shape[:-2], NUM_JOINTS, 3).clone()
        pose[..., list(self.joint_indices), :] = canonicalize(rotvec)
        return pose

    @abstractmethod
    def energy(self, pose: Tensor) -> Tensor:
        """Implausibility in nats, differentiable: (N, 55, 3) of any dtype -> (N,) float64."""

    @torch.no_grad()
    def energies(self, poses: Tensor) -> Tensor:
        """`energy` without gradients, in chunks of bounded memory: (N, 55, 3) -> (N,) float64."""
        return torch.cat([self.energy(chunk) for chunk in poses.split(_CHUNK)])

    @torch.no_grad()
    def surprisal(self, poses: Tensor) -> Tensor:
        """What tells likely poses from others: the negative logarithm of the density in nats where there is one, else the energy:
        (N, 55, 3) -> (N,) float64."""
        return self.energies(poses)

    @abstractmethod
    def sample(self, num: int, generator: torch.Generator) -> Tensor:
        """Poses drawn from the prior: (num, 55, 3) float64, canonical. The same generator state gives the same poses."""

    def smoothed(self, noise: float) -> Callable[[Tensor], Tensor] | None:
        """`energy` of the prior whose poses have normal noise of so many radians about each axis; None where the candidate knows none."""
        return None

    def denoise(self, pose: Tensor, std: float) -> Tensor | None:
        """The posterior mean of poses whose scored joints were seen with normal noise of `std` radians about each axis: (N, 55, 3) ->
        (N, 55, 3) float64; None where the candidate knows none."""
        return None

    def posterior(
        self, log_likelihood: LogLikelihood, num_observations: int, num_samples: int, generator: torch.Generator
    ) -> Tensor | None:
        """Draws poses given what was seen, see `priors.base.Prior.posterior`: (num_samples, num_observations, 55, 3); None where the
        candidate knows no way."""
        return None

    @abstractmethod
    def complete(self, pose: Tensor, hidden: Sequence[int], num: int, generator: torch.Generator) -> Tensor:
        """Draws the hidden joints given the others. Who knows no way of its own is a `completion.SampledCompletion`.

        Args:
            pose: (N, 55, 3); what it holds at the hidden joints is not looked at.
            hidden: SMPL-X indices, all of them among `joint_indices`.
            num: draws of each pose.
        Returns:
            (num, N, 55, 3) float64: `pose`, with the hidden joints drawn.
        """

    @abstractmethod
    def complete_point(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        """One estimate of the hidden joints given the others, as `complete`: (N, 55, 3) -> (N, 55, 3) float64."""


class DensityCandidate(Candidate):
    """A candidate with a density, whose energy is its negative logarithm, or something cheaper beside it."""

    has_density = True

    @abstractmethod
    def log_prob(self, pose: Tensor) -> Tensor:
        """Log-density in nats against normalised Haar measure over the J joints: (N, 55, 3) -> (N,) float64, differentiable."""

    def energy(self, pose: Tensor) -> Tensor:
        return -self.log_prob(pose)

    @torch.no_grad()
    def surprisal(self, poses: Tensor) -> Tensor:
        return -torch.cat([self.log_prob(chunk) for chunk in poses.split(_CHUNK)])


class ConditionalDensityCandidate(DensityCandidate):
    """A candidate that also has densities of some joints given the others."""

    @abstractmethod
    def conditional_log_prob(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        """Log-density of the hidden joints given the other ones that it scores, in nats against normalised Haar measure:
        (N, 55, 3) -> (N,)."""
