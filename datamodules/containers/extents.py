"""How large and how deep the content of a pickle is to whoever goes through it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from pose_priors.datamodules.containers.named import Mark, Named, Unfinished

_MOST_DEPTH = 64
_CONTAINERS = (list, tuple, dict, set, frozenset)


def check_extent(root: Any, most: int) -> None:
    """Raises `ValueError` for what is nested deeply or in itself, or would be larger than `most` bytes if nothing were shared: a list of
    the same list, many times over, is small here and large to whoever goes through it."""
    extents: dict[int, tuple[int, int]] = {}  # bytes and depth of the containers that are done
    entered: set[int] = set()  # those on the way from the root to here
    waiting = [root]
    while waiting:
        here = waiting[-1]
        if id(here) in extents:
            waiting.pop()
            continue
        inner = [part for part in _parts(here) if isinstance(part, _CONTAINERS) or _is_objects(part)]
        if id(here) not in entered:
            entered.add(id(here))
            ahead = [part for part in inner if id(part) not in extents]
            if any(id(part) in entered for part in ahead):
                raise ValueError("a container that holds itself")
            if ahead:
                waiting += ahead
                if len(entered) > _MOST_DEPTH:
                    raise ValueError(f"containers in containers, more than {_MOST_DEPTH} deep")
                continue
        size = sum(_bytes(part) for part in _parts(here)) + sum(extents[id(part)][0] for part in inner)
        depth = 1 + max((extents[id(part)][1] for part in inner), default=0)
        if size > most or depth > _MOST_DEPTH:
            raise ValueError("containers that hold the same too many times, or are too deep")
        extents[id(here)] = size, depth
        entered.discard(id(here))
        waiting.pop()


def _is_objects(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.hasobject


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif _is_objects(value):
        yield from value.reshape(-1).tolist()
    else:
        yield value


def _bytes(value: Any) -> int:
    """Of what is no container, its own; of others, that of naming it. Raises `ValueError` for what is no value."""
    if isinstance(value, Unfinished | Named | Mark):
        raise ValueError(f"{getattr(value, 'name', type(value).__name__)} where a value is expected")
    if isinstance(value, str | bytes | bytearray):
        return 8 + len(value)
    if isinstance(value, np.ndarray):
        return 8 + value.nbytes
    if isinstance(value, torch.Tensor):
        return 8 + math.prod(value.shape) * value.element_size()
    return 8
