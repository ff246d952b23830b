"""Gradients that are taken on the way forward, so that a sum of many terms keeps the graph of only one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def eagerly(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A function of rows, each of its own row alone: (*batch, D) -> (*batch,). Its gradient is worked out beside its values.

    Only x has a gradient, so whatever else the function depends on must be frozen. There are no second derivatives: asking for them
    raises RuntimeError.
    """
    values: Tensor = _EagerGradient.apply(x, function)[0]  # type: ignore[no-untyped-call]
    return values


class _EagerGradient(torch.autograd.Function):
    """See `eagerly`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            values, pull = torch.func.vjp(function, x.detach())[:2]
            (gradient,) = pull(torch.ones_like(values))
        return values.detach(), gradient.detach()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None]:
        product: Tensor = _Once.apply(grad, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return product, None


class _Once(torch.autograd.Function):
    """Gradients of rows times those of what comes after."""

    generate_vmap_rule = True

    @staticmethod
    def forward(after: Tensor, gradient: Tensor) -> Tensor:
        return after.unsqueeze(-1) * gradient

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Nothing is kept, for nothing is differentiated."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        raise RuntimeError("there are no second derivatives of so many poses at once, whose gradient is taken eagerly; give fewer")
