"""Which clips to keep, for programs that learn from motions.

- PHC (`amass_occlusion`): a pickle of `{"0-<folders>_<clip>": {"issue": ..., "idxes": [...]}}` of the clips that are left out.
- ProtoMotions: a YAML of `motions`, each with its `file`, `fps` and `weight`.
- PHUMA: the names of clips in a text file, one a line, as in its `data/split`.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pose_priors.configs.base import UserError
from pose_priors.configs.writing import written_aside

Rows = Sequence[Mapping[str, Any]]


def choose(rows: Rows, keep: str) -> tuple[list[Mapping[str, Any]], list[tuple[Mapping[str, Any], str]]]:
    """The rows that are kept, and those that are not with the reason.

    Args:
        rows: of the table of scores.
        keep: a share of clips, the best ones, such as `0.95`; or thresholds such as `badness<0.5,frames_jitter<0.1`, of any columns of
            numbers, all of which hold for what is kept.
    Raises:
        UserError: if it is neither.
    """
    try:
        share = float(keep)
    except ValueError:
        return _by_thresholds(rows, keep)
    if not 0 < share <= 1:
        raise UserError(f"--keep {keep}: a share of clips is above 0 and at most 1; thresholds are written as badness<0.5")
    ordered = sorted(rows, key=lambda row: (row["badness"], row["clip"]))
    most = round(share * len(ordered))
    worst = f"not among the best {share:g}"
    return ordered[:most], [(row, worst) for row in ordered[most:]]


def _by_thresholds(rows: Rows, keep: str) -> tuple[list[Mapping[str, Any]], list[tuple[Mapping[str, Any], str]]]:
    limits = []
    for part in keep.split(","):
        sign = "<" if "<" in part else ">"
        name, found, value = (text.strip() for text in part.partition(sign))
        numbers = [key for key, value in (rows[0].items() if rows else ()) if isinstance(value, int | float)]
        try:
            limit = float(value)
        except ValueError:
            found = ""
        if not found or (rows and name not in numbers):
            known = f", of {', '.join(numbers)}" if rows else ""
            raise UserError(f"--keep {part}: a share such as 0.95, or thresholds by < or > such as badness<0.5, are expected{known}")
        limits.append((name, sign, limit))
    kept, dropped = [], []
    for row in rows:
        broken = [f"{name} {row[name]:g}" for name, sign, limit in limits if not (row[name] < limit if sign == "<" else row[name] > limit)]
        if broken:
            dropped.append((row, ", ".join(broken)))
        else:
            kept.append(row)
    return sorted(kept, key=lambda row: str(row["clip"])), dropped


def write_lists(output: Path, rows: Rows, keep: str) -> list[Path]:
    """Writes `keep.txt`, `keep.json`, `keep_phc.pkl`, `keep_protomotions.yaml` and `keep_phuma.txt`; returns their paths.

    Raises `UserError` as `choose` does, or if they cannot be written.
    """
    kept, dropped = choose(rows, keep)
    names = [str(row["clip"]) for row in kept]
    phc = {f"0-{str(row['clip']).replace('/', '_')}": {"issue": f"badness {row['badness']:.3f}"} for row, _ in dropped}
    stream = io.BytesIO()
    pickle.dump(phc, stream, protocol=2)
    contents = {
        "keep.txt": _lines(names),
        "keep.json": json.dumps(
            {"keep": names, "drop": [{"clip": row["clip"], "badness": row["badness"], "reason": why} for row, why in dropped]}, indent=1
        ).encode(),
        "keep_phc.pkl": stream.getvalue(),
        "keep_protomotions.yaml": _protomotions(kept),
        "keep_phuma.txt": _lines(names),
    }
    try:
        for name, content in contents.items():
            with written_aside(output / name) as aside:
                aside.write_bytes(content)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror or error}); give another folder") from error
    return [output / name for name in contents]


def _lines(names: Sequence[str]) -> bytes:
    """The names' bytes as the disk has them. Raises `UserError` if one is of several lines."""
    if broken := [name for name in names if len(name.splitlines()) > 1]:
        raise UserError(f"{broken[0]!r}: a name with an end of a line cannot stand in a list of one name a line; rename that file")
    return "".join(f"{name}\n" for name in names).encode(errors="surrogateescape")


def _protomotions(kept: Rows) -> bytes:
    """JSON's strings are YAML's, whatever is in a name."""
    lines = ["motions:" if kept else "motions: []"]
    for index, row in enumerate(kept):
        lines += [f"- file: {json.dumps(row['file'])}", f"  fps: {row['fps']:g}", f"  idx: {index}", "  weight: 1.0"]
    return ("\n".join(lines) + "\n").encode()
