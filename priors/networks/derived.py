"""Constants of buffers that are worked out once, not in every forward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor


def lasts(*results: Tensor) -> bool:
    """Whether tensors may be kept: what is made within a transform of torch.func belongs to it, and fails after it."""
    return not any(is_functorch_wrapped_tensor(result) for result in results)


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
        # a tensor made in inference mode has no version
        version = -1 if buffer.is_inference() else buffer._version
        if self._known is not None and self._known[0] is buffer and self._known[1] == version >= 0:
            return self._known[2]
        with torch.inference_mode(False), torch.no_grad():  # what is kept may serve in training later
            results = self._function(buffer.double())
        if lasts(*results):
            self._known = (buffer, version, results)
        return results
