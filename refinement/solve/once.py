"""Quantities that follow from what is given alone, and so are worked out once however often terms ask for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, TypeVarTuple, cast

_Given = TypeVar("_Given")
_Numbers = TypeVarTuple("_Numbers")
_Found = TypeVar("_Found")


def once(function: Callable[[_Given, *_Numbers], _Found]) -> Callable[[_Given, *_Numbers], _Found]:
    """A function of a problem, or of a part of one, and maybe of numbers, that remembers its result for each: what is given never changes.

    The results are kept in the first argument itself, under the function's name, and go with it.
    """
    name = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def remembered(given: _Given, *numbers: *_Numbers) -> _Found:
        known = given.__dict__.setdefault(name, {})
        if numbers not in known:
            known[numbers] = function(given, *numbers)
        return cast(_Found, known[numbers])

    return remembered
