"""Point clouds in PLY files: the positions of the vertices, in ASCII or little-endian binary."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError

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


def read_points(path: Path) -> np.ndarray:
    """(N, 3) float64 finite positions of a PLY file's vertices, which must be its first element.

    Raises:
        UserError: if the file is no such PLY file or is cut short.
    """
    try:
        with path.open("rb") as stream:
            kind, count, fields = _header(stream)
            if kind == "ascii":
                rows = np.loadtxt(stream, max_rows=count, ndmin=2) if count else np.zeros((0, len(fields)))
                columns = {name: rows[:, i] for i, (name, _) in enumerate(fields)}
            else:
                table = np.fromfile(stream, np.dtype(fields), count)
                columns = {name: table[name] for name in table.dtype.names or ()}
        points = np.stack([columns[axis].astype(float) for axis in "xyz"], 1)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UserError(f"{path}: not a readable PLY point cloud ({' '.join(str(error).split())})") from error
    if len(points) != count:
        raise UserError(f"{path}: cut short, {len(points)} of {count} points")
    finite: np.ndarray = points[np.isfinite(points).all(1)]
    return finite


def _header(stream: object) -> tuple[str, int, list[tuple[str, str]]]:
    lines = iter(stream.readline, b"")  # type: ignore[attr-defined]
    if next(lines, b"").strip() != b"ply":
        raise ValueError("it does not begin with 'ply'")
    kind, count, element, fields = "", 0, "", []
    for line in lines:
        words = line.decode("ascii", "replace").split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "end_header":
            break
        if words[0] == "format":
            kind = words[1]
        elif words[0] == "element":
            if element == "" and words[1] != "vertex":
                raise ValueError(f"its first element is '{words[1]}', not 'vertex'")
            element = words[1]
            count = int(words[2]) if element == "vertex" else count
        elif words[0] == "property" and element == "vertex":
            fields.append((words[2], _TYPES[words[1]]))
    if kind not in ("ascii", "binary_little_endian"):
        raise ValueError(f"format '{kind}'; ascii and binary_little_endian are read")
    return kind, count, fields
