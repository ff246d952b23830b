"""What a pickle may name, and what such names leave open until a state comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

import numpy as np


class Reading(Protocol):
    """A pickle that is being read: what names and states may use of the machine that reads it.

    Attributes:
        stream: the whole pickle, at the place behind the operation.
        room: bytes that arrays may still take.
        nested: how many pickles are around this one.
    """

    stream: BytesIO
    room: int
    nested: int

    def take(self, num_bytes: int) -> None:
        """Takes bytes for an array. Raises `ValueError` if the file does not bring as many."""

    def blank(self, fill: Callable[[Any, np.ndarray, Any], None]) -> np.ndarray:
        """An array whose state comes later, once, and is then given to `fill`."""


class RefusedError(Exception):
    """A pickle names what is not allowed."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a pickle may name.

    Attributes:
        name: module and name.
        make: called with the machine and the pickle's arguments; None for what may be named but not called.
    """

    name: str
    make: Callable[..., Any] | None = None


class Mark:
    """Where the items of a container begin on the stack; no value either."""

    __slots__ = ()


class Unfinished:
    """What a function left open until its state comes; no value of a finished pickle."""

    __slots__ = ()

    def set_state(self, machine: Reading, state: Any) -> Any:
        """Takes the state, and returns what stands in its place from then on."""
        raise ValueError(f"the state of {type(self).__name__}")
