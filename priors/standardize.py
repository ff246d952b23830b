"""Standardisation of rotation vectors, fitted once on the training data and kept in the checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose_priors.priors.networks.derived import Derived
from pose_priors.priors.networks.precision import without_autocast

# Spread in radians below which a direction counts as not moving; about a third of a degree.
MIN_STD = 5e-3


class Whitening(nn.Module):
    """An affine map per joint that gives its training rotation vectors zero mean and unit covariance.

    Args:
        num_joints: J.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, num_joints: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_joints, 3))
        self.register_buffer("factor", torch.eye(3).expand(num_joints, 3, 3).clone())
        self._inverse = Derived(_inverse_and_log_det)

    @torch.no_grad()
    def fit(self, rotvec: Tensor) -> None:
        """Args: rotvec (N, J, 3)."""
        centred = rotvec.double() - rotvec.double().mean(0)
        covariance = torch.einsum("nja,njb->jab", centred, centred) / max(1, len(rotvec) - 1)
        values, vectors = torch.linalg.eigh(covariance)
        # symmetric root, so that axes stay the anatomical ones as far as they can
        root = (vectors * values.clamp_min(MIN_STD**2).sqrt().unsqueeze(-2)) @ vectors.mT
        self.mean.copy_(rotvec.double().mean(0))
        self.factor.copy_(root)

    def forward(self, rotvec: Tensor) -> tuple[Tensor, Tensor]:
        """(*batch, J, 3) -> the whitened vectors and the log-determinant per joint, (J,)."""
        inverse, log_det = self._inverse.of(self.factor)
        with without_autocast(rotvec):
            white = torch.einsum("jab,...jb->...ja", inverse.to(rotvec), rotvec - self.mean.to(rotvec))
        return white, log_det.to(rotvec)

    def inverse(self, white: Tensor, joints: Tensor | None = None) -> Tensor:
        """(*batch, J, 3) -> (*batch, J, 3); of some joints alone where `joints` gives their positions."""
        factor, mean = (self.factor, self.mean) if joints is None else (self.factor[joints], self.mean[joints])
        return torch.einsum("jab,...jb->...ja", factor.to(white), white) + mean.to(white)


def _inverse_and_log_det(factor: Tensor) -> tuple[Tensor, ...]:
    """(J, 3, 3) -> its inverses, and the log-determinants of those, (J,)."""
    return torch.linalg.inv(factor), -torch.linalg.slogdet(factor).logabsdet
