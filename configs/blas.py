"""Small matrices, of which a refinement has thousands: one thread of BLAS does them sooner than several that wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import scipy.linalg  # noqa: F401 - with numpy, so that the libraries of both are there when they are looked for
from threadpoolctl import ThreadpoolController

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


@cache
def _libraries() -> ThreadpoolController:
    """Those behind numpy and scipy. Torch's own is not among them."""
    return ThreadpoolController()


def in_one_thread(function: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
    """A function whose products and factors of numpy and scipy run in the thread that asks for them; afterwards all is as it was.

    LAPACK's factor of a band works block by block, and the blocks of an inverse follow one by one, each some hundred numbers wide: two
    threads that meet at every one took fifty times as long as one does, where something else ran beside them.
    """

    @wraps(function)
    def limited(*args: _Given.args, **named: _Given.kwargs) -> _Found:
        with _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **named)

    return limited
