"""Gradients that are taken on the way forward, so that a sum of many terms keeps the graph of only one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class EagerGradient(torch.autograd.Function):
    """A function of rows (*batch, D) -> (*batch,), each of its own row alone, whose gradient is worked out beside its values.

    Only x has a gradient, so whatever else the function depends on must be frozen. There are no second derivatives: asking for them
    raises RuntimeError.
    """

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
