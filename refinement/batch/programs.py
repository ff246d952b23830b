"""Running the programs of others: what they print is kept as it comes, how they fail is told in one line."""

from __future__ import annotations

import logging
import shlex
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pose_priors.configs.base import UserError
from pose_priors.configs.slurm import environment_of_others

log = logging.getLogger("refine")

_TAIL = 2000
# In a job, what warns it of its end must not end the program at once: what is done in the time of grace is done.
_SHIELD = ("bash", "-c", 'trap "" TERM USR2; exec "$0" "$@"')


@contextmanager
def running(
    what: str, key: str, words: Sequence[str], printed: Path, *, held: Sequence[int] = (), in_job: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A program, until it has ended; it is killed where the block raises.

    Args:
        what: it does, as the user knows it: `stage 1 (camera estimation)`.
        key: of the configuration, that holds its command.
        words: the program and its arguments.
        printed: the file that gets what it prints.
        held: descriptors that it inherits.
        in_job: whether this is a job, which is warned by signals before it ends.
    Raises:
        UserError: if it cannot be started.
    """
    printed.parent.mkdir(parents=True, exist_ok=True)
    log.info("%s: %s, prints to %s", what, shlex.join(words), printed)
    with printed.open("wb") as stream:
        stream.write(f"$ {shlex.join(words)}\n".encode())
        stream.flush()
        try:
            process = subprocess.Popen(
                [*(_SHIELD if in_job else ()), *words],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                pass_fds=held,
                env=environment_of_others() if in_job else None,
            )
        except OSError as error:
            raise UserError(f"{key}.command: {words[0]} cannot be started ({error.strerror})") from error
    try:
        yield process
        process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise


def check_end(what: str, code: int, printed: Path) -> None:
    """Raises `UserError` if a program has not ended well."""
    if code:
        how = f"exit code {code}" if code > 0 else f"signal {_signal_name(-code)}"
        raise UserError(f"{what} failed with {how}; its last words: {_last_line(printed)!r}; all are in {printed}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _last_line(path: Path) -> str:
    lines = path.read_bytes()[-_TAIL:].decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines[1:]) if line.strip()), "none")
