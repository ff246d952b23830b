"""The defensive component, a broad density that keeps a sharp one finite far from the data: an angular central Gaussian per joint."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pose_priors.body import conversions
from pose_priors.body.rotations import canonicalize, to_unitquat
from pose_priors.priors.networks.derived import Derived
from pose_priors.priors.networks.precision import without_autocast

_MAX_ITERATIONS = 200
_TOLERANCE = 1e-7
# Added to the scatter so that a joint that moves about one axis alone keeps a proper density; the square of half an angle of 1 degree.
_FLOOR = 7.6e-5
# Nats below the larger of two log-densities at which the smaller adds nothing to their sum, in double precision either.
_NEGLIGIBLE = 40.0


class AngularCentralGaussian(nn.Module):
    """Independent densities over the rotations of J joints: the direction of a zero-mean Gaussian over quaternions.

    Density of a unit quaternion q against the uniform distribution, hence against normalised Haar measure:
    `det(S)^(-1/2) (q' S^-1 q)^(-2)` (Tyler, "Statistical analysis for the angular central Gaussian distribution on the sphere", Biometrika
    1987). It is even in q, so it is a density on SO(3); smooth everywhere, beyond pi too; it falls with the fourth power of the
    angle alone, so its energy and gradient stay bounded for any rotation.

    Args:
        num_joints: J.
    """

    scatter: Tensor

    def __init__(self, num_joints: int) -> None:
        super().__init__()
        self.register_buffer("scatter", torch.eye(4).expand(num_joints, 4, 4).clone())
        self._precision = Derived(_precision_and_normaliser)

    @torch.no_grad()
    def fit(self, rotvec: Tensor) -> None:
        """Maximum likelihood by Tyler's fixed-point iteration.

        Args:
            rotvec: (N, J, 3) rotation vectors.
        """
        quat = conversions.rotvec_to_unitquat(rotvec.double()).permute(1, 2, 0).contiguous()
        self.scatter.copy_(torch.stack([_scatter_of(of_joint) for of_joint in quat]))

    def log_prob(self, rotvec: Tensor) -> Tensor:
        """Log-density in nats against normalised Haar measure: (*batch, J, 3) of any angle -> (*batch, J)."""
        with without_autocast(rotvec):
            quat = to_unitquat(canonicalize(rotvec))
            precision, log_normaliser = self._precision.of(self.scatter)
            log_prob: Tensor = log_normaliser.to(quat) - 2 * _quadratic(quat, precision.to(quat)).log()
            return log_prob

    def sample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, J, 3) canonical rotation vectors."""
        root = torch.linalg.cholesky(self.scatter)
        noise = torch.randn(num_samples, *root.shape[:2], generator=generator, dtype=root.dtype, device=root.device)
        quat = torch.einsum("jab,njb->nja", root, noise)
        rotvec: Tensor = conversions.unitquat_to_rotvec(quat / torch.linalg.vector_norm(quat, dim=-1, keepdim=True))
        return rotvec


def _scatter_of(quat: Tensor) -> Tensor:
    """(4, N) unit quaternions of one joint -> (4, 4); a joint at a time, because its quaternions stay in the processor's cache."""
    floor = _FLOOR * torch.eye(4, dtype=quat.dtype, device=quat.device)
    scatter = torch.eye(4, dtype=quat.dtype, device=quat.device)
    for _ in range(_MAX_ITERATIONS):
        weight = 1 / (torch.linalg.inv(scatter) @ quat).mul_(quat).sum(0)
        update = (weight * quat) @ quat.mT
        update = update / update.trace() + floor
        change = (update - scatter).abs().max()
        scatter = update
        if change < _TOLERANCE:
            break
    return scatter


def _precision_and_normaliser(scatter: Tensor) -> tuple[Tensor, ...]:
    """(J, 4, 4) -> its inverses, and the logarithms of the densities' normalisers, (J,)."""
    return torch.linalg.inv(scatter), -0.5 * torch.linalg.slogdet(scatter).logabsdet


def _quadratic(quat: Tensor, precision: Tensor) -> Tensor:
    """q' P q: (*batch, J, 4), (J, 4, 4) -> (*batch, J)."""
    return torch.einsum("...ja,jab,...jb->...j", quat, precision, quat)


def defend(log_density: Tensor, log_defensive: Tensor, weight: float) -> Tensor:
    """The log-density of a defensive mixture: a share `weight` of a broad density beside the learnt one (Hesterberg, Technometrics 1995).

    Its energy follows the learnt density where that is larger, and never exceeds the broad one's by more than -log(weight).

    Args:
        log_density, log_defensive: (...) nats against the same measure.
        weight: in (0, 1).
    """
    parts = log_density + math.log1p(-weight), log_defensive + math.log(weight)
    # what is further below counts for nothing, and would overflow in second derivatives
    least = torch.maximum(*parts).detach() - _NEGLIGIBLE
    return torch.logaddexp(*(torch.maximum(part, least) for part in parts))


def defensive_share(log_density: Tensor, log_defensive: Tensor, weight: float) -> Tensor:
    """How much of a defensive mixture the defensive component explains, in [0, 1]: near 1 where the learnt density has given up.

    A learnt density that is far below the broad one gets no gradient any more, so a large mean share on data tells of a collapsed run.
    """
    return torch.sigmoid(log_defensive - log_density + math.log(weight) - math.log1p(-weight))
