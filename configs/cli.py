"""How the scripts meet their user: logging, and one line instead of a traceback for a mistake that the user can mend."""

from __future__ import annotations

import argparse
import ctypes
import errno
import gc
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pose_priors.configs.base import UserError, one_line

# Of `mallopt`: how much free memory may stay at the end of the heap, and from which size on a block is of the system and goes back to it,
# of which some versions of glibc take no more than the second.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MOST_KEPT, _LARGEST_KEPT = 1 << 30, (1 << 30, 32 << 20)

EXTRAS = {
    "pytorch_lightning": ("train", "refine"),
    "lightning_fabric": ("train", "refine"),
    "yaml": ("train", "refine", "view"),
    "rich": ("train", "refine"),
    "scipy": ("train", "refine", "view"),
    "matplotlib": ("train", "refine"),
    "sklearn": ("train",),
    "torchmetrics": ("train",),
    "tensorboard": ("train",),
    "wandb": ("train",),
    "threadpoolctl": ("refine",),
    "h5py": ("refine",),
    "PIL": ("refine", "view"),
    "rerun": ("view",),
    "viser": ("view",),
    "websockets": ("view",),
    "trimesh": ("view",),
    "imageio_ffmpeg": ("view",),
    "submitit": ("slurm",),
    "smplx": ("smplx",),
    "anny": ("anny",),
    "body_models": ("rigs",),
    "onnx": ("onnx",),
    "pxr": ("usd",),
    "huggingface_hub": ("hub",),
}
"""Which extras of the package bring a library that not everybody needs, by the name that it is imported by."""

_LONGEST_NAME = 255
_TOO_MANY = 2**31  # for a number of anything, and for a seed
_STOPPED = 130  # what a shell says of a program that SIGINT has ended
_A_SCRIPT = re.compile(r"python\s+(train|evaluate|refine|pipeline|clean|score)\.py\b")
_AN_OVERRIDE = re.compile(r"[a-z_]\w*(\.\w+)*=")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are a `UserError`, one line like all others.

    Args:
        about: makes the lines at the end of the help, which stay as they are.
        options: those of `ArgumentParser`.
    """

    def __init__(self, *, about: Callable[[], str] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._about = about

    def format_help(self) -> str:
        """As ever; where the console script was called, commands in it are those of the console script."""
        text = super().format_help() + (f"\n{self._about()}\n" if self._about is not None else "")
        return _A_SCRIPT.sub(r"pose-priors \1", text) if self.prog.startswith("pose-priors") else text

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        value = super()._get_value(action, arg_string)
        if isinstance(value, Path) and any(len(os.fsencode(part)) > _LONGEST_NAME for part in value.parts):
            raise UserError(f"{arg_string[:60]}...: a path with a name of more than {_LONGEST_NAME} bytes, which no file has")
        if isinstance(value, Path) and "\0" in arg_string:
            raise UserError(f"{arg_string[:60]!r}: a path that holds a zero byte, which no file has")
        return value

    def error(self, message: str) -> NoReturn:
        _, found, words = message.partition("unrecognized arguments: ")
        if found and "--override" in self._option_string_actions and any(map(_AN_OVERRIDE.match, words.split())):
            raise UserError(f"{message}; did you forget --override before key=value?")
        raise UserError(f"{message}; see --help")


def at_least(least: int) -> Callable[[str], int]:
    """The `type` of an argument that is a whole number, and no less."""

    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) < _TOO_MANY:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least {least}, and below {_TOO_MANY}")
        return int(text)

    return number


def finite(*, zero: bool) -> Callable[[str], float]:
    """The `type` of an argument that is a finite number above 0, or 0 itself where `zero` says so."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (0 < value < math.inf or (zero and value == 0)):
            raise argparse.ArgumentTypeError(f"{text} is not a finite number {'of at least' if zero else 'above'} 0")
        return value

    return number


class _OneLine(logging.Formatter):
    """Shows a message as one line, whatever is in the names that it quotes."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        return one_line(super().formatMessage(record))


def set_up_console() -> None:
    """What a script's user sees: its own messages, without those of others that say nothing to them."""
    console = logging.StreamHandler()
    console.setFormatter(_OneLine("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[console])
    quiet_lightning()
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
    # to train or refine where one logs in is no mistake
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    # what one rank alone logs is meant so
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
    # of short epochs, whose scores come once an epoch anyway
    warnings.filterwarnings("ignore", message="The number of training batches .* is smaller than the logging interval")
    # nflows solves triangular systems by a function that torch has renamed
    warnings.filterwarnings("ignore", message="torch.triangular_solve is deprecated")


def quiet_lightning() -> None:
    """Keeps Lightning, which advertises, from telling more than warnings, also where it is imported later, which resets its own level."""
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)


def imports_done() -> None:
    """Looks for garbage from now on, and not in what is there: what is imported stays, and it is much to look through."""
    gc.freeze()
    gc.enable()


def keep_freed_memory() -> None:
    """Has glibc keep freed memory for what comes next. It would give larger blocks back to the system at once, and clear each page of the
    next ones again: up to a third of a training step. Whoever sets its thresholds in the environment has their way."""
    tuned = any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if tuned or not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        any(library.mallopt(_M_MMAP_THRESHOLD, size) for size in _LARGEST_KEPT)
        library.mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)


def run(main: Callable[[], object]) -> None:
    """Runs a script's `main`, and ends the process with one line instead of a traceback where the user can go on.

    Exit codes: 2 for a `UserError`, a library that is not installed and a full disk; 130 for Ctrl-C. Whoever knows how to go on after
    Ctrl-C raises `KeyboardInterrupt(how)`.
    """
    set_up_console()
    imports_done()
    keep_freed_memory()
    try:
        main()
    except UserError as error:
        _end(f"error: {error}", 2)
    except ModuleNotFoundError as error:
        library = (error.name or "").split(".")[0]
        if library not in EXTRAS:
            raise
        commands = " or ".join(f"pip install 'pose-priors[{extra}]'" for extra in EXTRAS[library])
        _end(f"error: {library} is not installed; it comes with: {commands}", 2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" at {error.filename}" if error.filename else ""
        _end(f"error: no space left{where}; make room and give the same command again", 2)
    except KeyboardInterrupt as stop:
        _end(_stopped(stop), _STOPPED)
    except SystemExit as end:
        # Lightning turns Ctrl-C into an exit of its own
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        _end(_stopped(end.__context__), _STOPPED)


def _stopped(stop: KeyboardInterrupt) -> str:
    return f"stopped; {stop.args[0] if stop.args else 'what was finished is kept, the same command starts the rest again'}"


def _end(line: str, code: int) -> NoReturn:
    print(one_line(line), file=sys.stderr)
    sys.exit(code)
