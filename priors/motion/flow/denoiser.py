"""What is expected of a window's features given what is seen of them: a Gaussian process in closed form, and a network for the rest."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pose_priors.body.motion_state import FPS
from pose_priors.priors.motion.flow.network import FAR, LEAST_LOG_STD, LOG_RATIO, TemporalNetwork, news
from pose_priors.priors.motion.flow.regression.model import Regression
from pose_priors.priors.motion.flow.smoother import Smoother
from pose_priors.priors.motion.flow.view import (
    GROUP_OF,
    GROUPS_OF_PLACES,
    GROUPS_OF_ROTATIONS,
    NUM_FEATURES,
    NUM_GROUPS,
    PATH,
    PLACES,
    Reference,
    local_path,
    world_path,
)

_DOUBT = 3.0  # times which rotations may be farther off, beside places that another network says: their errors are not independent


class Expected(NamedTuple):
    """What is expected of a window.

    Attributes:
        mean: (B, T, F) normalised features.
        std: (B, T, G) standard deviation of each group's features from the mean, as learnt.
        smooth: (B, T, F) and process_std: (B, T, G): the same by the Gaussian process alone.
    """

    mean: Tensor
    std: Tensor
    smooth: Tensor
    process_std: Tensor


class Denoiser(nn.Module):
    """See the module. The network's output is in standard deviations that the process leaves, so that it has nothing to say of what is seen
    exactly, and what is told at first, before it has learnt anything, is the process's.

    Args:
        network: `num_inputs()` -> F + G.
        num_frames: T.
        regression: of joints of which no rotations are seen; None leaves these to the network, too.
    """

    group: Tensor

    def __init__(self, network: TemporalNetwork, num_frames: int, regression: Regression | None = None) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.smoother = Smoother(num_frames)
        self.network = network
        self.regression = regression
        self.register_buffer("group", GROUP_OF.clone(), persistent=False)

    @staticmethod
    def num_inputs() -> int:
        """Of the network, for each frame."""
        return 2 * NUM_FEATURES + 2 * NUM_GROUPS + 1

    def forward(self, seen: Tensor, noise: Tensor, reference: Reference) -> Expected:
        """What is expected given features (B, T, F), normalised, seen with noise (B, T, G), infinite where nothing is seen."""
        smooth, left = self.smoother.posterior(seen, noise)
        said = self.network(self._inputs(seen, noise, smooth, left, reference))
        change, ratio = said[..., :NUM_FEATURES].to(seen), said[..., NUM_FEATURES:].to(seen)
        change = torch.cat([world_path(change[..., PATH], reference), change[..., PATH.stop :]], -1)
        return Expected(smooth + left[..., self.group] * change, left * ratio.clamp(*LOG_RATIO).exp(), smooth, left)

    def regressed(self, seen: Tensor, noise: Tensor, reference: Reference, share: Tensor) -> Expected:
        """What is expected, with joints nearer to where the regression says, if there is one, by shares (B,) in [0, 1] of windows."""
        expected: Expected = self(seen, noise, reference)
        if self.regression is None or not share.any():
            return expected
        found, spread, _ = self.regression(self.smoother, seen, noise, expected.smooth, expected.process_std, reference)
        mean, std = expected.mean.clone(), expected.std.clone()
        mean[..., PLACES] = mixed(mean[..., PLACES], found, share)
        std[..., GROUPS_OF_PLACES] = mixed(std[..., GROUPS_OF_PLACES], spread, share)
        std[..., GROUPS_OF_ROTATIONS] = (1 + (_DOUBT - 1) * share[:, None, None]) * std[..., GROUPS_OF_ROTATIONS]
        return expected._replace(mean=mean, std=std)

    def _inputs(self, seen: Tensor, noise: Tensor, smooth: Tensor, left: Tensor, reference: Reference) -> Tensor:
        speed = torch.diff(smooth[..., PATH], dim=1, append=smooth[:, -1:, PATH]) * self.smoother.scale[0] * FPS
        told = news(seen, smooth, noise[..., self.group], left[..., self.group])
        parts = [
            local_path(speed, reference),
            smooth[..., PATH.stop :],
            local_path(told[..., PATH], reference),
            told[..., PATH.stop :],
            left.log().clamp_min(-LEAST_LOG_STD) / LEAST_LOG_STD,
            1 / (1 + noise),
            reference.turning(),
        ]
        return torch.cat(parts, -1).clamp(-FAR, FAR)


def mixed(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Windows (B, ...) between two, by shares (B,) in [0, 1] of the other; what has no share may be anything, NaN too."""
    of_window = share.view(-1, *[1] * (one.dim() - 1))
    return torch.where(of_window <= 0, one, torch.where(of_window >= 1, other, torch.lerp(one, other, of_window)))


def combined(seen: Tensor, noise: Tensor, flowing: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """Two views of features, each with independent noise of its own, as one that tells as much.

    Args:
        seen: (B, T, F); noise: (B, T, G), infinite where nothing is seen.
        flowing: (B, T, F) of a flow; level: (B, 1, 1) of its noise; infinite for none.
    Returns:
        features (B, T, F), finite, and noise (B, T, G).
    """
    precise, of_flow = (value.clamp_min(1e-6).square().reciprocal() for value in (noise, level))
    total = precise + of_flow
    share = torch.where(total > 0, precise / total.clamp_min(1e-30), 0.0)[..., GROUP_OF.to(seen.device)]
    some = (level.isfinite() & (share < 1)).expand_as(share)
    mixed = torch.where(share > 0, share * torch.where(share > 0, seen, 0.0), 0.0) + torch.where(some, (1 - share) * flowing, 0.0)
    return mixed, total.rsqrt()
