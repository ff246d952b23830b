"""Trained priors as candidates of the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pose_priors.benchmarks.priors.candidate import Candidate, ConditionalDensityCandidate, DensityCandidate
from pose_priors.benchmarks.priors.completion import SampledCompletion
from pose_priors.body.rotations import mean_rotation
from pose_priors.priors import DensityPrior, Prior
from pose_priors.priors.posterior import LogLikelihood

_NUM_DRAWS_OF_MEAN, _SEED = 32, 0


class _Trained(SampledCompletion):
    """A prior of this project; its own energy is computed in float32."""

    def __init__(self, name: str, prior: Prior) -> None:
        super().__init__(name, prior.joint_indices, prior.default_pose)
        self._prior = prior

    def energy(self, pose: Tensor) -> Tensor:
        return self._prior.energy(pose.float()).double()

    def smoothed(self, noise: float) -> Callable[[Tensor], Tensor] | None:
        try:
            self._prior.energy(self.default_pose.float(), noise)
        except ValueError:  # it was trained without a denoiser
            return None
        return lambda pose: self._prior.energy(pose.float(), noise).double()

    @torch.no_grad()
    def sample(self, num: int, generator: torch.Generator) -> Tensor:
        return self._prior.sample(num, generator).double()

    def denoise(self, pose: Tensor, std: float) -> Tensor | None:
        try:
            return self._prior.denoise(pose.float(), std).double()
        except ValueError:  # it was trained without a denoiser
            return None

    def posterior(
        self, log_likelihood: LogLikelihood, num_observations: int, num_samples: int, generator: torch.Generator
    ) -> Tensor | None:
        if not isinstance(self._prior, DensityPrior):  # a bound is no density
            return None
        return self._prior.posterior(log_likelihood, num_observations, num_samples, generator).double()

    def complete(self, pose: Tensor, hidden: Sequence[int], num: int, generator: torch.Generator) -> Tensor:
        if not self._prior.completes:
            return super().complete(pose, hidden, num, generator)
        visible = _without(pose, hidden)
        drawn = pose.double().expand(num, *pose.shape).clone()
        for row in drawn:
            row[:, list(hidden)] = self._prior.complete(pose.float(), visible, generator)[:, list(hidden)].double()
        return drawn

    def complete_point(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        if not self._prior.completes:
            return super().complete_point(pose, hidden)
        drawn = self.complete(pose, hidden, _NUM_DRAWS_OF_MEAN, torch.Generator().manual_seed(_SEED))
        point = drawn[0].clone()
        point[:, list(hidden)] = mean_rotation(drawn[:, :, list(hidden)])
        return point


class _TrainedDensity(_Trained, DensityCandidate):
    """One with a density. Its energy is cheap enough to optimise, and not always the negative log-density."""

    def __init__(self, name: str, prior: DensityPrior) -> None:
        super().__init__(name, prior)
        self._density = prior

    def log_prob(self, pose: Tensor) -> Tensor:
        return self._density.log_prob(pose.float()).double()


class _TrainedConditionalDensity(_TrainedDensity, ConditionalDensityCandidate):
    """One that has learnt conditional densities too."""

    @torch.no_grad()
    def conditional_log_prob(self, pose: Tensor, hidden: Sequence[int]) -> Tensor:
        return self._density.log_prob_given(pose.float(), _without(pose, hidden)).double()


def trained(name: str, prior: Prior) -> Candidate:
    """A prior from a checkpoint as a candidate."""
    if not isinstance(prior, DensityPrior):
        return _Trained(name, prior)
    return (_TrainedConditionalDensity if prior.has_conditional_density else _TrainedDensity)(name, prior)


def _without(pose: Tensor, hidden: Sequence[int]) -> Tensor:
    """Which joints are not hidden: (N, 55) bool."""
    visible = torch.ones(pose.shape[:-1], dtype=torch.bool)
    visible[:, list(hidden)] = False
    return visible
