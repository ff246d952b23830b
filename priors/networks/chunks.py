"""Rows that are worked on some at a time, which stay in the processor's caches, and several times some side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pose_priors.configs.threads.cores import side_by_side
from pose_priors.priors.networks.precision import is_plain

# Rows that take as long as fewer do.
_LEAST = 16


def gives_numbers(module: nn.Module, x: Tensor) -> bool:
    """Whether what a module makes of x is numbers alone, see `precision.is_plain`, and not of masks of dropout that come one after the
    other, so that chunks of x may be worked on side by side."""
    return not module.training and is_plain(x, *module.parameters())


def by_chunks(
    function: Callable[[Tensor], tuple[Tensor, ...]], groups: Sequence[Tensor], most: int, plain: bool, most_groups: int
) -> list[Tensor]:
    """What a function makes of rows, each result (N, ...) in the order of the rows.

    Args:
        function: of indices (n,) of rows to results (n, ...).
        groups: indices of rows that may be together; of all N in all.
        most: how many rows at most.
        plain: see `gives_numbers`. Then each of torch's threads has chunks of its own: threads that meet at each small product wait for
            each other most of the time.
        most_groups: how many groups at a time.
    """
    threads = torch.get_num_threads() if plain else 1
    threads = threads if len(groups) < 2 else min(threads, most_groups)
    fair = max(_LEAST, -(-sum(len(rows) for rows in groups) // threads))
    chunks = [chunk for rows in groups for chunk in rows.split(max(1, min(most, fair)))]
    found = side_by_side(function, chunks, threads) if threads > 1 else [function(chunk) for chunk in chunks]
    back = torch.cat(chunks).argsort()
    return [torch.cat(parts)[back] for parts in zip(*found, strict=True)]
