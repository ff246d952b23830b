"""What a process that Slurm has started needs to know to survive being interrupted."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Slurm numbers what `srun` starts from 0; numbers from here on stand for the batch script itself, interactive shells and the like.
_RESERVED_STEPS = 2**31


def slurm_step() -> str | None:
    """Names what `srun` started this process in, the same after a requeue; None if it was not started by `srun`."""
    job, step = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_STEP_ID")
    if job is None or step is None or int(step) >= _RESERVED_STEPS:
        return None
    return f"{os.environ.get('SLURM_CLUSTER_NAME', 'slurm')}-{job}.{step}"


def is_first_process() -> bool:
    """Whether this is the process, of all that make one fit, which writes; also before Lightning knows of the others."""
    return all(int(os.environ.get(name) or 0) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def process_group() -> str:
    """Names the processes that make one fit with this one, the same in all that torchrun or the like has started; else this process."""
    address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if address is None or port is None:
        return str(os.getpid())
    host = socket.gethostname() if address in ("localhost", "127.0.0.1", "::1") else address
    return f"{host}:{port}"


def goes_on_after_sigterm() -> bool:
    """Whether this is the main thread of what Slurm has started, which is to go on after SIGTERM, until Slurm kills it.

    Slurm decides whether the job is queued again, and preempts only what still runs: a job that ends by itself within the time of grace
    counts as complete. Nothing is lost by the kill, since checkpoints and results appear whole.
    """
    return slurm_step() is not None and threading.current_thread() is threading.main_thread()


@contextmanager
def until_killed() -> Iterator[None]:
    """A block that goes on after SIGTERM where `goes_on_after_sigterm`."""
    if not goes_on_after_sigterm():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)  # None: not set by Python
