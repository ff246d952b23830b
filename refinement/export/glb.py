"""The container of binary glTF 2.0 (Khronos Group, "glTF 2.0 Specification", 2021): a JSON chunk, and a chunk of all arrays."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.configs.writing import written_aside

_MAGIC, _VERSION, _JSON, _BIN = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
_COMPONENTS = {"float32": 5126, "uint32": 5125, "uint16": 5123, "uint8": 5121}
_TYPES = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
"""What a buffer view is for: attributes of vertices, and their indices."""


class GlbFile:
    """A glTF file being made: nodes, meshes, skins and animations are plain objects of the specification, arrays become accessors."""

    def __init__(self, generator: str) -> None:
        self.content: dict[str, list[Any]] = {key: [] for key in ("nodes", "meshes", "skins", "materials", "animations")}
        self._asset = {"version": "2.0", "generator": generator}
        self._accessors: list[dict[str, Any]] = []
        self._views: list[dict[str, Any]] = []
        self._binary = bytearray()

    def add(self, kind: str, item: dict[str, Any]) -> int:
        """Appends to `nodes`, `meshes`, `skins`, `materials` or `animations`; returns the index."""
        self.content[kind].append(item)
        return len(self.content[kind]) - 1

    def accessor(self, values: np.ndarray, target: int | None = None) -> int:
        """The index of an accessor of (N, ...) values of one of glTF's types; matrices (N, 4, 4) are given as they are read, row by row."""
        kind = _TYPES[values.shape[1:]]
        stored = np.ascontiguousarray(values.transpose(0, 2, 1) if kind == "MAT4" else values)
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": stored.nbytes}
        self._views.append(view | ({} if target is None else {"target": target}))
        self._binary += stored.astype(stored.dtype.newbyteorder("<")).tobytes()
        self._binary += bytes(-len(self._binary) % 4)
        flat = stored.reshape(len(stored), -1)
        self._accessors.append(
            {
                "bufferView": len(self._views) - 1,
                "componentType": _COMPONENTS[stored.dtype.name],
                "count": len(stored),
                "type": kind,
                "min": flat.min(0).tolist(),
                "max": flat.max(0).tolist(),
            }
        )
        return len(self._accessors) - 1

    def write(self, path: Path, roots: list[int], extras: dict[str, Any]) -> None:
        """Writes the file, whole or not at all; `roots` are the nodes of the scene."""
        document = {
            "asset": self._asset,
            "scene": 0,
            "scenes": [{"nodes": roots, "extras": extras}],
            **{key: items for key, items in self.content.items() if items},
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._binary)}],
        }
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        length = 12 + 8 + len(text) + 8 + len(self._binary)
        with written_aside(path) as aside, aside.open("wb") as stream:
            stream.write(struct.pack("<III", _MAGIC, _VERSION, length))
            stream.write(struct.pack("<II", len(text), _JSON) + text)
            stream.write(struct.pack("<II", len(self._binary), _BIN) + bytes(self._binary))
