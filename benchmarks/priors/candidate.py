"""What takes part in the benchmark: one interface for trained priors and for baselines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from pose_priors.benchmarks.priors.completion import complete_by_sampling, complete_to_mean, mean_rotation
from pose_priors.body.rotations import canonicalize
from pose_priors.body.skeleton import JOINT_NAMES, NUM_JOINTS
from pose_priors.priors import DensityPrior, Prior
from pose_priors.priors.flow_matching import FlowMatching

_CHUNK = 1024
_NUM_DRAWS_OF_MEAN, _SEED = 32, 0


class Candidate(ABC):
    """A prior over whole-body poses, (N, 55, 3) rotation vectors in radians in SMPL-X order, of which it looks at some joints.

    Args:
        name: how tables call it.
        joint_indices: SMPL-X indices of the J joints that it scores and draws, ascending.
        fill: (55, 3) what the other joints come out as.
    """

    has_density = False
    """Whether it is a `DensityCandidate`."""

    def __init__(self, name: str, joint_indices: Sequence[int], fill: Tensor) -> None:
        self.name = name
        self.joint_indices = tuple(int(joint) for joint in joint_indices)
        self.fill = fill.detach().double()

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the joints that it scores."""
        return tuple(JOINT_NAMES[joint] for joint in self.joint_indices)

    def select(self, pose: Tensor) -> Tensor:
        """The joints scored: (..., 55, 3) -> (..., J, 3), canonical, float64."""
        return canonicalize(pose[..., list(self.joint_indices), :].double())

    def expand(self, rotvec: Tensor) -> Tensor:
        """The inverse of `select`, with `fill` for the other joints: (..., J, 3) -> (..., 55, 3)."""
        pose = self.fill.to(rotvec).expand(*rotvec.shape[:-2], NUM_JOINTS, 3).clone()
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

    def complete(self, pose: Tensor, hidden: Sequence[int], num: int, generator: torch.Generator) -> Tensor:
        """Draws the hidden joints given the others: from exp(-energy), unless a class knows better.

        Args:
            pose: (N, 55, 3); what it holds at the hidden joints is not looked at.
            hidden: SMPL-X indices, all of them among `joint_indices`.
            num: draws of each pose.
        Returns:
            (num, N, 55, 3) float64: `pose`, with the hidden joints drawn.
        """
        return complete_by_sampling(self, pose, hidden, num, generator)

    def complete_point(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        """One estimate of the hidden joints given the others, as `complete`: (N, 55, 3) -> (N, 55, 3) float64."""
        return complete_to_mean(self, pose, hidden)


class DensityCandidate(Candidate):
    """A candidate with a density, whose energy is its negative logarithm, or a bound on that."""

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


class _Trained(Candidate):
    """A prior of this project."""

    def __init__(self, name: str, prior: Prior) -> None:
        super().__init__(name, prior.joint_indices, prior.fill)
        self.prior = prior

    def energy(self, pose: Tensor) -> Tensor:
        return self.prior.energy(pose.float()).double()

    @torch.no_grad()
    def sample(self, num: int, generator: torch.Generator) -> Tensor:
        return self.prior.sample(num, generator).double()

    def complete(self, pose: Tensor, hidden: Sequence[int], num: int, generator: torch.Generator) -> Tensor:
        if not self.prior.completes:
            return super().complete(pose, hidden, num, generator)
        visible = _without(pose, hidden)
        drawn = pose.double().expand(num, *pose.shape).clone()
        for row in drawn:
            row[:, list(hidden)] = self.prior.complete(pose.float(), visible, generator)[:, list(hidden)].double()
        return drawn

    def complete_point(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        if not self.prior.completes:
            return super().complete_point(pose, hidden)
        drawn = self.complete(pose, hidden, _NUM_DRAWS_OF_MEAN, torch.Generator().manual_seed(_SEED))
        point = drawn[0].clone()
        point[:, list(hidden)] = mean_rotation(drawn[:, :, list(hidden)])
        return point


class _TrainedDensity(_Trained, DensityCandidate):
    def log_prob(self, pose: Tensor) -> Tensor:
        return -self.energy(pose)


class _TrainedPaths(_Trained, DensityCandidate):
    """Flow matching: its energy is a bound that is cheap enough to optimise, its density takes paths."""

    prior: FlowMatching

    def log_prob(self, pose: Tensor) -> Tensor:
        return self.prior.log_prob(pose.float()).double()


class _TrainedConditionalPaths(_TrainedPaths, ConditionalDensityCandidate):
    @torch.no_grad()
    def conditional_log_prob(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        return self.prior.log_prob_given(pose.float(), _without(pose, hidden)).double()


def trained(name: str, prior: Prior) -> Candidate:
    """A prior from a checkpoint as a candidate; its own energy is computed in float32."""
    if isinstance(prior, FlowMatching):
        return (_TrainedConditionalPaths if prior.completes else _TrainedPaths)(name, prior)
    return _TrainedDensity(name, prior) if isinstance(prior, DensityPrior) else _Trained(name, prior)


def _without(pose: Tensor, hidden: Sequence[int]) -> Tensor:
    """Which joints are not hidden: (N, 55) bool."""
    visible = torch.ones(pose.shape[:-1], dtype=torch.bool)
    visible[:, list(hidden)] = False
    return visible
