"""A scene with the masks of some instances, as an npz."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

V, T, H, W = 2, 6, 24, 32
K = np.array([[30.0, 0, 15.5], [0, 30.0, 11.5], [0, 0, 1]])
SQUARES = {
    "instance_0": (slice(4, 16), slice(3, 15)),
    "instance_10": (slice(8, 20), slice(18, 30)),
    "instance_2": (slice(6, 9), slice(16, 29)),
}


class Hostile:
    """Leaves a trace if anybody unpickles it the ordinary way."""

    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.trace,)


def pickled(value: object) -> np.ndarray:
    out = np.empty((), dtype=object)
    out[()] = value
    return out


def scene() -> dict[str, np.ndarray]:
    """Two cameras before three squares; depth is a slope, the second instance is seen from frame 2 on."""
    masks = {name: np.zeros((V, T, H, W), bool) for name in SQUARES}
    for name, (rows, columns) in SQUARES.items():
        masks[name][:, (2 if name == "instance_10" else 0) :, rows, columns] = True
    extrinsics = np.tile(np.eye(4)[:3], (V, 1, 1))
    extrinsics[1] = [[0, 0, 1, 0.5], [0, 1, 0, -0.2], [-1, 0, 0, 3.0]]
    depth = 2 + 0.01 * np.arange(W) + 0.1 * np.arange(T)[:, None, None] + np.zeros((V, T, H, W))
    return {
        "sam2_masks": pickled(masks),
        "sam2_contact_frames": pickled({"instance_0": {"cam_b": 3}, "instance_10": {"cam_a": 1, "cam_b": np.int64(5)}}),
        "rgbs": np.random.default_rng(0).integers(0, 255, (V, T, 3, H, W), np.uint8),
        "depths": depth[:, :, None].astype(np.float32),
        "intrs": np.tile(K, (V, 1, 1)),
        "extrs": extrinsics,
        "camera_ids": np.array(["cam_a", "cam_b"]),
    }


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def opened(path: Path) -> dict[str, np.ndarray]:
    """As a tool of others reads it, which trusts its files."""
    with np.load(path, allow_pickle=True) as arrays:
        return dict(arrays)
