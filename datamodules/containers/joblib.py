"""What joblib writes: a pickle with the bytes of arrays in between, compressed as a whole or not."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from pose_priors.datamodules.containers.named import Named, Reading, Unfinished
from pose_priors.datamodules.containers.npy import array_of, checked_shape, checked_size
from pose_priors.datamodules.containers.pickled_arrays import PickledDtype
from pose_priors.datamodules.containers.tensors import NAMES as _NAMES
from pose_priors.datamodules.containers.unpickling import Machine

_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
_LEAST_ROOM, _MOST_RATIO, _MOST_BYTES, _MOST_WINDOW = 256 << 20, 500, 4 << 30, 256 << 20
_COMPRESSED: dict[bytes, Callable[[], Any]] = {
    b"\x78": zlib.decompressobj,
    b"\x1f\x8b": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    b"BZ": bz2.BZ2Decompressor,
    b"\x5d\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MOST_WINDOW),
    b"\xfd7zXZ": lambda: lzma.LZMADecompressor(memlimit=_MOST_WINDOW),
}


class _Wrapper(Unfinished):
    """What stands in the pickle for an array whose bytes follow."""

    __slots__ = ()

    def set_state(self, machine: Reading, state: Any) -> np.ndarray:
        """Takes what is said of the array, and returns it."""
        if type(state) is not dict or not isinstance(kind := state.get("dtype"), PickledDtype):
            raise ValueError("an array of joblib's without a dtype")
        shape = checked_shape(state.get("shape"))
        if kind.dtype.hasobject:
            within = Machine(machine.stream, _NAMES, room=machine.room)
            array = within.run()
            machine.room = within.room
            if not isinstance(array, np.ndarray) or array.shape != shape:
                raise ValueError("objects that are no array")
            return array
        if state.get("numpy_array_alignment_bytes") is not None:
            machine.stream.read(machine.stream.read(1)[0])
        rest = len(machine.stream.getbuffer()) - machine.stream.tell()
        size = checked_size(kind.dtype, shape, rest, at_least=True)
        machine.take(size)
        return array_of(machine.stream.read(size), kind.dtype, shape, state.get("order") == "F")


NAMES: dict[str, Named] = _NAMES | {_WRAPPER: Named(_WRAPPER, lambda _: _Wrapper())}
"""What may be named, by module and name: all of `tensors`, and joblib's arrays."""


def decompressed(data: bytes) -> bytes:
    """The bytes of a file as they were before joblib compressed it, the same if it did not.

    Raises:
        ValueError, EOFError, OSError, zlib.error, lzma.LZMAError: if it is damaged, cut short, or grows to more than 256 MiB and 500 times
            its size.
    """
    known = next((make for magic, make in _COMPRESSED.items() if data.startswith(magic)), None)
    if known is None:
        return data
    room = min(_MOST_BYTES, max(_LEAST_ROOM, _MOST_RATIO * len(data)))
    machine = known()
    out = io.BytesIO()
    piece = machine.decompress(data, 1 << 20)
    while not machine.eof and (piece or getattr(machine, "unconsumed_tail", b"")):
        out.write(piece)
        if out.tell() > room:
            raise ValueError(f"{len(data):,} bytes that grow to more than {room:,}; save it uncompressed")
        piece = machine.decompress(getattr(machine, "unconsumed_tail", b""), 1 << 20)
    out.write(piece)
    if not machine.eof:
        raise EOFError("it is cut short")
    return out.getvalue()
