"""The regression itself: a network over an `AxesProcess`, and what it learns by."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pose_priors.body.motion_state import FPS, NUM_JOINTS
from pose_priors.priors.motion.flow.corruption import hidden_parts
from pose_priors.priors.motion.flow.network import FAR, LEAST_LOG_STD, LOG_RATIO, TemporalNetwork, news
from pose_priors.priors.motion.flow.regression.axes import NUM_PLACES, AxesProcess
from pose_priors.priors.motion.flow.smoother import Smoother
from pose_priors.priors.motion.flow.view import (
    GROUPS_OF_PLACES,
    HEIGHT,
    PATH,
    PLACES,
    ROTATIONS,
    Motion,
    Noise,
    Reference,
    find_reference,
    local_path,
    noise_of_groups,
    to_features,
)

_OF_ROOT = [0, 1, 2]  # groups of path, height and the root's rotation
_ROOT = slice(ROTATIONS.start, ROTATIONS.start + 6)
_OWN = "denoiser.regression."  # names of its weights in those of a prior
_NUM_BLOCKS = 4
_EXACT_M = 1e-3
_FINE_M = 1e-3  # of noise at which what is seen is as near as what is said
_STRANGE = 8.0  # standard deviations at which an error counts no more
_SPREAD_WEIGHT = 0.05
# what training sees, in metres: noise alike everywhere, of each joint, of each joint and frame; or all that is not hidden exactly
_STD_M, _ALIKE, _OF_JOINTS, _EXACTLY = (0.006, 0.2), 0.8, 0.08, 0.15
_UNLIKE = 0.5  # standard deviation of logarithms of noise that differs
_HIDDEN = (0.75, 0.05, 0.06, 0.11, 0.03)  # see `corruption`
_FROM_PELVIS = 0.15  # whose place in the world is not known


class Regressed(NamedTuple):
    """What is expected of the places of joints.

    Attributes:
        mean: (B, T, 63) normalised as features are.
        std: (B, T, 21) its standard deviations.
        of_process: (B, T, 63) as `mean`, of the Gaussian process alone.
    """

    mean: Tensor
    std: Tensor
    of_process: Tensor


class Regression(nn.Module):
    """See the module.

    Args:
        hidden: width of the network, a multiple of 32.
        num_frames, kernel, dropout: as the denoiser's.
    """

    def __init__(self, hidden: int, num_frames: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.process = AxesProcess(num_frames)
        inputs = 9 * NUM_PLACES + 2 * NUM_PLACES + (9 + 3) + 2 * len(_OF_ROOT) + 1
        self.network = TemporalNetwork(inputs, 4 * NUM_PLACES, num_frames, hidden, _NUM_BLOCKS, hidden // 32, kernel, dropout)

    def forward(self, smoother: Smoother, seen: Tensor, noise: Tensor, smooth: Tensor, left: Tensor, reference: Reference) -> Regressed:
        """What is expected of places.

        Args:
            smoother: by whose scales the rest are normalised.
            seen, noise: features (B, T, F), seen with noise (B, T, G), infinite where nothing is seen.
            smooth, left: (B, T, F) and (B, T, G) what the smoother says given these, and how sure it is.
        """
        scale = smoother.scale.to(seen)
        metres = scale[GROUPS_OF_PLACES]
        at, before = (smoother.denormalized(value)[..., PLACES] for value in (seen, smooth))
        std, doubt = noise[..., GROUPS_OF_PLACES] * metres, left[..., GROUPS_OF_PLACES] * metres
        process = self.process.posterior(at, std, before)
        wide = doubt.repeat_interleave(3, -1)
        inputs = self._inputs(seen, noise, smooth, left, reference, at, std, before, doubt, process)
        said = self.network(inputs).to(seen)
        found = process + steadied(wide * said[..., : 3 * NUM_PLACES], std.isinf().repeat_interleave(3, -1))
        share = torch.where(std.isfinite(), std.square() / (std.square() + _FINE_M**2), 1.0).repeat_interleave(3, -1)
        found, process = (torch.where(share < 1, share * value + (1 - share) * at, value) for value in (found, process))
        spread = left[..., GROUPS_OF_PLACES] * said[..., 3 * NUM_PLACES :].clamp(*LOG_RATIO).exp()
        mean, of_place = smoother.mean[PLACES].to(found), metres.repeat_interleave(3)
        return Regressed((found - mean) / of_place, spread, (process - mean) / of_place)

    def _inputs(
        self,
        seen: Tensor,
        noise: Tensor,
        smooth: Tensor,
        left: Tensor,
        reference: Reference,
        at: Tensor,
        std: Tensor,
        before: Tensor,
        doubt: Tensor,
        process: Tensor,
    ) -> Tensor:
        wide, of_places = doubt.repeat_interleave(3, -1), std.repeat_interleave(3, -1)
        spread = (self.process.values.sum() / (at.shape[1] * at.shape[2])).sqrt().clamp_min(_EXACT_M)
        speed = torch.diff(smooth[..., PATH], dim=1, append=smooth[:, -1:, PATH]) * FPS
        path = news(seen[..., PATH], smooth[..., PATH], noise[..., :1], left[..., :1])
        parts = [
            (process - self.process.mean) / spread,
            (process - before) / (wide + _EXACT_M),
            news(at, process, of_places, wide + _EXACT_M),
            (doubt + _EXACT_M).log() + 3,
            1 / (1 + std / 0.05),
            local_path(speed, reference),
            smooth[..., HEIGHT],
            smooth[..., _ROOT],
            local_path(path, reference),
            news(seen[..., HEIGHT], smooth[..., HEIGHT], noise[..., 1:2], left[..., 1:2]),
            left[..., _OF_ROOT].log().clamp_min(-LEAST_LOG_STD) / LEAST_LOG_STD,
            1 / (1 + noise[..., _OF_ROOT]),
            reference.turning(),
        ]
        return torch.cat(parts, -1).clamp(-FAR, FAR)

    def errors(self, smoother: Smoother, motion: Motion, generator: torch.Generator | None) -> dict[str, Tensor]:
        """What the network learns by: how far joints are from where they are expected, in standard deviations that the smoother leaves.

        Args:
            motion: (B, T, ...) as long as a window.
            generator: of noise and of what is hidden; None for torch's own.
        Returns:
            scalars `regression`, to be minimised, and `over_axes`, the mean distance over that of the process alone.
        """
        motion_seen, told = noisy_joints(motion, generator)
        reference = find_reference(motion_seen, told)
        seen, truth = (smoother.normalized(to_features(m, reference)) for m in (motion_seen, motion))
        noise = noise_of_groups(told) / smoother.scale
        smooth, left = smoother.posterior(seen, noise)
        found, spread, of_process = self(smoother, seen, noise, smooth, left, reference)
        metres = smoother.scale[GROUPS_OF_PLACES].to(seen)
        doubt = left[..., GROUPS_OF_PLACES] * metres
        counted = noise[..., GROUPS_OF_PLACES] * metres > _EXACT_M
        scale = (doubt * counted).sum((1, 2), keepdim=True) / counted.sum((1, 2), keepdim=True).clamp_min(1)

        def apart(places: Tensor) -> Tensor:
            gone = (places - truth[..., PLACES]).unflatten(-1, (NUM_PLACES, 3)) * metres[:, None]
            distance: Tensor = (gone.square().sum(-1) + 1e-10).sqrt()
            return distance

        def mean(distance: Tensor) -> Tensor:
            value: Tensor = ((distance / scale.clamp_min(_EXACT_M)).clamp_max(2 * _STRANGE) * counted).sum() / counted.sum().clamp_min(1)
            return value

        distance = apart(found)
        ratio = (spread * metres / doubt.clamp_min(1e-6)).log()
        of_std = (distance.detach() / doubt.clamp_min(_EXACT_M)).clamp_max(_STRANGE).square() / 3
        nll = ((0.5 * of_std / (2 * ratio).exp() + ratio) * counted).sum() / counted.sum().clamp_min(1)
        off, before_off = mean(distance), mean(apart(of_process))
        return {"regression": off + _SPREAD_WEIGHT * nll, "over_axes": off.detach() / before_off}


def steadied(change: Tensor, hidden: Tensor) -> Tensor:
    """What the network changes, (B, T, C), smoothed over time by a binomial of five frames where these are all hidden, (B, T, C) bool: no
    frame tells the network anything there, so that what shakes is its own."""
    kernel = torch.tensor([1, 4, 6, 4, 1]).to(change) / 16
    reach = len(kernel) // 2
    around = nn.functional.pad(change.transpose(1, 2), (reach, reach), mode="replicate").unfold(-1, len(kernel), 1)
    seen = nn.functional.pad((~hidden).transpose(1, 2).to(change), (reach, reach)).unfold(-1, len(kernel), 1)
    return torch.where((seen.sum(-1) == 0).transpose(1, 2), (around * kernel).sum(-1).transpose(1, 2), change)


def noisy_joints(motion: Motion, generator: torch.Generator | None = None) -> tuple[Motion, Noise]:
    """Windows of which a random part of the joints is seen, with noise from a pelvis that is known; of rotations the root's alone."""
    like = motion.joints
    size, num_frames = like.shape[:2]

    def uniform(*shape: int) -> Tensor:
        return torch.rand(size, *shape, generator=generator, device=like.device, dtype=like.dtype)

    def normal(*shape: int) -> Tensor:
        return torch.randn(size, *shape, generator=generator, device=like.device, dtype=like.dtype)

    low, high = map(math.log, _STD_M)
    kind = uniform(1, 1)
    of_joints, of_both = _UNLIKE * normal(1, NUM_JOINTS), _UNLIKE * normal(num_frames, NUM_JOINTS)
    unlike = torch.where(kind < _ALIKE, 0.0, torch.where(kind < _ALIKE + _OF_JOINTS, of_joints, of_both))
    std = (low + (high - low) * uniform(1, 1) + unlike).exp().clamp_max(2 * _STD_M[1]).expand(-1, num_frames, NUM_JOINTS)
    hidden = hidden_parts(_HIDDEN, uniform, num_frames, like)
    exactly = (uniform(1, 1) < _EXACTLY) & hidden.flatten(1).any(1)[:, None, None]
    std = torch.where(exactly, 0.0, std).masked_fill(hidden, torch.inf)
    rotations = torch.full_like(std, torch.inf)
    std[..., 0] = rotations[..., 0] = 0
    path = torch.where(uniform(1) < _FROM_PELVIS, torch.inf, 0.0).expand(-1, num_frames)
    moved = torch.where(std.isfinite(), std, 0.0)[..., None] * normal(num_frames, NUM_JOINTS, 3)
    noise = Noise(rotations, std, torch.full_like(path, torch.inf), path)
    return Motion(motion.rotations, like + moved, motion.contacts), noise


def take_flow(prior: nn.Module, other: nn.Module) -> None:
    """Gives a prior of clips all but the regression as another prior has it. None of that is learnt any more.

    Raises:
        ValueError: if the other is none of clips, or has other sizes.
    """
    taken = {name: value for name, value in other.state_dict().items() if not name.startswith(_OWN)}
    own = {name: value for name, value in prior.state_dict().items() if not name.startswith(_OWN)}
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in taken.items()}:
        raise ValueError("is no motion_flow of the same sizes; give model.hidden, model.num_blocks, model.num_frames ... as it has them")
    prior.load_state_dict(taken, strict=False)
    for name, parameter in prior.named_parameters():
        parameter.requires_grad_(name.startswith(_OWN))
