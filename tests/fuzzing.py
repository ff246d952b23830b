"""Thousands of seeded inputs in forked processes: each ends well or with a `UserError` of one line, in bounded time and memory."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import traceback
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pose_priors.configs.base import UserError

NUM_INPUTS = int(os.environ.get("FUZZ_INPUTS", "1000"))
"""Of each reader and command."""
_PROCESSES = 2
_MOST_CPU_SECONDS, _MOST_SECONDS = 20.0, 200.0  # of one input: a thousand times what most take, so that no machine is too slow
_MOST_KIB = 1 << 20  # by which the inputs, which are small, let a process grow
_MOST_CHARACTERS = 5000

volume = pytest.mark.slow
"""Marks a test of so many inputs."""

Trial = Callable[[random.Random, Path], object]


class Late(BaseException):
    """An input took too long."""


def survives(trial: Trial, folder: Path, num_inputs: int = NUM_INPUTS, also: tuple[type[BaseException], ...] = ()) -> None:
    """Asserts that `trial`, called with each seed's numbers and a folder of its process, raises nothing but `UserError`, or one of `also`.

    Every process goes through each of so many seeds that no other does; what it finds it writes down, for it may crash.
    """
    children = []
    for rank in range(_PROCESSES):
        own = folder / f"process_{rank}"
        own.mkdir()
        pid = os.fork()
        if not pid:
            status = 1
            try:
                _run(trial, own, range(rank, num_inputs, _PROCESSES), also)
                status = 0
            finally:
                os._exit(status)
        children.append((pid, own))
    found: dict[str, list[int]] = defaultdict(list)
    for pid, own in children:
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        lines = [json.loads(line) for line in (own / "found.jsonl").read_text().splitlines()]
        if ended:
            found[f"the process ended with {ended}"].append(int((own / "seed").read_text()))
        for kind, seed in lines:
            found[kind].append(seed)
    if found:
        pytest.fail("\n".join(f"{len(seeds)}x {kind}; seeds {seeds[:5]}" for kind, seeds in sorted(found.items())), pytrace=False)


def _run(trial: Trial, folder: Path, seeds: range, also: tuple[type[BaseException], ...]) -> None:
    torch.set_num_threads(1)  # the threads of OpenMP do not survive a fork

    def late(*_: object) -> None:
        raise Late

    signal.signal(signal.SIGPROF, late)
    signal.signal(signal.SIGALRM, late)
    before = _peak_kib()
    with (folder / "found.jsonl").open("w") as found:

        def note(kind: str, seed: int) -> None:
            found.write(json.dumps([kind, seed]) + "\n")
            found.flush()

        for seed in seeds:
            (folder / "seed").write_text(str(seed))
            scratch = folder / "input"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            signal.setitimer(signal.ITIMER_PROF, _MOST_CPU_SECONDS)
            signal.setitimer(signal.ITIMER_REAL, _MOST_SECONDS)
            try:
                trial(random.Random(seed), scratch)
            except UserError as error:
                if not str(error).isprintable() or len(str(error)) > _MOST_CHARACTERS:
                    note(f"no line: {str(error)[:300]!r}", seed)
            except also:
                pass
            except BaseException as error:
                note(_where(error), seed)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                signal.setitimer(signal.ITIMER_REAL, 0)
        if _peak_kib() - before > _MOST_KIB:
            note(f"memory: {(_peak_kib() - before) >> 10} MiB", -1)


def _where(error: BaseException) -> str:
    """An error by its type and the last place of ours, so that many of one kind are told as one."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    last = frames[-1]
    return f"{type(error).__name__} at {'/'.join(Path(last.filename).parts[-3:])}:{last.lineno}: {str(error)[:120]}"


def _peak_kib() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM:")).split()[1])


# ---- what is changed in what is valid

_NUMBERS = [0, 1, -1, 2, 3, 7, 0.5, 1e-30, 1e3, 1e30, 1e300, -1e30, float("nan"), float("inf"), -float("inf"), 255, 2**31, 2**53, 2**63 - 1]
_TEXTS = ["", "a", "30", "nan", "é\n", "../x", "=1+1", "\x1b[31m", "a" * 3000, "/", "[1]", "{}", "0x1", "True", "2020-13-45"]
_DTYPES = ["f2", "f4", "f8", ">f8", "i1", "u2", "i8", "u8", "?", "c16", "U5", "S3", "O", "M8[s]", "m8[us]", ">i2"]
_SIZES = [0, 1, 2, 3, 4, 6, 22, 24, 55, 63]


