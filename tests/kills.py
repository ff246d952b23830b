"""Processes that are killed before a given one of their changes to the file system.

So many kills there are: training 14, the refinement of one sequence 7 and of many 9, export 48 (AMASS 17, BVH 17, glTF 14), record 1,
evaluate 2 and evaluate --scene 2, the cache 4, clean 6, score 6: 99 of commands. The built-in sequence adds 135, and
`configs/test_exchange.py` those of the exchange itself. Each test asserts its least number.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import torch

from pose_priors.configs import exchange

RENAMES = ("replace", "rename")
CHANGES = (*RENAMES, "link", "mkdir", "rmdir", "unlink")


def killed_at(number: int, act: Callable[[], Any], changes: Sequence[str] = RENAMES) -> bool:
    """Runs `act` in a child that is killed before that one of its changes, counted from 1; False if it has fewer, and ended by itself."""
    pid = os.fork()
    if not pid:
        torch.set_num_threads(1)  # the threads of OpenMP do not survive a fork
        done = 0

        def counted(change: Callable[..., Any]) -> Callable[..., Any]:
            def call(*given: Any, **options: Any) -> Any:
                nonlocal done
                done += 1
                if done == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*given, **options)

            return call

        for name in changes:
            setattr(os, name, counted(getattr(os, name)))
        exchange._swap = counted(exchange._swap)
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert ended in (0, -signal.SIGKILL)
    return ended != 0


def kills(act: Callable[[], Any], least: int, changes: Sequence[str] = RENAMES) -> Iterator[bool]:
    """Runs `act` again and again, killed before its first rename, its second, and so on, until it ends by itself; whether it was killed.

    Args:
        least: so many kills there must have been.
        changes: before which else it is killed.
    """
    for number in count(1):
        killed = killed_at(number, act, changes)
        yield killed
        if not killed:
            assert number > least
            return
