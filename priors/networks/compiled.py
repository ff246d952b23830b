"""Parts of networks that become programs of their own where training asks for it: one pass over memory for many operations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import nn

_IS_ASKED = ContextVar("is_asked", default=False)

_M = TypeVar("_M", bound=nn.Module)
_P = ParamSpec("_P")
_R = TypeVar("_R")

log = logging.getLogger(__name__)


@contextmanager
def compiled() -> Iterator[None]:
    """A block in which `compilable` methods are programs of torch's compiler, made at the first call for shapes that stay."""
    token = _IS_ASKED.set(True)
    try:
        yield
    finally:
        _IS_ASKED.reset(token)


def compilable(method: Callable[Concatenate[_M, _P], _R]) -> Callable[Concatenate[_M, _P], _R]:
    """Of a layer's method: it is compiled within `compiled`, and itself anywhere else. One program serves all layers of the same shapes.

    The layer knows nothing of it: copies of it, its weights' names and its exports stay as they were. Where torch cannot compile, for
    want of a compiler of C++, that is said once, and the method stays itself.
    """
    programs: list[Callable[Concatenate[_M, _P], _R]] = []

    @wraps(method)
    def called(self: _M, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        if not _IS_ASKED.get():
            return method(self, *args, **kwargs)
        if not programs:
            programs.append(torch.compile(method, dynamic=False, fullgraph=True))
        try:
            return programs[0](self, *args, **kwargs)
        except Exception as error:
            from torch._dynamo.exc import TorchDynamoException  # torch's compiler, whose import only those wait for who ask for it

            if not isinstance(error, TorchDynamoException):
                raise
            programs[0] = method
            log.warning("training.compile: goes on without, for torch cannot compile here: %s", str(error).strip().splitlines()[0])
            return method(self, *args, **kwargs)

    return called
