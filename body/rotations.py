"""What this project needs of SO(3) beside the conversions, which are RoMa's.

A rotation vector is axis times angle, in radians, last dimension 3; canonical means angle <= pi. Everything here is finite with finite
gradients at 0, at pi and beyond.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pose_priors.body import conversions
from pose_priors.body.skeleton import MIRROR

LOG_HAAR_VOLUME = math.log(8 * math.pi**2)
"""Log of the volume of SO(3) under the metric in which rotation vectors are normal coordinates, hence log(8 pi^2)."""

_TINY_SQUARE = 1e-12
"""Squared angle below which a series of second order stands for functions of rotation vectors; what it leaves out is a sixth of that."""


def canonicalize(rotvec: Tensor) -> Tensor:
    """The same rotations with angle <= pi: the whole vector is rescaled, never a component wrapped.

    Longer vectors are reduced in double precision. What double precision tells apart of an angle a is about 1e-16 a, whatever the type of
    the input: 1e-7 rad at 1e9 rad. From 1e16 rad on nothing is left of a turn, and what comes back is a rotation about the same axis by an
    angle that is as good as any other.

    Args:
        rotvec: (..., 3) rotation vectors of any finite length.
    Returns:
        (..., 3). Vectors that are canonical already come back bit for bit; those that hold NaN or inf come back with NaN or inf.
    """
    wrapped = torch.linalg.vector_norm(rotvec.detach(), dim=-1, keepdim=True) > math.pi
    # a constant elsewhere, so that no derivative of any order meets the norm of zero
    vector = torch.where(wrapped, rotvec, torch.ones_like(rotvec)).double()
    if rotvec.dtype == torch.float64:  # the only type whose squares double precision may not hold
        scale = vector.detach().abs().amax(-1, keepdim=True)
        angle = scale * torch.linalg.vector_norm(vector / scale, dim=-1, keepdim=True)
    else:
        angle = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    # fmod is exact, where a product of the number of turns would be off by more than a turn
    rest = torch.fmod(angle.detach(), 2 * math.pi)
    rest = torch.where(rest > math.pi, rest - 2 * math.pi, rest)
    # of the same value, and the derivative of the angle; added up they would lose the rest
    rest = rest + (angle - angle.detach())
    return torch.where(wrapped, (vector * (rest / angle)).to(rotvec.dtype), rotvec)


def to_unitquat(rotvec: Tensor) -> Tensor:
    """`rotvec_to_unitquat`, (..., 3) -> (..., 4), with second derivatives that are right at 0 too, where those of a norm are NaN."""
    tiny, safe, square = _apart_from_zero(rotvec)
    series = torch.cat([rotvec * (0.5 - square / 48), 1 - square / 8], -1)
    return torch.where(tiny, series, conversions.rotvec_to_unitquat(safe))


def to_rotmat(rotvec: Tensor) -> Tensor:
    """`rotvec_to_rotmat`, (..., 3) -> (..., 3, 3), with second derivatives that are right at 0 too."""
    tiny, safe, square = _apart_from_zero(rotvec)
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    outer = rotvec.unsqueeze(-1) * rotvec.unsqueeze(-2)
    eye = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    series = eye + skew + (outer - square.unsqueeze(-1) * eye) / 2
    return torch.where(tiny.unsqueeze(-1), series, conversions.rotvec_to_rotmat(safe))


def _apart_from_zero(rotvec: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which rotations are so small that a series of second order is exact, (..., 1); the vectors with these replaced; their squares."""
    square = rotvec.square().sum(-1, keepdim=True)
    tiny = square < _TINY_SQUARE
    return tiny, torch.where(tiny, torch.ones_like(rotvec), rotvec), square


def log_abs_det_exp(rotvec: Tensor) -> Tensor:
    """log |det| of the exponential map so(3) -> SO(3) at canonical rotation vectors: 2 log(sin(a/2) / (a/2)), a the angle.

    Subtracting it from a log-density over rotation vectors gives one over rotations (Falorsi et al., "Reparameterizing Distributions on
    Lie Groups", AISTATS 2019).

    Args:
        rotvec: (..., 3), angle <= pi.
    Returns:
        (...) in [-0.904, 0].
    """
    square = rotvec.square().sum(-1)
    small = square < 1e-4
    half = torch.where(small, torch.ones_like(square), square).sqrt() / 2
    return torch.where(small, -square / 12 - square.square() / 1440, 2 * torch.log(torch.sin(half) / half))


