"""A bar over many sequences, videos or files."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def progress_bar(disable: bool) -> Iterator[Progress]:
    """A bar over what is done one after the other. What is logged meanwhile goes above it."""
    # here, since not every command shows one
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    streams = [h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler) and h.stream is sys.stderr]
    with Progress(*columns, console=Console(stderr=True), disable=disable) as progress:
        before = [handler.setStream(sys.stderr) for handler in streams]  # the bar has put itself before it
        try:
            yield progress
        finally:
            for handler, stream in zip(streams, before, strict=True):
                if stream is not None:
                    handler.setStream(stream)
