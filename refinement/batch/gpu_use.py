"""How much of the GPUs a job uses, logged now and then where `nvidia-smi` can say it."""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("refine")

_EVERY_S = 300.0
_PATIENCE_S = 60.0
_FIELDS = "index,utilization.gpu,memory.used,memory.total"


@contextmanager
def gpu_use_logged(every_s: float = _EVERY_S) -> Iterator[None]:
    """Logs the use of each GPU at once and then again and again, until the block ends; nothing where there is no `nvidia-smi`."""
    program = shutil.which("nvidia-smi")
    if program is None:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        while _log_use(program) and not ended.wait(every_s):
            pass

    thread = threading.Thread(target=watch, name="gpu use", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_PATIENCE_S)


def _log_use(program: str) -> bool:
    """Whether it could be said."""
    command = [program, f"--query-gpu={_FIELDS}", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_PATIENCE_S)
    except (OSError, subprocess.SubprocessError) as error:
        log.info("GPU use is not logged: nvidia-smi says nothing (%s)", error)
        return False
    for line in answer.stdout.splitlines():
        index, _, rest = line.partition(",")
        used, *memory = (part.strip() for part in rest.split(","))
        log.info("GPU %s: %s used, memory %s", index.strip(), used, " of ".join(memory))
    return True