def haar_correction(rotvec: Tensor) -> Tensor:
    """What to add to a log-density over rotation vectors to have it against normalised Haar measure (the uniform density scores 0).

    Args:
        rotvec: (..., J, 3), angle <= pi.
    Returns:
        (..., J) in nats.
    """
    return LOG_HAAR_VOLUME - log_abs_det_exp(rotvec)


def geodesic_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle in radians between rotation matrices, by atan2, so that its gradient is finite where acos has none.

    Args:
        a, b: (..., 3, 3) rotation matrices that broadcast.
    Returns:
        (...) in [0, pi].
    Raises:
        ValueError: on any other shape, as that of rotation vectors.
    """
    for value in (a, b):
        if value.shape[-2:] != (3, 3):
            raise ValueError(
                f"geodesic_angle takes rotation matrices (..., 3, 3), got {tuple(value.shape)}; of rotation vectors, to_rotmat makes them"
            )
    relative = a.transpose(-1, -2) @ b
    vee = torch.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        -1,
    )
    trace = relative.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(torch.linalg.vector_norm(vee, dim=-1), trace - 1)


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Rotation vectors (..., 3) on the shortest arc from rotations to others, each at a share of its own: RoMa's takes one for all
    (Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985).

    Args:
        a, b: (..., 3) rotation vectors; share: in [0, 1], of shape (..., 1) that broadcasts.
    """
    start, end = conversions.rotvec_to_unitquat(a), conversions.rotvec_to_unitquat(b)
    arc = conversions.unitquat_to_rotvec(conversions.quat_product(conversions.quat_conjugation(start), end))
    between: Tensor = conversions.unitquat_to_rotvec(conversions.quat_product(start, conversions.rotvec_to_unitquat(arc * share)))
    return between


def mean_rotation(rotvec: Tensor) -> Tensor:
    """The rotations that are closest to others by the sum of squared chordal distances (Hartley et al., "Rotation Averaging", IJCV 2013).

    Args:
        rotvec: (N, ..., 3) rotation vectors of any angle.
    Returns:
        (..., 3), the mean over the first dimension. Where several rotations are as close, such as to opposite headings, one of them.
    """
    mean: Tensor = conversions.rotmat_to_rotvec(conversions.special_procrustes(conversions.rotvec_to_rotmat(canonicalize(rotvec)).mean(0)))
    return mean


def between(a: Tensor, b: Tensor) -> Tensor:
    """(..., 3, 3) the smallest rotations that bring unit vectors (..., 3) to others; half a turn across them where they are opposite."""
    eye = torch.eye(3, dtype=a.dtype, device=a.device)
    cosine = (a * b).sum(-1, keepdim=True)
    opposite = cosine < -1 + 1e-6
    across = eye[a.detach().abs().argmin(-1)]
    across = across - (across * a).sum(-1, keepdim=True) * a
    across = across / torch.linalg.vector_norm(across, dim=-1, keepdim=True)
    half_turn = 2 * across[..., :, None] * across[..., None, :] - eye
    x, y, z = torch.linalg.cross(a, b).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    turn = eye + cross + cross @ cross / (1 + torch.where(opposite, 0.0, cosine))[..., None]
    return torch.where(opposite[..., None], half_turn, turn)


NUM_MATRIX_FEATURES = 6
"""Numbers that `matrix_features` gives for each rotation."""


def matrix_features(rotvec: Tensor) -> Tensor:
    """What a network is given of a rotation: the first two columns of its matrix less the identity's, bounded and continuous (Zhou et al.,
    "On the Continuity of Rotation Representations in Neural Networks", CVPR 2019).

    Args:
        rotvec: (..., 3), angle <= pi.
    Returns:
        (..., 6), row by row; zero for the identity.
    """
    return (to_rotmat(rotvec)[..., :2] - torch.eye(3, 2).to(rotvec)).flatten(-2)


def mirror_pose(pose: Tensor) -> Tensor:
    """The pose seen in a mirror: sides swapped, each rotation reflected at the sagittal plane (x kept, y and z negated).

    Args:
        pose: (..., 55, 3) rotation vectors in SMPL-X order.
    """
    return pose[..., list(MIRROR), :] * pose.new_tensor([1.0, -1.0, -1.0])
