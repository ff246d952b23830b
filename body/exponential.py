"""The exponential map of SO(3) with its derivative in closed form: what kinematics and the refinement differentiate most.

Functions of components take them first, vectors (3, ...) and matrices (3, 3, ...), so that every operation runs along contiguous rows.
Derivatives are right Jacobians, `exp(w + d) = exp(w) exp(J d)` (Chirikjian, "Stochastic Models, Information Theory, and Lie Groups", vol.
2, 2012, eq. 10.86), finite at zero.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Added to squared angles before they divide: far below what a square of single precision tells from zero.
_TINY = 1e-30
# Components beyond are cut off, so that squares and what they multiply stay within single precision. Of a turn by so much nothing is left.
_FARTHEST = 1e15


def bounded(rotvec: Tensor) -> Tensor:
    """Rotation vectors of any finite length, with components of at most 1e15 rad, beyond which not even double precision tells one turn
    from the next; what functions here take. NaN and inf become NaN."""
    return torch.add(rotvec.clamp(-_FARTHEST, _FARTHEST), rotvec, alpha=0)


def exponential(rotvec: Tensor) -> Tensor:
    """Rotation matrices (3, 3, ...) of rotation vectors (3, ...) by Rodrigues' formula.

    What single precision tells apart of an angle a is about 1e-7 a: from 1e6 rad on, `rotations.canonicalize` first.
    """
    square, sine, cosine = _sinc_and_versine(rotvec)
    matrix = rotvec[:, None] * (cosine * rotvec)
    x, y, z = sine * rotvec
    diagonal = 1 - cosine * square
    for i in range(3):
        matrix[i, i] += diagonal
    for (row, column), value in {(2, 1): x, (0, 2): y, (1, 0): z}.items():
        matrix[row, column] += value
        matrix[column, row] -= value
    return matrix


def right_jacobian_transposed(rotvec: Tensor, vector: Tensor) -> Tensor:
    """J(rotvec)^T vector, of (3, ...) both: the gradient by a rotation vector from that by what its rotation is turned by."""
    square, sine, cosine = _sinc_and_versine(rotvec)
    once = cross(rotvec, vector)
    return vector + cosine * once + (1 - sine) / square * cross(rotvec, once)


def inverse_right_jacobian_transposed(rotvec: Tensor, vector: Tensor) -> Tensor:
    """J(rotvec)^-T vector, of (3, ...) both; angles below 2 pi."""
    square, sine, cosine = _sinc_and_versine(rotvec)
    once = cross(rotvec, vector)
    return vector - once / 2 + (1 - sine / (2 * cosine)) / square * cross(rotvec, once)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """The cross product of (3, ...) and (3, ...) that broadcast; `torch.linalg.cross` is several times slower along the first dimension."""
    return torch.stack([torch.addcmul(a[i] * b[j], a[j], b[i], value=-1) for i, j in ((1, 2), (2, 0), (0, 1))])


def product(matrix: Tensor, other: Tensor) -> Tensor:
    """(3, 3, ...) times (3, K, ...) that broadcast: (3, K, ...)."""
    first = matrix[:, 0, None] * other[0]
    return torch.addcmul(torch.addcmul(first, matrix[:, 1, None], other[1]), matrix[:, 2, None], other[2])


def applied(matrix: Tensor, vector: Tensor) -> Tensor:
    """(3, 3, ...) times (3, ...) that broadcast: (3, ...)."""
    first = matrix[:, 0] * vector[0]
    return torch.addcmul(torch.addcmul(first, matrix[:, 1], vector[1]), matrix[:, 2], vector[2])


def _sinc_and_versine(rotvec: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the angle a of rotation vectors (3, ...): a^2, sin(a) / a and (1 - cos(a)) / a^2."""
    square = _square(rotvec)
    half = square.sqrt() / 2
    sinc = half.sin() / half
    return square, sinc * half.cos(), sinc * sinc / 2


def _square(vector: Tensor) -> Tensor:
    x, y, z = vector
    return torch.addcmul(torch.addcmul(x * x, y, y), z, z) + _TINY


def turned(start: Tensor, turn: Tensor) -> Tensor:
    """Rotations that turn from where they start, in their own frames, as rotation vectors.

    Args:
        start: (..., 4) unit quaternions, xyzw; constant.
        turn: (..., 3) rotation vectors of any finite length, differentiable.
    Returns:
        (..., 3), canonical: log(start exp(turn)).
    """
    rotvec: Tensor = _Turned.apply(start, turn)  # type: ignore[no-untyped-call]
    return rotvec


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, start: Tensor, turn: Tensor) -> Tensor:
        start, turn = (value.movedim(-1, 0).contiguous() for value in (start, turn))
        turn = bounded(turn)
        half = _square(turn).sqrt() / 2
        cosine, vector = half.cos(), half.sin() / (2 * half) * turn
        # the product of the two quaternions, and its logarithm
        real = start[3] * cosine - (start[:3] * vector).sum(0)
        vector = start[3] * vector + cosine * start[:3] + cross(start[:3], vector)
        sine = _square(vector).sqrt()
        rotvec = vector * (torch.where(real < 0, -2.0, 2.0) * torch.atan2(sine, real.abs()) / sine)
        ctx.save_for_backward(turn, rotvec)
        return rotvec.movedim(0, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        turn, rotvec = ctx.saved_tensors
        moved = inverse_right_jacobian_transposed(rotvec, gradient.movedim(-1, 0).contiguous())
        return None, right_jacobian_transposed(turn, moved).movedim(0, -1)
