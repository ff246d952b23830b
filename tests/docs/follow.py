"""Blocks of commands on pages, given to bash as they stand there: variables, globs and loops are bash's. Programs are caught by name and
handed to a function in this process, which saves each of them the seconds that imports take."""

from __future__ import annotations

import os
import re
import select
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAM = "page-program"
"""What stands for a Python program of a page among its commands."""
PROGRAMS = ("python", "pose-priors", "make", "pip", "rerun", "srun", "pre-commit", "hf", PROGRAM)
"""What pages call; any other word that is no builtin of bash fails the block."""
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FIRST = re.compile(
    rf"\s*(?:\w+=\S+\s+)*(?:{'|'.join(map(re.escape, PROGRAMS))})\b|\s*(?:\w+=\"|for |export |bash |\. |\.venv/bin/|#SBATCH)"
)
_SHIM = """#!/bin/bash
input=
if [ "$1" = - ]; then input=$(cat); fi
{ printf '%s\\0' "$PWD" "$input" "${0##*/}" "$@"; printf 'END\\0'; } > "$FOLLOW/asked"
read -r code < "$FOLLOW/answered"
exit "$code"
"""

Handler = Callable[[list[str], str, Path], None]
"""Takes a program's words, what it is given as standard input and the folder that it is called in; raises if it fails."""


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of the fenced blocks of a page, in order; `commands` is the language of those that hold commands."""
    for language, text in _FENCED.findall(page.read_text()):
        is_commands = language in ("", "bash") and _FIRST.match(next(line for line in text.splitlines() if not re.match(r"# ", line)))
        yield ("commands" if is_commands else language, text)


def follow(text: str, folder: Path, handler: Handler, tools: Path) -> None:
    """Runs a block in a folder; `tools` is an empty folder, or one that this has used before. Raises what the handler raises, and
    `AssertionError` if bash fails by itself."""
    for name in PROGRAMS:
        if not (tools / name).exists():
            (tools / name).write_text(_SHIM)
            (tools / name).chmod(0o755)
    for name in ("asked", "answered"):
        if not (tools / name).exists():
            os.mkfifo(tools / name)
    environment = os.environ | {"FOLLOW": str(tools), "PATH": f"{tools}:{os.environ['PATH']}"}
    # open for both, so that neither side waits for the other to open
    asked, answered = (os.open(tools / name, os.O_RDWR | os.O_NONBLOCK) for name in ("asked", "answered"))
    try:
        with subprocess.Popen(
            ["bash", "-eu", "-c", text], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as bash:
            try:
                _serve(bash, asked, answered, handler)
            except BaseException:
                os.write(answered, b"1\n")
                bash.kill()
                raise
            assert bash.stderr is not None
            said = bash.stderr.read()
            assert bash.wait() == 0, f"{text}\n{said}"
    finally:
        os.close(asked)
        os.close(answered)


def _serve(bash: subprocess.Popen[str], asked: int, answered: int, handler: Handler) -> None:
    waiting = b""
    while True:
        if select.select([asked], [], [], 0.02)[0]:
            waiting += os.read(asked, 1 << 16)
        if waiting.endswith(b"\0END\0"):
            cwd, given, *words = waiting.decode().split("\0")[:-2]
            waiting = b""
            handler(words, given, Path(cwd))
            os.write(answered, b"0\n")
        elif bash.poll() is not None and not waiting:
            return
