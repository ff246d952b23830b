"""What a prior asks of its denoiser, and how noise is told."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pose_priors.body.pose_vectors import check_poses
from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.priors.networks.derived import at_once
from pose_priors.priors.posterior import Energy, LogLikelihood

Guide = Callable[[LogLikelihood, int, int, torch.Generator | None, Energy], Tensor]
"""As `priors.base.Prior.posterior`, of the prior whose energy comes last."""

_NOTHING = 1e10
"""Radians of noise beyond which nothing was seen."""


class PoseDenoiser(nn.Module, ABC):
    """What is expected of poses that were seen with known noise, for the joints of one prior."""

    @property
    @abstractmethod
    def guide(self) -> Guide | None:
        """Draws of posteriors under another prior that lead to those under this one, where there is one."""

    @abstractmethod
    def fit_statistics(self, poses: Tensor) -> None:
        """Sets whatever depends on the data before training: (N, 55, 3) training poses."""

    @abstractmethod
    def loss(self, pose: Tensor) -> Tensor:
        """What training minimises, for poses (B, 55, 3): (). In evaluation mode with noise that is always the same."""

    @abstractmethod
    def denoise(self, pose: Tensor, std: Tensor) -> Tensor:
        """Posterior means of rotations: poses (N, 55, 3) as seen, and standard deviations in radians of which each pose has its own or all
        the same, (N or 1, 55, 3) -> (N, 55, 3). Joints that are not learnt come back as they were."""

    @abstractmethod
    def energy(self, pose: Tensor, noise: float) -> Tensor:
        """Of the poses smoothed by noise of so many radians about each axis, in nats: (*batch, 55, 3) -> (*batch,)."""


def told(std: float | Tensor, pose: Tensor) -> Tensor:
    """Standard deviations as (N or 1, 55, 3), of poses (*batch, 55, 3) that are N in all.

    Args:
        std: in radians: a number, (55,) by joint, (55, 3) by axis, or (*batch, 55, 3) or what broadcasts to it; infinite where nothing was
            seen.
    Raises:
        ValueError: if one is negative or no number, or the shape fits no pose.
        TypeError, ValueError: if the poses are none, see `check_poses`.
    """
    check_poses(pose)
    with at_once():
        value = torch.as_tensor(std, dtype=torch.float64, device=pose.device)
        if not (value >= 0).all():
            raise ValueError("std holds standard deviations in radians, at least 0; infinite where nothing was seen")
        # whose square may be beyond what there are numbers for
        value = torch.where(value > _NOTHING, torch.inf, value)
        if value.dim() == 1:
            value = value.unsqueeze(-1)
        shape = torch.Size((1, NUM_JOINTS, 3)) if value.dim() <= 2 else pose.shape
        try:
            return value.expand(shape).reshape(-1, NUM_JOINTS, 3)
        except RuntimeError as error:
            raise ValueError(
                f"std is a number, ({NUM_JOINTS},), ({NUM_JOINTS}, 3) or of the shape of the poses {tuple(pose.shape)}; "
                f"got {tuple(torch.as_tensor(std).shape)}"
            ) from error


def checked_noise(noise: float) -> float:
    """The same, a standard deviation in radians; raises `ValueError` if it is negative, not finite or more than one number."""
    if isinstance(noise, Tensor) and noise.numel() != 1:
        raise ValueError(f"noise is one number for all poses; got {tuple(noise.shape)}")
    if not 0 <= noise < math.inf:
        raise ValueError(f"noise is a standard deviation in radians, at least 0; got {noise}")
    return noise
