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
    values: Tensor = _EagerGradient.apply(x, function)  # type: ignore[no-untyped-call]
    return values


class _EagerGradient(torch.autograd.Function):
    """See `eagerly`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            values = function(point)
            ctx.save_for_backward(*torch.autograd.grad(values.sum(), point))
        return values.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():
            raise RuntimeError("there are no second derivatives of so many poses at once, whose gradient is taken eagerly; give fewer")
        return grad.unsqueeze(-1) * ctx.saved_tensors[0], None
