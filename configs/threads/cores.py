"""Work on several things at a time, in Python threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


def num_cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(function: Callable[[_Item], _Found], items: Sequence[_Item], at_once: int | None = None) -> list[_Found]:
    """What a function makes of each, `at_once` at a time, by default as many as there are cores. It is worth it where most of the time is
    spent in products and factors that let go of Python's lock. Torch has one thread in each, and no gradient is kept.

    Raises:
        Exception: the first that the function raises, once all that had begun are done.
    """
    workers = min(num_cores() if at_once is None else at_once, len(items))
    if workers < 2:
        with torch.no_grad():
            return [function(item) for item in items]
    own = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(torch.no_grad()(function), items))
    finally:
        torch.set_num_threads(own)  # threads that begin later are given the number of the last call
