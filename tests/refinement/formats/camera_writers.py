"""Writes cameras, and depth, exactly as programs lay them out that find these alone; `change` may spoil the main file before."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

Change = Callable[[dict[str, Any]], None]
Depth = np.ndarray | None
UNIT = 2.5
"""Metres in the unit of every file that has one of its own."""
SLAM_AREA = 384 * 512


def unchanged(_: dict[str, Any]) -> None:
    pass


def in_unit(w2c: np.ndarray, unit: float = UNIT) -> np.ndarray:
    out = w2c.copy()
    out[:, :3, 3] /= unit
    return out


def quaternions(poses: np.ndarray) -> np.ndarray:
    """(T, 7) x, y, z and x, y, z, w."""
    return np.concatenate([poses[:, :3, 3], Rotation.from_matrix(poses[:, :3, :3]).as_quat()], 1)


def shrunk(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Width and height before and after cutting, by DROID-SLAM's and MegaSaM's own lines."""
    w0, h0 = size
    h1, w1 = int(h0 * np.sqrt(SLAM_AREA / (h0 * w0))), int(w0 * np.sqrt(SLAM_AREA / (h0 * w0)))
    return w1, h1, w1 - w1 % 8, h1 - h1 % 8


def parameters_of(intrinsics: np.ndarray, num_frames: int) -> np.ndarray:
    """(T, 4) fx, fy, cx, cy, the same of all frames."""
    return np.tile(intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]], (num_frames, 1))


def sampled(depth: Depth, num_frames: int, width: int, height: int) -> np.ndarray:
    """(T, h, w) of maps that cover the image, at the nearest; of a flat wall where none are given."""
    depth = np.full((num_frames, 9, 16), 5.0 * UNIT) if depth is None else depth
    rows = ((np.arange(height) + 0.5) / height * depth.shape[1]).astype(int)
    columns = ((np.arange(width) + 0.5) / width * depth.shape[2]).astype(int)
    return depth[:, rows][:, :, columns]


