"""An isotropic, heavy-tailed density on SO(3): what a decoder says about a rotation once it has said where it expects it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

MIN_SCALE = 1e-3
"""Floor of the scale in radians, about 0.06 degrees: no constant joint makes the density infinite."""
_GAIN = 10.0
"""Learning-rate multiplier of the log-scale, which has to travel several units while the weights of a network travel a fraction of one."""
_START_SCALE = 1.0


def half_angle_sine_squared(a: Tensor, b: Tensor) -> Tensor:
    """sin^2(t/2), t the angle between two rotations: ||a - b||_F^2 / 8, smooth everywhere and free of the cancellation in 3 - trace.

    Args:
        a, b: (..., 3, 3) rotation matrices that broadcast.
    Returns:
        (...) in [0, 1].
    """
    return (a - b).square().sum((-2, -1)) / 8


class IsotropicAngularCentralGaussian(nn.Module):
    """Angular central Gaussian around a mode, isotropic, with one learnt scale per joint (Tyler, "Statistical analysis for the angular
    central Gaussian distribution on the sphere", Biometrika 1987).

    It is the law of q / |q| for a quaternion q = mode * g with Gaussian g of variances (1, v, v, v), v = (scale / 2)^2: antipodally
    symmetric, hence a density on SO(3), with a normaliser in closed form. Near the mode the rotation vector is a three-dimensional Cauchy
    vector. Far from it the logarithm is bounded: a pose that the decoder does not reproduce costs at most -2 log v per joint, where
    the matrix Fisher density with the same scale costs 1 / (2 v). The scale is learnt with the decoder (Rybkin et al.,
    "Simple and effective VAE training with calibrated decoders", ICML 2021).

    Args:
        num_joints: J.
    """

    def __init__(self, num_joints: int) -> None:
        super().__init__()
        self.scaled_log = nn.Parameter(torch.full((num_joints,), math.log(_START_SCALE) / _GAIN))

    @property
    def scale(self) -> Tensor:
        """(J,) in radians, at least `MIN_SCALE`."""
        return torch.hypot((_GAIN * self.scaled_log).exp(), torch.full_like(self.scaled_log, MIN_SCALE))

    @torch.no_grad()
    def set_scale(self, scale: Tensor) -> None:
        """Sets the scale of each joint, (J,) radians, up to the floor."""
        self.scaled_log.copy_(scale.clamp_min(MIN_SCALE).log() / _GAIN)

    def log_prob(self, rotation: Tensor, mode: Tensor) -> Tensor:
        """Log-density in nats against normalised Haar measure.

        Args:
            rotation, mode: (..., J, 3, 3) rotation matrices that broadcast.
        Returns:
            (..., J).
        """
        variance = self.scale.square() / 4
        return -1.5 * variance.log() - 2 * torch.log1p(half_angle_sine_squared(rotation, mode) * (1 / variance - 1))
