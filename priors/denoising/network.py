"""The network that is told the noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pose_priors.body.rotations import NUM_MATRIX_FEATURES, canonicalize, matrix_features
from pose_priors.priors.gaussians.normal import posterior_of_normal
from pose_priors.priors.networks.dropout import Dropout
from pose_priors.priors.networks.precision import without_autocast
from pose_priors.priors.networks.told_blocks import through, told_blocks

# Added to the data's variances in rad^2, so that joints that hardly move have a precision: about half a degree.
_FLOOR = 1e-4
# Where the logarithm of the data's spread over the noise is cut off, and what it is divided by.
_MAX_RATIO = 4.0


class NoiseToldNetwork(nn.Module):
    """E[pose | rotations seen with known noise], in rotation vectors.

    What a normal distribution with the data's covariance would expect, in closed form, and a residual network for the rest, in units of the
    standard deviations that the normal leaves: the preconditioning of Karras et al., "Elucidating the design space of diffusion-based
    generative models", NeurIPS 2022, with the data's whole covariance for their one variance and noise that differs from number to
    number. For normal data a network that says nothing is right for all noise, also for what is not seen.

    Args:
        num_joints: J, D = 3 J.
        hidden, num_blocks, dropout: width of the layers, residual blocks, share of hidden units dropped in training.
    """

    mean: Tensor
    spread: Tensor
    precision: Tensor

    def __init__(self, num_joints: int, hidden: int, num_blocks: int, dropout: float) -> None:
        super().__init__()
        size = 3 * num_joints
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.register_buffer("precision", torch.eye(size))
        num_told = 3 * size
        self.first = nn.Linear(2 * size + NUM_MATRIX_FEATURES * num_joints + num_told, hidden)
        self.blocks = told_blocks(num_blocks, hidden, num_told)
        self.last = nn.Linear(hidden, size)
        self.dropout = Dropout(dropout)
        with torch.no_grad():
            self.last.weight.mul_(0.01)
            self.last.bias.zero_()

    @torch.no_grad()
    def fit(self, rotvec: Tensor) -> None:
        """Sets the normal distribution from training data (N, J, 3)."""
        flat = rotvec.flatten(1).double()
        covariance = torch.cov(flat.T) + _FLOOR * torch.eye(flat.shape[1], dtype=flat.dtype, device=flat.device)
        self.mean.copy_(flat.mean(0))
        self.spread.copy_(covariance.diagonal().sqrt())
        self.precision.copy_(torch.linalg.inv(covariance))

    def forward(self, seen: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """What is expected of rotation vectors, and how far a normal would be from it.

        Args:
            seen: (*batch, D) rotation vectors.
            std: (*some, D) of their noise in radians, broadcasts to the batch; infinite where nothing was seen.
        Returns:
            (*batch, D), and the standard deviations that the normal leaves, (*some, D).
        """
        with without_autocast(seen):
            seen = torch.where(std.isfinite(), seen, self.mean)
            expected, covariance = posterior_of_normal(self.precision, self.mean, seen, std)
            left = covariance.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt().to(seen)
            told = self._told(std.to(seen), left)
            shown = torch.cat([self._of_seen(seen, std.to(seen)), (expected - self.mean) / self.spread], -1)
        hidden = through(self.blocks, self.first(torch.cat([shown, told.expand(*shown.shape[:-1], -1)], -1)), told, self.dropout)
        correction: Tensor = self.last(nn.functional.silu(hidden))
        return expected + left * correction.to(expected), left

    def normal_constant(self, std: Tensor) -> Tensor:
        """-log of the normal with noise of deviations (D,) at its mean, in nats: ()."""
        covariance = torch.linalg.inv(self.precision.double()) + torch.diag(std.double().square())
        constant: Tensor = 0.5 * (torch.linalg.slogdet(covariance).logabsdet + len(std) * math.log(2 * math.pi))
        return constant.to(std)

    def _told(self, std: Tensor, left: Tensor) -> Tensor:
        """What the network is told of the noise, numbers between -1 and 1: (*some, D) -> (*some, 3 D)."""
        ratio = (self.spread / std.clamp_min(1e-6)).log().clamp(-_MAX_RATIO, _MAX_RATIO) / _MAX_RATIO
        return torch.cat([ratio, 2 * self._trust(std) - 1, 2 * left / self.spread - 1], -1)

    def _of_seen(self, seen: Tensor, std: Tensor) -> Tensor:
        """What was seen, the less of it the more noise it has: (*batch, D) -> (*batch, D + 6 J)."""
        trust = self._trust(std)
        matrices = matrix_features(canonicalize(seen.unflatten(-1, (-1, 3)))) * trust.unflatten(-1, (-1, 3)).mean(-1, keepdim=True).sqrt()
        return torch.cat([trust.sqrt() * (seen - self.mean) / self.spread, matrices.flatten(-2)], -1)

    def _trust(self, std: Tensor) -> Tensor:
        """The share of variance that is the data's."""
        return 1 / (1 + (std / self.spread).square())