def write_vipe(
    folder: Path,
    w2c: np.ndarray,
    intrinsics: np.ndarray,
    size: tuple[int, int],
    depth: Depth = None,
    change: Change = unchanged,
) -> Path:
    for name in ("pose", "intrinsics", "depth"):
        (folder / name).mkdir(parents=True)
    inds = np.arange(len(w2c))
    content = {"data": np.linalg.inv(w2c).astype(np.float32), "inds": inds}
    change(content)
    np.savez(folder / "pose" / "walk.npz", **content)
    parameters = parameters_of(intrinsics, len(w2c))
    np.savez(folder / "intrinsics" / "walk.npz", data=parameters.astype(np.float32), inds=inds)
    (folder / "intrinsics" / "walk_camera.txt").write_text("".join(f"{t}: PINHOLE\n" for t in inds))
    if depth is not None:
        with zipfile.ZipFile(folder / "depth" / "walk.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for t, values in enumerate(depth):
                archive.writestr(f"{t:05d}.exr", exr(values))
    return folder


def exr(depth: np.ndarray, compression: int = 3, kind: int = 1) -> bytes:
    """A picture of one channel Z (h, w): halves (kind 1) or floats (2); compression none (0), ZIPS (2) or ZIP (3)."""
    height, width = depth.shape
    values = depth.astype({1: "<f2", 2: "<f4"}[kind])
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    attributes = [
        ("channels", "chlist", b"Z\0" + struct.pack("<iiii", kind, 0, 1, 1) + b"\0"),
        ("compression", "compression", bytes([compression])),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", b"\0"),
    ]
    head = struct.pack("<ii", 20000630, 2)
    for name, type_, value in attributes:
        head += f"{name}\0{type_}\0".encode() + struct.pack("<i", len(value)) + value
    head += b"\0"
    lines = {0: 1, 2: 1, 3: 16}[compression]
    blocks = []
    for y in range(0, height, lines):
        raw = values[y : y + lines].tobytes()
        if compression:
            halves = bytearray(raw[0::2] + raw[1::2])
            steps = bytes([halves[0], *((b - a + 128) & 255 for a, b in pairwise(halves))])
            packed = zlib.compress(steps)
            raw = packed if len(packed) < len(raw) else raw
        blocks.append(struct.pack("<ii", y, len(raw)) + raw)
    start = len(head) + 8 * len(blocks)
    offsets = np.cumsum([start, *(len(block) for block in blocks[:-1])])
    return head + struct.pack(f"<{len(blocks)}Q", *offsets.tolist()) + b"".join(blocks)


def write_megasam(
    folder: Path,
    w2c: np.ndarray,
    intrinsics: np.ndarray,
    size: tuple[int, int],
    depth: Depth = None,
    change: Change = unchanged,
) -> Path:
    w1, h1, w, h = shrunk(size)
    content: dict[str, Any] = {
        "images": np.zeros((len(w2c), h, w, 3), np.uint8),
        "depths": (sampled(depth, len(w2c), w1, h1)[:, :h, :w] / UNIT).astype(np.float16),
        "intrinsic": np.diag([w1 / size[0], h1 / size[1], 1]) @ intrinsics,
        "cam_c2w": np.linalg.inv(in_unit(w2c)).astype(np.float32),
    }
    change(content)
    folder.mkdir(parents=True)
    np.savez(folder / "walk_sgd_cvd_hr.npz", **content)
    return folder


def write_vggt(
    folder: Path,
    w2c: np.ndarray,
    intrinsics: np.ndarray,
    size: tuple[int, int],
    depth: Depth = None,
    change: Change = unchanged,
) -> Path:
    """As its demo writes it: 518 wide, cut to 518 from the middle where it is higher."""
    height = round(size[1] * (518 / size[0]) / 14) * 14
    top = max(height - 518, 0) // 2
    grid = np.diag([518 / size[0], height / size[1], 1]) @ intrinsics
    grid[1, 2] -= top
    maps = (sampled(depth, len(w2c), 518, height)[:, top : top + 518] / UNIT).astype(np.float32)
    content: dict[str, Any] = {
        "extrinsic": in_unit(w2c)[:, :3].astype(np.float32),
        "intrinsic": np.tile(grid.astype(np.float32), (len(w2c), 1, 1)),
        "depth": maps[..., None],
        "depth_conf": np.ones(maps.shape, np.float32),
        "images": np.zeros((len(w2c), 3, *maps.shape[1:]), np.float32),
    }
    change(content)
    folder.mkdir(parents=True)
    np.savez(folder / "predictions.npz", **content)
    return folder


def write_droid(
    folder: Path,
    w2c: np.ndarray,
    intrinsics: np.ndarray,
    size: tuple[int, int],
    depth: Depth = None,
    change: Change = unchanged,
    *,
    every: int = 1,
    arrays: bool = False,
) -> Path:
    """Of key frames, the first and the last among them; `arrays`: the older folder of `.npy`."""
    w1, h1, w, h = shrunk(size)
    frames = np.unique([*range(0, len(w2c), every), len(w2c) - 1])
    grid = np.diag([w1 / size[0], h1 / size[1], 1]) @ intrinsics / 8
    content: dict[str, Any] = {
        "tstamps": torch.from_numpy(frames.astype(np.float32)),
        "images": torch.zeros(len(frames), 3, h, w, dtype=torch.uint8),
        "disps": torch.from_numpy((UNIT / sampled(depth, len(w2c), w1, h1)[frames, :h, :w]).astype(np.float32)),
        "poses": torch.from_numpy(quaternions(in_unit(w2c[frames])).astype(np.float32)),
        "intrinsics": torch.from_numpy(parameters_of(grid, len(frames)).astype(np.float32)),
    }
    change(content)
    folder.mkdir(parents=True)
    if arrays:
        for name, value in content.items():
            np.save(folder / f"{name}.npy", np.asarray(value))
        return folder
    torch.save(content, folder / "walk.pth")
    return folder / "walk.pth"


def write_slahmr_cameras(
    folder: Path, w2c: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int], depth: None = None, change: Change = unchanged
) -> Path:
    content: dict[str, Any] = {
        "height": size[1],
        "width": size[0],
        "focal": intrinsics[0, 0],
        "intrins": parameters_of(intrinsics, len(w2c)),
        "w2c": in_unit(w2c),
    }
    change(content)
    folder.mkdir(parents=True)
    np.savez(folder / "cameras.npz", **content)
    return folder / "cameras.npz"
