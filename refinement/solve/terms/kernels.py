"""What loss terms are built of, with gradients in closed form: each costs one step of the chain rule instead of five."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable


def squared_norm(vectors: Tensor) -> Tensor:
    """Squared lengths (...) of vectors (..., D)."""
    return _applied(_SquaredNorm, vectors)


def differences(values: Tensor, order: int = 1) -> Tensor:
    """First or second differences along time, (P, T, ...) -> (P, T - order, ...)."""
    return _applied(_Differences, values, order)


def means_of_spans(values: Tensor, frames: int) -> Tensor:
    """The mean of each so many neighbouring frames that reach into (P, T, N), with zeros beyond its ends: (P, T + frames - 1, N)."""
    return _applied(_MeansOfSpans, values, frames)


def geman_mcclure(square: Tensor, bound: Tensor | float) -> Tensor:
    """Half of a square, saturating at `bound` / 2 (Geman & McClure, "Statistical Methods for Tomographic Image Reconstruction", 1987).

    Args:
        square: differentiable.
        bound: constant; broadcasts.
    """
    return _applied(_GemanMcClure, square, bound)


def geman_mcclure_weight(square: Tensor, bound: Tensor | float) -> Tensor:
    """Twice the slope of `geman_mcclure` along the square: what a residual weighs in iteratively reweighted least squares."""
    return (bound / (square + bound)).square()


def sums_of_neighbours(values: Tensor, frames: int) -> Tensor:
    """The sum of each so many neighbouring frames of (P, T, N): (P, T - frames + 1, N); without a gradient."""
    count = values.shape[1] - frames + 1
    total = values[:, :count].clone()
    for first in range(1, frames):
        total += values[:, first : first + count]
    return total


def student_t(square: Tensor, freedom: float, dimensions: int) -> Tensor:
    """Minus the log-density of a multivariate Student t, less its constant; `square` is in squared scales."""
    return _applied(_StudentT, square, freedom, dimensions)


def student_t_weight(square: Tensor, freedom: float, dimensions: int) -> Tensor:
    """Twice the slope of `student_t` along the square, see `geman_mcclure_weight`."""
    return (freedom + dimensions) / (freedom + square)


def _applied(function: type[Function], *arguments: Tensor | float) -> Tensor:
    apply: Callable[..., Tensor] = function.apply
    return apply(*arguments)


class _SquaredNorm(Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        ctx.save_for_backward(vectors)
        first, *others = vectors.unbind(-1)  # torch's sums along a few numbers each take as long as ten products
        total = first * first
        for each in others:
            total += each * each
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        vectors: Tensor = ctx.saved_tensors[0]
        return vectors * (2 * gradient)[..., None]


class _Differences(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, order: int) -> Tensor:
        ctx.order = order
        if order == 1:
            return values[:, 1:] - values[:, :-1]
        return (values[:, 2:] + values[:, :-2]).sub_(values[:, 1:-1], alpha=2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        people, frames, *rest = gradient.shape
        out = gradient.new_zeros(people, frames + ctx.order, *rest)
        out[:, ctx.order :] = gradient
        if ctx.order == 1:
            out[:, :-1] -= gradient
        else:
            out[:, :-2] += gradient
            out[:, 1:-1].sub_(gradient, alpha=2)
        return out, None


class _MeansOfSpans(Function):
    """By sums of shifted frames: torch's pooling takes several times as long."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, frames: int) -> Tensor:
        ctx.frames = frames
        people, count, *rest = values.shape
        total = values.new_zeros(people, count + frames - 1, *rest)
        for first in reversed(range(frames)):
            total[:, first : first + count] += values
        return total.div_(frames)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return sums_of_neighbours(gradient / ctx.frames, ctx.frames), None


class _GemanMcClure(Function):
    @staticmethod
    def forward(ctx: Any, square: Tensor, bound: Tensor | float) -> Tensor:
        share = bound / (square + bound)
        ctx.save_for_backward(share)
        return 0.5 * square * share

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (share,) = ctx.saved_tensors
        return gradient * (0.5 * share * share), None


class _StudentT(Function):
    @staticmethod
    def forward(ctx: Any, square: Tensor, freedom: float, dimensions: int) -> Tensor:
        ctx.save_for_backward(square)
        half = 0.5 * (freedom + dimensions)
        ctx.freedom, ctx.half = freedom, half
        return half * torch.log1p(square / freedom)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (square,) = ctx.saved_tensors
        return gradient * (ctx.half / (ctx.freedom + square)), None, None
