"""How likely a motion's first state is: a mixture of normals over where the joints are and how all moves."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pose_priors.body.motion_state import STATE

_VARIABLES = ("joints", "joints_vel", "trans_vel", "root_orient_vel")
INITIAL_STATE_DIM = sum(STATE[name].stop - STATE[name].start for name in _VARIABLES)
"""How many of a state's 339 numbers the mixture is over: joints 66, joints_vel 66, trans_vel 3 and root_orient_vel 3, in this order."""


class InitialStatePrior(nn.Module):
    """A mixture of K normals over 138 numbers of a state (Rempe et al., "HuMoR", ICCV 2021, section 4.2), in double precision.

    Args:
        weights: (K,) positive, of sum one.
        means: (K, 138).
        covariances: (K, 138, 138), symmetric.
    Raises:
        ValueError: if these are no mixture: of other shapes, not finite, weights that are none, covariances that are not positive definite.
    """

    means: Tensor
    whitening: Tensor
    log_constants: Tensor

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        super().__init__()
        weights, means, covariances = weights.double(), means.double(), covariances.double()
        shapes = {
            "weights": (len(weights),),
            "means": (len(weights), INITIAL_STATE_DIM),
            "covariances": (len(weights), *[INITIAL_STATE_DIM] * 2),
        }
        for (name, shape), value in zip(shapes.items(), (weights, means, covariances), strict=True):
            if value.shape != shape:
                raise ValueError(f"{name} is {tuple(value.shape)}, not {shape}")
            if not torch.isfinite(value).all():
                raise ValueError(f"{name} is not finite")
        if not (weights > 0).all() or abs(float(weights.sum()) - 1) > 1e-4:
            raise ValueError(
                f"weights are not positive with sum one; their sum is {float(weights.sum()):g}, the least {float(weights.min()):g}"
            )
        if (covariances - covariances.mT).abs().max() > 1e-6 * covariances.abs().max():
            raise ValueError("covariances are not symmetric")
        factor, failed = torch.linalg.cholesky_ex(covariances)
        if failed.any():
            raise ValueError(f"covariance {int(failed.nonzero()[0])} is not positive definite")
        identity = torch.eye(INITIAL_STATE_DIM, dtype=factor.dtype).expand_as(factor)
        self.register_buffer("means", means)
        self.register_buffer("whitening", torch.linalg.solve_triangular(factor, identity, upper=False))
        log_size = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + INITIAL_STATE_DIM / 2 * math.log(2 * math.pi)
        self.register_buffer("log_constants", weights.log() - log_size)

    def log_prob(self, states: Tensor) -> Tensor:
        """Log-density (...,) in nats of states (..., 339), each in its own frame."""
        value = torch.cat([states[..., STATE[name]] for name in _VARIABLES], -1).to(self.means)
        white = torch.einsum("kij,...kj->...ki", self.whitening, value[..., None, :] - self.means)
        return torch.logsumexp(self.log_constants - 0.5 * white.square().sum(-1), -1).to(states.dtype)
