"""Constants of buffers that are worked out once, not in every forward pass, and not in programs that are traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.utils._python_dispatch import _disable_current_modes

_IS_TRACED = ContextVar("is_traced", default=False)


@contextmanager
def traced() -> Iterator[None]:
    """A block in which operations are recorded, to become a program that runs without this project."""
    token = _IS_TRACED.set(True)
    try:
        yield
    finally:
        _IS_TRACED.reset(token)


def is_traced() -> bool:
    """Whether this is such a block: gradients are then those of the operations, not ours in closed form."""
    return torch.compiler.is_compiling() or _IS_TRACED.get()  # the compiler takes the first for a constant, and cannot read the second


def at_once() -> AbstractContextManager[object]:
    """A block whose results are constants of a program that is being traced: numbers may be read from them."""
    return _disable_current_modes()


def lasts(*results: Tensor) -> bool:
    """Whether tensors may be kept: what is made within a transform of torch.func belongs to it, and fails after it."""
    return not any(is_functorch_wrapped_tensor(result) for result in results)


def version_of(value: Tensor) -> int:
    """Which changes when a tensor is written to; -1 always for one that was made in inference mode, which has none."""
    return -1 if value.is_inference() else value._version


class Derived:
    """What a function makes of a buffer, worked out anew only when the buffer has changed, moved or been replaced.

    Inverses and determinants of a prior's constants cost more than the rest of what they are used in, and on a GPU each makes the
    processor wait for it. Changes that go round the version counter of a tensor, as through `.data`, are not seen.

    Args:
        function: of the buffer in double precision; its results are constants, without gradients.
    """

    def __init__(self, function: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
        self._function = function
        self._known: tuple[Tensor, int, tuple[Tensor, ...]] | None = None

    def of(self, buffer: Tensor) -> tuple[Tensor, ...]:
        """The results for a buffer, in double precision on its device."""
        version = version_of(buffer)
        if self._known is not None and self._known[0] is buffer and self._known[1] == version >= 0:
            return self._known[2]
        with at_once(), torch.inference_mode(False), torch.no_grad():  # what is kept may serve in training later
            results = self._function(buffer.double())
        if lasts(*results):
            self._known = (buffer, version, results)
        return results
