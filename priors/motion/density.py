"""How likely a change of state is, given what a motion prior's decoder says of it; and the critic that knows negatives too."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from pose_priors.body.motion_state import CHANGE, CHANGE_DIM, CONTACT_JOINTS, STATE_DIM
from pose_priors.priors.networks.precision import within_range

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
# Scale of the residuals in standard deviations of the changes: where it starts, and how small it may become.
_SCALE_START, _SCALE_FLOOR = 0.7, 0.2
# Degrees of freedom: most steps are as expected, a landing is not.
_FREEDOM = 4.0
_LOG_NORM = math.lgamma((_FREEDOM + 1) / 2) - math.lgamma(_FREEDOM / 2) - 0.5 * math.log(_FREEDOM * math.pi)
_STANCE_START, _STANCE_BOUNDS = 0.05, (0.015, 0.15)  # m/s, of joints that touch
_OUTLIER = 4.0  # standard deviations
NUM_PARTS = 3
"""Parts of the surrogate: joints that may touch, the rest, and the divergence."""
_VELOCITIES = CHANGE["joints_vel"]
_TOUCHING = list(CONTACT_JOINTS)

Moments = tuple[Tensor, Tensor]
"""Mean and log-variance of a diagonal normal, (N, Z) each."""


class ChangeDensity(nn.Module):
    """The density of residuals of a change of state: Student's t, and for the velocities of joints that may touch the world a mixture with
    standing still, by the probability of contact. The latter is what sees the scale of a path: a foot that carries does not slide."""

    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("std", torch.ones(CHANGE_DIM))
        self.log_scale = nn.Parameter(torch.full((CHANGE_DIM,), math.log(_SCALE_START)))
        self.log_stance = nn.Parameter(torch.tensor(math.log(_STANCE_START)))

    def forward(self, residual: Tensor, predicted: Tensor, velocity: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Log-densities (N,) of the velocities of joints that may touch, and of all the rest.

        Args:
            residual, predicted: (N, 207), as observed and as decoded.
            velocity: (N, 66) of the joints after the change, m/s.
            logits: (N, 9) of contact.
        """
        scale = self.log_scale.clamp_min(math.log(_SCALE_FLOOR)).exp() * self.std
        square = ((residual - predicted) / scale).square()
        each = _LOG_NORM - 0.5 * (_FREEDOM + 1) * torch.log1p(square / _FREEDOM) - scale.log()
        going = each[:, _VELOCITIES].unflatten(-1, (-1, 3)).sum(-1)[:, _TOUCHING]
        stance = self.log_stance.clamp(*map(math.log, _STANCE_BOUNDS))
        still = -0.5 * (velocity.unflatten(-1, (-1, 3))[:, _TOUCHING] / stance.exp()).square() - stance - _HALF_LOG_2PI
        mixed = torch.logaddexp(logsigmoid(logits) + still.sum(-1), logsigmoid(-logits) + going)
        return mixed.sum(-1), each.sum(-1) - going.sum(-1)

    def error(self, residual: Tensor, predicted: Tensor) -> Tensor:
        """(): the mean absolute error in standard deviations, and the mean distance of the joints in theirs."""
        error, joints = residual - predicted, CHANGE["joints"]
        distance, std = (value.unflatten(-1, (-1, 3)).norm(dim=-1).mean() for value in (error[:, joints], self.std[joints]))
        mean: Tensor = (error / self.std).abs().mean() + distance / std
        return mean


class Critic(nn.Module):
    """The logit of real transitions against negatives, a log-likelihood ratio as far as it is right, by noise-contrastive estimation
    (Gutmann & Hyvärinen, "Noise-contrastive estimation", AISTATS 2010), given the parts of another likelihood.

    Args:
        width: of its first hidden layer; the second has half of it.
        dropout: share of the hidden numbers that training drops, half as much of the inputs.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Dropout(dropout / 2),
            nn.Linear(STATE_DIM + CHANGE_DIM + NUM_PARTS, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width // 2),
            nn.ReLU(),
            nn.Linear(width // 2, 1),
        )

    @within_range
    def forward(self, inputs: Tensor, residual: Tensor, parts: Tensor) -> Tensor:
        """(N,) nats, of the inputs' type whatever autocast does inside.

        Args:
            inputs: (N, 339) normalised states.
            residual: (N, 207) in standard deviations, compressed by asinh, for it has heavy tails.
            parts: (N, 3) of the surrogate, about zero and of the order of one.
        """
        ratio: Tensor = self.net(torch.cat([inputs, residual.asinh(), parts], 1))[:, 0]
        return ratio.to(inputs.dtype)


def participation_ratio(residual: Tensor) -> Tensor:
    """How many components of residuals (N, D), in standard deviations, are independent: () from 1 to D, by the spectrum of their
    covariance. Outliers are cut off."""
    spectrum = torch.linalg.eigvalsh(torch.cov(residual.clamp(-_OUTLIER, _OUTLIER).T))
    ratio: Tensor = spectrum.sum().square() / spectrum.square().sum()
    return ratio


def divergence(q: Moments, p: Moments) -> Tensor:
    """Kullback-Leibler divergence (N,) of diagonal normals, of q from p."""
    (mean_q, log_q), (mean_p, log_p) = q, p
    return 0.5 * (log_p - log_q + (log_q - log_p).exp() + (mean_q - mean_p).square() / log_p.exp() - 1).sum(-1)


def log_normal(z: Tensor, moments: Moments) -> Tensor:
    """(N,) log-density of z (N, Z) under a diagonal normal."""
    mean, log_variance = moments
    return (-0.5 * (z - mean).square() / log_variance.exp() - 0.5 * log_variance - _HALF_LOG_2PI).sum(-1)
