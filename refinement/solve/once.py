"""Quantities that follow from what is given alone, and so are worked out once however often terms ask for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, cast

_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


def once(function: Callable[[_Given], _Found]) -> Callable[[_Given], _Found]:
    """A function of a problem, or of a part of one, that remembers its result for each: what is given never changes.

    The result is kept in the argument itself, under the function's name, and goes with it.
    """
    name = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def remembered(given: _Given) -> _Found:
        known = given.__dict__
        if name not in known:
            known[name] = function(given)
        return cast(_Found, known[name])

    return remembered