def anything(rng: random.Random, depth: int = 2) -> Any:
    """A value of any kind that files may hold."""
    kind = rng.randrange(9 if depth else 6)
    if kind < 2:
        return rng.choice(_NUMBERS)
    if kind == 2:
        return rng.choice(_TEXTS)
    if kind == 3:
        return rng.choice([None, True, False, 2**70, -(2**70), b"bytes", 10**400])
    if kind < 6:
        return rng.choice([[], {}, (), [[]], [None], {"a": 1}, [1, "a"], [[1, 2], [3]], {1: 2}])
    if kind == 6:
        return [anything(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        return {rng.choice(_TEXTS): anything(rng, depth - 1) for _ in range(rng.randrange(3))}
    return any_array(rng)


def any_array(rng: random.Random) -> np.ndarray:
    """An array of any type and few dimensions."""
    shape = tuple(rng.choice(_SIZES) for _ in range(rng.randrange(4)))
    with np.errstate(all="ignore"):
        try:
            return np.full(shape, rng.choice(_NUMBERS)).astype(rng.choice(_DTYPES))
        except (OverflowError, ValueError):
            return np.zeros(shape)


def changed_array(rng: random.Random, array: np.ndarray) -> np.ndarray:
    """An array like another, but for its values, its type or its shape."""
    kind = rng.choice(["value", "value", "factor", "all", "type", "shape", "row", "fewer", "more", "twice", "other"])
    with np.errstate(all="ignore"):
        if kind in ("value", "all", "factor") and array.size and array.dtype.kind in "biuf":
            spoilt = array.astype(array.dtype if array.dtype.kind == "f" and kind != "factor" else float)
            number = rng.choice(_NUMBERS)
            if kind == "factor":
                return spoilt * np.float64(number)
            spoilt.reshape(-1)[slice(None) if kind == "all" else rng.randrange(array.size)] = number
            return spoilt
        if kind == "type":
            try:
                return array.astype(rng.choice(_DTYPES))
            except (TypeError, ValueError, OverflowError):
                return array
        if array.ndim and array.size and kind in ("shape", "row", "fewer", "more", "twice"):
            axis = rng.randrange(array.ndim)
            match kind:
                case "shape":
                    return rng.choice([array[None], array.reshape(-1), np.swapaxes(array, 0, axis), array[..., None]])
                case "row":
                    return array[:0] if rng.random() < 0.5 else array[:1]
                case "fewer":
                    return np.delete(array, rng.randrange(array.shape[axis]), axis)
                case "more":
                    return np.concatenate([array, array], axis)
                case "twice":
                    return np.repeat(array, rng.randrange(1, 4), axis)
    return any_array(rng)


def changed(rng: random.Random, value: Any) -> Any:
    """A tree of dicts, lists, arrays and plain values, with one of them exchanged, taken out, put in or renamed; the given one stays."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        if (kind := rng.random()) < 0.7:
            return value | {key: changed(rng, value[key])}
        rest = {name: inner for name, inner in value.items() if name != key}
        if kind < 0.85:
            return rest
        other: Any = rng.choice([*_TEXTS, 0, -1, 2**40, None, 1.5, (1, 2), key])
        return rest | {other: value[key]} if kind < 0.95 else value | {other: anything(rng)}
    if isinstance(value, list | tuple) and value and rng.random() < 0.85:
        at, items = rng.randrange(len(value)), list(value)
        if (kind := rng.random()) < 0.7:
            items[at] = changed(rng, items[at])
        elif kind < 0.85:
            del items[at]
        else:
            items.insert(at, items[at] if kind < 0.93 else anything(rng))
        return type(value)(items) if type(value) in (list, tuple) else items
    if isinstance(value, np.ndarray) and value.dtype != object and rng.random() < 0.9:
        return changed_array(rng, value)
    if isinstance(value, torch.Tensor) and rng.random() < 0.9:
        array = changed_array(rng, value.detach().cpu().numpy())
        return torch.from_numpy(np.array(array, float)) if array.dtype.kind in "biuf" else array
    return anything(rng)


def changes(rng: random.Random, value: Any) -> Any:
    """One to three changes."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        value = changed(rng, value)
    return value


def damaged(rng: random.Random, whole: bytes) -> bytes:
    """A file with some bytes exchanged, cut out, put in, repeated or cut off."""
    data = bytearray(whole)
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(7):
            case 0 | 1:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                del data[at : at + rng.randrange(1, 40)]
            case 3:
                data[at:at] = rng.randbytes(rng.randrange(12))
            case 4:
                data[at:at] = data[at : at + rng.randrange(1, 60)] * rng.randrange(1, 5)
            case 5:
                data[at : at + 8] = rng.choice([b"\xff" * 8, bytes(8), b"\x00\x00\x00\x80" * 2, b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
            case 6:
                del data[at:]
    return bytes(data)
