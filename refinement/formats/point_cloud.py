"""Point clouds in PLY files: the positions of the vertices, in ASCII or little-endian binary."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pose_priors.configs.base import UserError, reason_of
from pose_priors.datamodules.containers.regular import open_regular

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "<i2"),
    **dict.fromkeys(("ushort", "uint16"), "<u2"),
    **dict.fromkeys(("int", "int32"), "<i4"),
    **dict.fromkeys(("uint", "uint32"), "<u4"),
    **dict.fromkeys(("float", "float32"), "<f4"),
    **dict.fromkeys(("double", "float64"), "<f8"),
}


_MOST_LINES = 1000  # of a header
_MOST_LINE = 1 << 12


def read_points(path: Path) -> np.ndarray:
    """(N, 3) float64 finite positions of a PLY file's vertices, which must be its first element.

    Raises:
        UserError: if the file is no such PLY file or is cut short.
    """
    with open_regular(path) as stream:
        try:
            kind, count, fields = _header(stream)
            left = os.fstat(stream.fileno()).st_size - stream.tell()
            table = np.dtype(fields)
            # a number of a vertex in ASCII has a digit and a space at least
            if count * (2 * len(fields) if kind == "ascii" else table.itemsize) > left + 1:
                raise ValueError(f"cut short, {left:,} bytes for {count} points")
            if kind == "ascii":
                rows = np.loadtxt(islice(stream, count), ndmin=2) if count else np.zeros((0, len(fields)))
                columns = {name: rows[:, i] for i, (name, _) in enumerate(fields)}
            else:
                values = np.frombuffer(stream.read(count * table.itemsize), table)
                columns = {name: values[name] for name in table.names or ()}
            points = np.stack([columns[axis].astype(float) for axis in "xyz"], 1)
        except Exception as error:  # what numpy's readers make of text that is no table
            raise UserError(f"{path}: not a readable PLY point cloud ({reason_of(error)})") from error
    if len(points) != count:
        raise UserError(f"{path}: cut short, {len(points)} of {count} points")
    finite: np.ndarray = points[np.isfinite(points).all(1)]
    return finite


def _header(stream: BinaryIO) -> tuple[str, int, list[tuple[str, str]]]:
    """Format, number of vertices, and their properties. Raises `ValueError` for other PLY files and for none."""
    kind, count, element, fields = "", 0, "", []
    if stream.readline(_MOST_LINE).strip() != b"ply":
        raise ValueError("it does not begin with 'ply'")
    for _ in range(_MOST_LINES):
        words = stream.readline(_MOST_LINE).decode("ascii", "replace").split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "end_header":
            break
        if words[0] == "format" and len(words) > 1:
            kind = words[1]
        elif words[0] == "element" and len(words) == 3 and words[2].isdecimal():
            if element == "" and words[1] != "vertex":
                raise ValueError(f"its first element is '{words[1]}', not 'vertex'")
            element = words[1]
            count = int(words[2]) if element == "vertex" else count
        elif words[0] == "property" and element == "vertex":
            if len(words) != 3 or words[1] not in _TYPES:
                raise ValueError(f"a property of vertices that is no number, '{' '.join(words[1:])}'")
            fields.append((words[2], _TYPES[words[1]]))
    else:
        raise ValueError("its header has no end")
    if kind not in ("ascii", "binary_little_endian"):
        raise ValueError(f"format '{kind}'; ascii and binary_little_endian are read")
    if not {"x", "y", "z"} <= {name for name, _ in fields}:
        raise ValueError(f"its vertices have {', '.join(name for name, _ in fields) or 'nothing'}; x, y and z are expected")
    return kind, count, fields
