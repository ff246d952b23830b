"""Small matrices and tensors, of which a refinement has thousands: one thread does them sooner than several that wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from threading import Lock, local
from typing import ParamSpec, TypeVar

import scipy.linalg  # noqa: F401 - with numpy, so that the libraries of both are there when they are looked for
import torch
from threadpoolctl import OpenBLASController, ThreadpoolController

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


@cache
def _libraries() -> ThreadpoolController:
    """Those behind numpy and scipy. Torch's own is not among them, and asked for its threads by itself."""
    return ThreadpoolController()


def _let_any_thread_set_limits() -> None:
    """From 3.8 on, threadpoolctl lets the Python thread that set a limit first set others, and silently ignores all other threads."""
    if (clear := getattr(OpenBLASController, "clear_controlling_thread", None)) is not None:
        clear(force=True)


class _Limit:
    """The limit of the whole process, as long as one call at least needs it: calls of several Python threads may overlap, and the last that
    ends gives back what the first one found."""

    def __init__(self) -> None:
        self._calls, self._lock, self._here = 0, Lock(), local()

    @contextmanager
    def held(self) -> Iterator[None]:
        if getattr(self._here, "held", False):  # by a call around this one
            yield
            return
        self._here.held = True
        with self._lock:
            if not self._calls:
                _let_any_thread_set_limits()
                self._limiter = _libraries().limit(limits=1, user_api="blas")
                self._torch = torch.get_num_threads()
            own = torch.get_num_threads()  # each Python thread has its own number; one that begins now is given that of the last call
            self._calls += 1
        torch.set_num_threads(1)
        try:
            yield
        finally:
            self._here.held = False
            with self._lock:
                torch.set_num_threads(own if own > 1 else self._torch)
                self._calls -= 1
                if not self._calls:
                    _let_any_thread_set_limits()
                    self._limiter.restore_original_limits()
                    _let_any_thread_set_limits()


_LIMIT = _Limit()


def in_one_thread(function: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
    """A function whose products and factors of numpy, scipy and torch run in the thread that asks for them; afterwards all is as it was.

    The blocks of a factor and of an inverse follow one by one, each some hundred numbers wide: two threads that meet at every one took
    fifty times as long as one does, where something else ran beside them.
    """

    @wraps(function)
    def limited(*args: _Given.args, **named: _Given.kwargs) -> _Found:
        with _LIMIT.held():
            return function(*args, **named)

    return limited
