"""The exponential map of SO(3) with its derivative in closed form: what kinematics and the refinement differentiate most.

Functions of components take them first, vectors (3, ...) and matrices (3, 3, ...), so that every operation runs along contiguous rows.
Derivatives are right Jacobians, `exp(w + d) = exp(w) exp(J d)` (Chirikjian, "Stochastic Models, Information Theory, and Lie Groups", vol.
2, 2012, eq. 10.86), finite at zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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


def exponential(rotvec: Tensor, at: Angles | None = None) -> Tensor:
    """Rotation matrices (3, 3, ...) of rotation vectors (3, ...) by Rodrigues' formula; `at` are their angles, where they are known.

    What single precision tells apart of an angle a is about 1e-7 a: from 1e6 rad on, `rotations.canonicalize` first.
    """
    square, sine, versine = at or angles(rotvec)
    matrix = rotvec[:, None] * (versine * rotvec)
    entries = matrix.flatten(0, 1)
    entries[::4].add_(1 - versine * square)
    for value, below, above in zip((sine * rotvec).unbind(), (7, 2, 3), (5, 6, 1), strict=True):
        entries[below].add_(value)
        entries[above].sub_(value)
    return matrix


def right_jacobian_transposed(rotvec: Tensor, vector: Tensor, at: Angles | None = None) -> Tensor:
    """J(rotvec)^T vector, of (3, ...) both: the gradient by a rotation vector from that by what its rotation is turned by; `at` are the
    angles of the former, where they are known."""
    square, sine, versine = at or angles(rotvec)
    once = cross(rotvec, vector)
    return vector + versine * once + (1 - sine) / square * cross(rotvec, once)


def inverse_right_jacobian_transposed(rotvec: Tensor, vector: Tensor) -> Tensor:
    """J(rotvec)^-T vector, of (3, ...) both; angles below 2 pi."""
    square, sine, versine = angles(rotvec)
    once = cross(rotvec, vector)
    return vector - once / 2 + (1 - sine / (2 * versine)) / square * cross(rotvec, once)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """The cross product of (3, ...) and (3, ...) that broadcast; `torch.linalg.cross` is several times slower along the first dimension."""
    (x, y, z), (u, v, w) = a.unbind(), b.unbind()
    return torch.stack([torch.addcmul(c * f, d, e, value=-1) for c, d, e, f in ((y, z, v, w), (z, x, w, u), (x, y, u, v))])


def product(matrix: Tensor, other: Tensor) -> Tensor:
    """(3, 3, ...) times (3, K, ...) that broadcast: (3, K, ...)."""
    return applied(matrix[:, :, None], other)


def applied(matrix: Tensor, vector: Tensor) -> Tensor:
    """(3, 3, ...) times (3, ...) that broadcast: (3, ...)."""
    (x, y, z), (u, v, w) = matrix.unbind(1), vector.unbind()
    return torch.addcmul(torch.addcmul(x * u, y, v), z, w)


class Angles(NamedTuple):
    """Of the angle a of rotation vectors (3, ...), each (...).

    Attributes:
        square: a^2.
        sine: sin(a) / a.
        versine: (1 - cos(a)) / a^2.
    """

    square: Tensor
    sine: Tensor
    versine: Tensor


def angles(rotvec: Tensor) -> Angles:
    """Those of rotation vectors (3, ...)."""
    square = _square(rotvec)
    half = square.sqrt() / 2
    return _angles(square, half.sin() / half, half.cos())


def _angles(square: Tensor, sinc: Tensor, cosine: Tensor) -> Angles:
    """Of angles of such squares, and of half of them sin(a / 2) / (a / 2) and cos(a / 2)."""
    return Angles(square, sinc * cosine, sinc * sinc / 2)


def _square(vector: Tensor) -> Tensor:
    x, y, z = vector.unbind()
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
        square = _square(turn)
        half = square.sqrt() / 2
        cosine, sinc = half.cos(), half.sin() / half
        vector = sinc / 2 * turn
        # the product of the two quaternions, and its logarithm
        real = start[3] * cosine - (start[:3] * vector).sum(0)
        vector = start[3] * vector + cosine * start[:3] + cross(start[:3], vector)
        sine = _square(vector).sqrt()
        rotvec = vector * (torch.where(real < 0, -2.0, 2.0) * torch.atan2(sine, real.abs()) / sine)
        ctx.save_for_backward(turn, rotvec, *_angles(square, sinc, cosine))
        return rotvec.movedim(0, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        turn, rotvec, *of_turn = ctx.saved_tensors
        moved = inverse_right_jacobian_transposed(rotvec, gradient.movedim(-1, 0).contiguous())
        return None, right_jacobian_transposed(turn, moved, Angles(*of_turn)).movedim(0, -1)
