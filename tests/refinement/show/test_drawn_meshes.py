"""Meshes of others on the review page: what they refer to is read as they are, from below their folder alone."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pose_priors.refinement.show.page.models import DrawnModels
from pose_priors.refinement.show.recording_models import Model

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
BUFFER = VERTICES.tobytes() + np.arange(3, dtype=np.uint32).tobytes()


def gltf(uri: str) -> str:
    """A triangle whose numbers are elsewhere."""
    views = [{"buffer": 0, "byteOffset": at, "byteLength": size} for at, size in ((0, 36), (36, 12))]
    places = {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]}
    return json.dumps(
        {
            "asset": {"version": "2.0"},
            "buffers": [{"uri": uri, "byteLength": len(BUFFER)}],
            "bufferViews": views,
            "accessors": [places, {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"}],
            "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
            "nodes": [{"mesh": 0}],
            "scenes": [{"nodes": [0]}],
            "scene": 0,
        }
    )


class Page:
    """Keeps what is put onto it."""

    def __init__(self) -> None:
        self.meshes: list[tuple[np.ndarray, np.ndarray]] = []

    def add_mesh_simple(self, name: str, vertices: np.ndarray, faces: np.ndarray, **more: Any) -> SimpleNamespace:
        self.meshes.append((vertices, faces))
        return SimpleNamespace(visible=True)


def drawn(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    page = Page()
    DrawnModels(page, [Model("still", path, None, np.eye(4))], [])
    return page.meshes


@pytest.mark.parametrize("uri", ["numbers.bin", "data:application/octet-stream;base64," + base64.b64encode(BUFFER).decode()])
def test_numbers_beside_a_mesh_are_read(uri: str, tmp_path: Path) -> None:
    (tmp_path / "numbers.bin").write_bytes(BUFFER)
    (tmp_path / "mesh.gltf").write_text(gltf(uri))
    ((vertices, faces),) = drawn(tmp_path / "mesh.gltf")
    assert np.array_equal(np.sort(vertices, 0), np.sort(VERTICES, 0))
    assert faces.shape == (1, 3)


@pytest.mark.parametrize("uri", ["../numbers.bin", "pipe.bin", "link.bin", "/dev/zero"])
def test_what_is_no_file_below_the_folder_is_refused(uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "mesh"
    folder.mkdir()
    (tmp_path / "numbers.bin").write_bytes(BUFFER)
    os.mkfifo(folder / "pipe.bin")
    (folder / "link.bin").symlink_to(tmp_path / "numbers.bin")
    (folder / "mesh.gltf").write_text(gltf(uri))
    assert drawn(folder / "mesh.gltf") == []
    assert "it is not shown" in caplog.text


def test_materials_are_not_looked_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mtl")
    (tmp_path / "mesh.obj").write_text("mtllib pipe.mtl\nusemtl a\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert len(drawn(tmp_path / "mesh.obj")) == 1
