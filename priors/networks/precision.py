"""What is computed in which precision: rotations and densities in the prior's own, networks in what autocast asks for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from pose_priors.body.rotations import canonicalize
from pose_priors.priors.networks.derived import is_traced, lasts
from pose_priors.priors.networks.processor import multiplies_bfloat16


class _Module(Protocol):
    training: bool


_M = TypeVar("_M", bound=_Module)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def without_autocast(value: Tensor) -> AbstractContextManager[Any]:
    """A context in which nothing is cast on the device of a tensor."""
    return torch.autocast(value.device.type, enabled=False)


def uncast(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Of a function: nothing in it is cast, whatever autocast is asked for around it."""

    @wraps(function)
    def called(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with ExitStack() as stack:
            for device in ("cpu", "cuda"):
                if torch.is_autocast_enabled(device):
                    stack.enter_context(torch.autocast(device, enabled=False))
            return function(*args, **kwargs)

    return called


def within_range(forward: Callable[Concatenate[_M, Tensor, _P], _R]) -> Callable[Concatenate[_M, Tensor, _P], _R]:
    """Of a network's pass: out of training it is not cast to float16, whose range gradients of energies exceed. In training, whose losses
    are scaled for that, it is."""

    @wraps(forward)
    def passed(self: _M, inputs: Tensor, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        device = inputs.device.type
        if self.training or not torch.is_autocast_enabled(device) or torch.get_autocast_dtype(device) != torch.float16:
            return forward(self, inputs, *args, **kwargs)
        with without_autocast(inputs):
            return forward(self, inputs, *args, **kwargs)

    return passed


def is_plain(value: Tensor, *parameters: Tensor) -> bool:
    """Whether what is made of a value and parameters is numbers alone: on the processor, without a gradient, a transform of torch.func, a
    program that is traced, or casts, which hold in one thread."""
    given = (value, *parameters)
    derived = torch.is_grad_enabled() and any(one.requires_grad for one in given)
    derived = derived or any(unpack_dual(one).tangent is not None for one in given)
    here = value.device.type == "cpu" and lasts(value) and not is_traced()
    return here and not derived and not torch.is_autocast_enabled("cpu")


def without_gradient(value: Tensor, *parameters: Tensor) -> torch.dtype:
    """In what products may be taken of which a value (of any shape) and parameters get no gradient, and of which many are summed: bfloat16,
    whose eight bits the sums even out, where the processor has it; else the type of the value."""
    rounds = value.dtype == torch.float32 and is_plain(value, *parameters) and multiplies_bfloat16()
    return torch.bfloat16 if rounds else value.dtype


def canonical(rotvec: Tensor, dtype: torch.dtype) -> Tensor:
    """Rotation vectors (..., 3) of any length, canonical, in another type; reduced before a wider type is cast, and after a narrower."""
    if torch.finfo(rotvec.dtype).eps < torch.finfo(dtype).eps:
        return canonicalize(rotvec).to(dtype)
    return canonicalize(widened(rotvec, dtype))


def widened(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in another type. The gradient of one in float16 stops at the ends of its range instead of overflowing."""
    if value.dtype != torch.float16 or dtype == torch.float16:
        return value.to(dtype)
    wide: Tensor = _Widened.apply(value, dtype)  # type: ignore[no-untyped-call]
    return wide


class _Widened(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, dtype: torch.dtype) -> Tensor:
        return value.to(dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, torch.dtype], output: Tensor) -> None:
        ctx.dtype = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        end = torch.finfo(torch.float16).max
        return gradient.clamp(-end, end).to(torch.float16), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return tangent.to(ctx.dtype)
