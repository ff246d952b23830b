"""Conversions of rotations, as RoMa's to the bit, their gradients too, without its import: that loads torch's compiler, which takes as long
as a short clip.

After RoMa, (c) 2020 NAVER Corp., 3-Clause BSD (Bregier, "Deep Regression on Manifolds: A 3D Rotation Case Study", 3DV 2021). Rotation
vectors (..., 3) are axis times angle in radians, unit quaternions (..., 4) have their real part last, matrices are (..., 3, 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_SMALL_ANGLE = 1e-6  # radians below which a matrix is that of first order


def quat_conjugation(quat: Tensor) -> Tensor:
    """The inverse rotations, (..., 4)."""
    inverse = quat.clone()
    inverse[..., :3] *= -1
    return inverse


def quat_product(p: Tensor, q: Tensor) -> Tensor:
    """(..., 4) the rotations `q`, and then `p`, which broadcast."""
    p, q = torch.broadcast_tensors(p, q)
    vector = p[..., None, 3] * q[..., :3] + q[..., None, 3] * p[..., :3] + torch.cross(p[..., :3], q[..., :3], dim=-1)
    last = p[..., 3] * q[..., 3] - torch.sum(p[..., :3] * q[..., :3], dim=-1)
    return torch.cat((vector, last[..., None]), dim=-1)


def rotvec_composition(sequence: Sequence[Tensor]) -> Tensor:
    """(..., 3) the rotations of at least two, the last of them first."""
    product = rotvec_to_unitquat(sequence[0])
    for rotvec in sequence[1:]:
        product = quat_product(product, rotvec_to_unitquat(rotvec))
    return unitquat_to_rotvec(product)


def rotvec_to_unitquat(rotvec: Tensor) -> Tensor:
    """(..., 3) -> (..., 4)."""
    flat = rotvec.reshape(-1, 3)
    norm = _length(flat)
    quat = torch.cat(((_sinc(norm / 2) / 2.0)[:, None] * flat, torch.cos(norm / 2)[:, None]), dim=-1)
    return quat.reshape(*rotvec.shape[:-1], 4)


def unitquat_to_rotvec(quat: Tensor) -> Tensor:
    """(..., 4) -> (..., 3), of angles of at most pi."""
    flat = quat.reshape(-1, 4)
    flat = flat * ((flat[:, 3] > 0).to(flat.dtype) * 2.0 - 1.0)[:, None]
    half = torch.atan2(_length(flat[:, :3]), flat[:, 3])
    return ((2.0 * _inverse_sinc(half))[:, None] * flat[:, :3]).reshape(*quat.shape[:-1], 3)


def rotmat_to_unitquat(rotmat: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 4), of length one also of matrices that are only nearly rotations (Markley, "Unit Quaternion from Rotation
    Matrix", Journal of Guidance, Control, and Dynamics 2008): of the four multiples of it, that by its largest part."""
    (a11, a12, a13), (a21, a22, a23), (a31, a32, a33) = (row.unbind(-1) for row in rotmat.transpose(-1, -2).unbind(-2))
    rows = (
        (1 + a11 - a22 - a33, a12 + a21, a13 + a31, a23 - a32),
        (a21 + a12, 1 + a22 - a33 - a11, a23 + a32, a31 - a13),
        (a31 + a13, a32 + a23, 1 + a33 - a11 - a22, a12 - a21),
        (a23 - a32, a31 - a13, a12 - a21, 1 + a11 + a22 + a33),
    )
    multiples = torch.stack([entry for row in rows for entry in row], dim=-1).unflatten(-1, (4, 4))
    largest = multiples.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    found = torch.gather(multiples, -2, largest[..., None, None].expand(*largest.shape, 1, 4))[..., 0, :]
    return found / _length(found, keepdim=True)


def rotmat_to_rotvec(rotmat: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 3), of angles of at most pi."""
    return unitquat_to_rotvec(rotmat_to_unitquat(rotmat))


def rotvec_to_rotmat(rotvec: Tensor) -> Tensor:
    """(..., 3) -> (..., 3, 3), by Rodrigues' formula."""
    flat = rotvec.reshape(-1, 3)
    angle = _length(flat)
    axis = flat / torch.clamp_min(angle[..., None], _SMALL_ANGLE)  # finite where it is not used
    kx, ky, kz = axis[:, 0], axis[:, 1], axis[:, 2]
    sine = torch.sin(angle)
    rest = 1 - torch.cos(angle)
    xs, ys, zs = kx * sine, ky * sine, kz * sine
    xyc, xzc, yzc = kx * ky * rest, kx * kz * rest, ky * kz * rest
    xxc, yyc, zzc = kx**2 * rest, ky**2 * rest, kz**2 * rest
    full = (1 - yyc - zzc, xyc - zs, xzc + ys, xyc + zs, 1 - xxc - zzc, -xs + yzc, xzc - ys, xs + yzc, 1 - xxc - yyc)
    x, y, z = flat[:, 0], flat[:, 1], flat[:, 2]
    one = torch.ones_like(x)
    first_order = torch.stack([one, -z, y, z, one, -x, -y, x, one], dim=-1).reshape(-1, 3, 3)
    found = torch.where((angle < _SMALL_ANGLE)[:, None, None], first_order, torch.stack(full, dim=-1).reshape(-1, 3, 3))
    return found.reshape(*rotvec.shape[:-1], 3, 3)


def special_procrustes(matrix: Tensor) -> Tensor:
    """(..., 3, 3) the rotations that are nearest to matrices, by RoMa itself."""
    import roma  # what it takes to load, see above, only where there is something to project

    found: Tensor = roma.special_procrustes(matrix)
    return found


def _length(vector: Tensor, *, keepdim: bool = False) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(vector, dim=-1, keepdim=keepdim)
    return found


def _few(x: Tensor) -> float:
    """Below it a series of two terms has the better derivative, above it the function itself."""
    return float(2.0 * torch.finfo(x.dtype).eps ** (1 / 6))


def _sinc(x: Tensor) -> Tensor:
    """sin(x) / x."""
    small = torch.abs(x) < _few(x)
    return torch.where(small, 1 - x**2 / 6 + x**4 / 120, torch.sin(x) / torch.where(small, torch.ones_like(x), x))


def _inverse_sinc(x: Tensor) -> Tensor:
    """x / sin(x)."""
    small = torch.abs(x) < _few(x)
    return torch.where(small, 1 + x**2 / 6 + 7 * x**4 / 360, x / torch.where(small, torch.ones_like(x), torch.sin(x)))
