"""What follows from tensors, worked out once and kept until they change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from threading import RLock
from typing import Any, TypeVar

from torch import Tensor

from pose_priors.priors.networks.derived import lasts, version_of

_T = TypeVar("_T")
# Of all that is kept: several threads may ask. A process that was forked has one of its own, as a thread that it has not may hold this one.
_LOCK = [RLock()]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _LOCK.__setitem__(0, RLock()))


class Kept:
    """The latest few results by their keys, each until a tensor it follows from is another one, or was written to. Changes that go round
    the version counter of a tensor, as through `.data`, or to one that was made in inference mode, are not seen. Copies work out their own.

    Args:
        most: results that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[Any, tuple[list[tuple[Tensor, int]], Any]] = {}

    def get(self, key: Any, of: Iterable[Tensor], made: Callable[[], _T], sample: Callable[[_T], Tensor]) -> _T:
        """The result of a key, worked out anew if it is not among those kept.

        Args:
            of: the tensors that it follows from.
            made: how it is worked out.
            sample: a tensor of it; what is made within a transform of torch.func is not kept.
        """
        with _LOCK[0]:
            now = [(tensor, version_of(tensor)) for tensor in of]
            before, known = self._known.pop(key, ([], None))
            if known is not None and len(now) == len(before) and all(a is b and v == w for (a, v), (b, w) in zip(now, before, strict=True)):
                value: _T = known
            else:
                value = made()
                if not lasts(sample(value)):
                    return value
                if len(self._known) >= self._most:
                    del self._known[next(iter(self._known))]
            self._known[key] = now, value  # the last to go
            return value

    def forget(self) -> None:
        """All."""
        self._known = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_most": self._most, "_known": {}}
