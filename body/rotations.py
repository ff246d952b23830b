"""What this project needs of SO(3) and RoMa does not offer.

A rotation vector is axis times angle, in radians, last dimension 3; canonical means angle <= pi. Everything here is finite with finite
gradients at 0, at pi and beyond.
"""

from __future__ import annotations

import math

import roma
import torch
from torch import Tensor

from pose_priors.body.skeleton import MIRROR

LOG_HAAR_VOLUME = math.log(8 * math.pi**2)
"""Log of the volume of SO(3) under the metric in which rotation vectors are normal coordinates, hence log(8 pi^2)."""


def canonicalize(rotvec: Tensor) -> Tensor:
    """The same rotations with angle <= pi: the whole vector is rescaled, never a component wrapped.

    Args:
        rotvec: (..., 3) rotation vectors of any length.
    Returns:
        (..., 3). Vectors that are canonical already come back bit for bit.
    """
    angle = torch.linalg.vector_norm(rotvec, dim=-1, keepdim=True)
    turns = torch.round(angle / (2 * math.pi))
    wrapped = (turns > 0) | (angle > math.pi)
    # just above pi the division may still round to half a turn, which `round` takes down to zero turns
    turns = torch.where(wrapped, turns.clamp_min(1), turns)
    safe = torch.where(wrapped, angle, torch.ones_like(angle))
    return torch.where(wrapped, rotvec * (1 - 2 * math.pi * turns / safe), rotvec)


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
    """
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
    start, end = roma.rotvec_to_unitquat(a), roma.rotvec_to_unitquat(b)
    arc = roma.unitquat_to_rotvec(roma.quat_product(roma.quat_conjugation(start), end))
    between: Tensor = roma.unitquat_to_rotvec(roma.quat_product(start, roma.rotvec_to_unitquat(arc * share)))
    return between


def mean_rotation(rotvec: Tensor) -> Tensor:
    """The rotations that are closest to others by the sum of squared chordal distances (Hartley et al., "Rotation Averaging", IJCV 2013).

    Args:
        rotvec: (N, ..., 3) rotation vectors of any angle.
    Returns:
        (..., 3), the mean over the first dimension. Where several rotations are as close, such as to opposite headings, one of them.
    """
    mean: Tensor = roma.rotmat_to_rotvec(roma.special_procrustes(roma.rotvec_to_rotmat(rotvec).mean(0)))
    return mean


def between(a: Tensor, b: Tensor) -> Tensor:
    """(3, 3) the smallest rotation that brings a unit vector (3,) to another; half a turn across them if they are opposite."""
    axis, cosine = torch.linalg.cross(a, b), a @ b
    if cosine < -1 + 1e-6:
        across = torch.zeros_like(a)
        across[a.detach().abs().argmin()] = 1
        across = across - (across @ a) * a
        across = across / torch.linalg.vector_norm(across)
        return 2 * torch.outer(across, across) - torch.eye(3).to(a)
    x, y, z = axis
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    return torch.eye(3).to(a) + cross + cross @ cross / (1 + cosine)


NUM_MATRIX_FEATURES = 6
"""Numbers that `matrix_features` gives for each rotation."""


def matrix_features(rotvec: Tensor) -> Tensor:
    """What a network is given of a rotation: the first two columns of its matrix less the identity's, bounded and continuous (Zhou et al.,
    "On the Continuity of Rotation Representations in Neural Networks", CVPR 2019).

    Args:
        rotvec: (..., 3) of any angle.
    Returns:
        (..., 6), row by row; zero for the identity.
    """
    rotmat: Tensor = roma.rotvec_to_rotmat(rotvec)
    return (rotmat[..., :2] - torch.eye(3, 2).to(rotvec)).flatten(-2)


def mirror_pose(pose: Tensor) -> Tensor:
    """The pose seen in a mirror: sides swapped, each rotation reflected at the sagittal plane (x kept, y and z negated).

    Args:
        pose: (..., 55, 3) rotation vectors in SMPL-X order.
    """
    return pose[..., list(MIRROR), :] * pose.new_tensor([1.0, -1.0, -1.0])
