"""Whether two folders of results are the same: `python -m benchmarks.same_results OLD NEW`.

Checkpoints, npz, npy and JSON are compared number by number, whatever lies in both folders under the same name; times do not count. For
a change that is meant to change no result: train and refine with the same seeds before and after it.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, finite, run

_READ = (".ckpt", ".npz", ".npy", ".json")
# what differs from run to run and says nothing of the result
_VOLATILE = ("seconds", "code_version", "callbacks", "pytorch-lightning_version", "digest", "created")


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Prints the largest difference of each file; returns them. Raises `UserError` if one is too large, or nothing is in common."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument(
        "--tolerance", type=finite(zero=True), default=1e-5, help="largest difference allowed, relative to the largest value of an array"
    )
    parser.add_argument("--renamed", nargs="*", default=[], metavar="OLD=NEW", help="parts of names, as fill=default_pose")
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="only values whose names hold one of these, as state_dict")
    parser.add_argument("--ignore", nargs="*", default=[], metavar="PART", help="values whose names hold this are left out")
    options = parser.parse_args(arguments)
    names = dict(pair.split("=", 1) for pair in options.renamed)
    found = {}
    for path in sorted(options.old.rglob("*")):
        other = options.new / path.relative_to(options.old)
        if path.suffix in _READ and other.is_file():
            old, new = (
                {name: value for name, value in _values(file, renamed) if _counts(name, options.only, options.ignore)}
                for file, renamed in ((path, names), (other, {}))
            )
            found[str(path.relative_to(options.old))] = _difference(old, new)
    if not found:
        raise UserError(f"{options.old} and {options.new}: no file of {', '.join(_READ)} lies in both under the same name")
    for name, (difference, where) in found.items():
        print(f"{difference:9.2e}  {name}{f', in {where}' if difference else ''}")
    if worst := [name for name, (difference, _) in found.items() if not difference <= options.tolerance]:
        raise UserError(f"{len(worst)} of {len(found)} files differ by more than {options.tolerance:g}: {', '.join(worst[:5])}")
    print(f"{len(found)} files are the same within {options.tolerance:g}")
    return {name: difference for name, (difference, _) in found.items()}


def _values(path: Path, renamed: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """The leaves of a file by their names."""
    if path.suffix == ".ckpt":
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    elif path.suffix == ".json":
        content = json.loads(path.read_text())
    else:
        loaded = np.load(path, allow_pickle=False)
        content = dict(loaded) if path.suffix == ".npz" else {"array": loaded}
    for name, value in _leaves(content):
        for old, new in renamed.items():
            name = name.replace(old, new)
        yield name, value


def _counts(name: str, only: Sequence[str], ignored: Sequence[str]) -> bool:
    return (not only or any(part in name for part in only)) and not any(part in name for part in ignored)


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            if str(key) not in _VOLATILE:
                yield from _leaves(value, f"{name}/{key}")
    elif isinstance(tree, list | tuple):
        for place, value in enumerate(tree):
            yield from _leaves(value, f"{name}/{place}")
    else:
        yield name, tree


def _difference(old: dict[str, Any], new: dict[str, Any]) -> tuple[float, str]:
    """The largest difference of any two numbers, relative to the largest in their array, and where it is; infinite where something is
    missing or not equal."""
    apart = {name: _apart(old[name], new[name]) if name in old and name in new else math.inf for name in {*old, *new}}
    worst = max(sorted(apart), key=apart.__getitem__, default="")
    return apart.get(worst, 0.0), worst


def _apart(a: Any, b: Any) -> float:
    if not isinstance(a, torch.Tensor | np.ndarray | float) or isinstance(a, bool):
        return 0.0 if a == b else math.inf
    x, y = (np.asarray(value) for value in (a, b))
    if x.shape != y.shape:
        return math.inf
    if x.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(x, y) else math.inf
    x, y = x.astype(float), y.astype(float)
    if not np.array_equal(np.isnan(x), np.isnan(y)):
        return math.inf
    largest = np.nan_to_num(np.abs(x)).max(initial=0)
    difference = float(np.nan_to_num(np.abs(x - y)).max(initial=0))
    return difference / max(float(largest), 1e-12) if difference else 0.0


if __name__ == "__main__":
    run(main)
