"""OpenEXR pictures of one channel, as depth is stored in: scan lines, plain or deflated (the format's own description, "Technical
Introduction to OpenEXR")."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from pose_priors.configs.base import UserError, reason_of
from pose_priors.refinement.formats.pictures import MOST_PIXELS

_MAGIC, _VERSION = 20000630, 2
_TYPES: dict[int, np.dtype] = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
_LINES = {0: 1, 2: 1, 3: 16}  # of a block: as it is, ZIPS, ZIP


def read_exr(data: bytes, source: str) -> np.ndarray:
    """The one channel (h, w) of a picture, in its own type.

    Raises:
        UserError: if it is none, damaged, tiled, of several channels, or compressed otherwise.
    """
    try:
        return _read(data)
    except (struct.error, zlib.error, OverflowError, ValueError, LookupError) as error:
        raise UserError(f"{source}: cannot be read as an OpenEXR picture of one channel ({reason_of(error)})") from error


def _read(data: bytes) -> np.ndarray:
    magic, version = struct.unpack_from("<ii", data)
    if magic != _MAGIC or version != _VERSION:
        raise ValueError("it does not begin as one of scan lines does")
    attributes, at = _attributes(data, 8)
    dtype = _channel(attributes["channels"])
    left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    compression = attributes["compression"][0]
    if compression not in _LINES:
        raise ValueError(f"compression {compression}; none, ZIPS and ZIP are read")
    if not 0 < width * height <= MOST_PIXELS or min(width, height) < 1:
        raise ValueError(f"{width} x {height} pixels")
    lines = _LINES[compression]
    num_blocks = -(-height // lines)
    out, seen = np.zeros((height, width), dtype), np.zeros(height, bool)
    for offset in struct.unpack_from(f"<{num_blocks}Q", data, at):
        y, size = struct.unpack_from("<ii", data, offset)
        row = y - top
        if size < 0 or not 0 <= row < height or offset + 8 + size > len(data):
            raise ValueError("a block lies outside the picture")
        rows = min(lines, height - row)
        block = _unpacked(data[offset + 8 : offset + 8 + size], rows * width * dtype.itemsize)
        out[row : row + rows] = np.frombuffer(block, dtype).reshape(rows, width)
        seen[row : row + rows] = True
    if not seen.all():
        raise ValueError("some of its lines are missing")
    return out


def _attributes(data: bytes, at: int) -> tuple[dict[str, bytes], int]:
    """The header's values by name, and where it ends."""
    found = {}
    while data[at] != 0:
        name, at = _text(data, at)
        _, at = _text(data, at)
        (size,) = struct.unpack_from("<i", data, at)
        if not 0 <= size <= len(data) - at - 4:
            raise ValueError("an attribute is longer than the file")
        found[name] = data[at + 4 : at + 4 + size]
        at += 4 + size
    return found, at + 1


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at, at + 256)
    return data[at:end].decode("ascii"), end + 1


def _channel(listed: bytes) -> np.dtype:
    """The type of the one channel."""
    name, at = _text(listed, 0)
    kind, _, x_step, y_step = struct.unpack_from("<iiii", listed, at)
    if listed[at + 16] != 0 or (x_step, y_step) != (1, 1):
        raise ValueError(f"'{name}' is not its only channel, or does not have all pixels")
    return _TYPES[kind]


def _unpacked(block: bytes, size: int) -> bytes:
    """A block's bytes: a block that deflating did not make smaller is stored as it is; of others the even bytes are in the first half, the
    odd in the second, each as the difference from the one before, plus 128."""
    if len(block) == size:
        return block
    packed = zlib.decompressobj().decompress(block, size)
    if len(packed) != size:
        raise ValueError("a block is not as long as its lines")
    steps = np.frombuffer(packed, np.uint8).astype(np.int64)
    steps[1:] -= 128
    values = np.cumsum(steps).astype(np.uint8)
    out = np.empty(size, np.uint8)
    out[0::2], out[1::2] = values[: -(-size // 2)], values[-(-size // 2) :]
    return out.tobytes()
