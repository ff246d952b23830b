"""Pickles read without running what they name: arrays, tensors and plain containers come out, anything else is refused.

Used for `.pkl` files, whether written by pickle, torch or joblib, and for the object arrays that numpy files may hold.
"""

from __future__ import annotations

import bz2
import collections
import io
import lzma
import math
import pickle
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from pose_priors.configs.base import UserError

_multiarray = np._core.multiarray
_REBUILD_ARRAY: list[tuple[Callable[..., Any], str]] = [
    (getattr(_multiarray, name), f"{module}.multiarray.{name}")
    for module in ("numpy.core", "numpy._core")
    for name in ("_reconstruct", "scalar")
]


def _load_storage(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _encode(text: str, encoding: str) -> bytes:
    return text.encode(encoding)


_ALLOWED: dict[str, Any] = {
    **{name: function for function, name in _REBUILD_ARRAY},
    "numpy.core.numeric._frombuffer": np._core.numeric._frombuffer,
    "numpy._core.numeric._frombuffer": np._core.numeric._frombuffer,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "collections.OrderedDict": collections.OrderedDict,
    "collections.defaultdict": collections.defaultdict,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "builtins.bytearray": bytearray,
    "builtins.complex": complex,
    "builtins.slice": slice,
    "builtins.bytes": bytes,
    "_codecs.encode": _encode,
    "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,
    "torch.storage._load_from_bytes": _load_storage,
    # a defaultdict names its factory, and that is all it may name
    "builtins.list": list,
    "builtins.dict": dict,
    "builtins.int": int,
    "builtins.float": float,
}


_JOBLIB_ARRAY = "joblib.numpy_pickle.NumpyArrayWrapper"
# joblib compresses the whole file, and tells by its first bytes how
_COMPRESSED: dict[bytes, Callable[[], Any]] = {
    b"\x78": zlib.decompressobj,
    b"\x1f\x8b": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    b"BZ": bz2.BZ2Decompressor,
    b"\x5d\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE),
    b"\xfd7zXZ": lzma.LZMADecompressor,
}
_MOST_BYTES = 4 << 30  # more than any clip needs, less than would stop a machine


class _RefusedError(Exception):
    pass


def _allowed(module: str, name: str) -> Any:
    # the older protocols write the names of Python 2
    full_name = f"{module.replace('__builtin__', 'builtins')}.{name}"
    if full_name not in _ALLOWED:
        raise _RefusedError(full_name)
    return _ALLOWED[full_name]


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _allowed(module, name)


class _StoredArray:
    """What joblib puts into the pickle in place of an array whose bytes follow. Its own class for this never runs."""

    def read(self, stream: IO[bytes]) -> np.ndarray:
        """The array at the stream's position."""
        about = vars(self)
        dtype, shape, order = about.get("dtype"), about.get("shape"), about.get("order")
        if not isinstance(dtype, np.dtype) or not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ValueError(f"an array of joblib's of dtype {dtype!r} and shape {shape!r}")
        if dtype.hasobject:
            return np.asarray(_RestrictedUnpickler(stream, encoding="latin1").load())
        if about.get("numpy_array_alignment_bytes") is not None:
            stream.read(stream.read(1)[0])
        size = math.prod(shape) * dtype.itemsize
        if len(data := stream.read(size)) != size:
            raise EOFError(f"an array of shape {shape} is cut short")
        return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if order == "F" else "C")


class _JoblibUnpickler(pickle._Unpickler):  # the one in Python: the stream stands at an array's bytes when its description is complete
    dispatch = pickle._Unpickler.dispatch.copy()

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream, encoding="latin1")
        self._stream = stream

    def find_class(self, module: str, name: str) -> Any:
        return _StoredArray if f"{module}.{name}" == _JOBLIB_ARRAY else _allowed(module, name)

    def load_build(self) -> None:
        super().load_build()
        if isinstance(self.stack[-1], _StoredArray):
            self.stack[-1] = _StoredArray.read(self.stack[-1], self._stream)

    dispatch[pickle.BUILD[0]] = load_build


def unpickle(stream: IO[bytes], origin: str) -> Any:
    """The object pickled at the stream's position.

    Args:
        stream: binary, positioned at the pickle.
        origin: what to call it in errors, usually the file's path.
    Raises:
        UserError: if the pickle names anything but arrays, tensors and plain containers, or is damaged.
    """
    try:
        start = stream.tell()
        try:
            # latin1 is what numpy's arrays pickled by Python 2 need (SMPL's own files are such)
            return _RestrictedUnpickler(stream, encoding="latin1").load()
        except _RefusedError as error:
            if str(error) != _JOBLIB_ARRAY:
                raise
        stream.seek(start)
        return _JoblibUnpickler(stream).load()
    except _RefusedError as error:
        raise UserError(
            f"{origin}: refused to unpickle {error}; only numpy arrays, torch tensors and plain containers are allowed: save an .npz"
        ) from None
    except Exception as error:
        raise UserError(f"{origin}: not a readable pickle ({type(error).__name__}: {_one_line(error)})") from error


def load_pickle(path: str | Path) -> Any:
    """The content of a pickle file, whether written by `pickle.dump`, `torch.save` or `joblib.dump`, compressed or not.

    Raises:
        UserError: as `unpickle` does.
    """
    path = Path(path)
    if zipfile.is_zipfile(path):
        return load_torch(path)
    with path.open("rb") as stream:
        return unpickle(_decompressed(stream, path), str(path))


def _decompressed(stream: IO[bytes], path: Path) -> IO[bytes]:
    start = stream.read(8)
    stream.seek(0)
    known = next((make for magic, make in _COMPRESSED.items() if start.startswith(magic)), None)
    if known is None:
        return stream
    try:
        decompressor = known()
        data = decompressor.decompress(stream.read(), _MOST_BYTES)
        if not decompressor.eof:
            raise EOFError(f"it is cut short, or holds more than {_MOST_BYTES >> 30} GiB")
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise UserError(f"{path}: not a readable compressed pickle ({_one_line(error)})") from error
    return io.BytesIO(data)


def load_torch(path: str | Path) -> Any:
    """What `torch.save` wrote, on the CPU, with `weights_only=True` and numpy arrays allowed beside tensors.

    Raises:
        UserError: if the file names any other class or function, or is damaged.
    """
    dtypes = [type(np.dtype(code)) for code in ("?", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "U1", "S1")]
    try:
        with torch.serialization.safe_globals([*_REBUILD_ARRAY, np.ndarray, np.dtype, *dtypes]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch's message runs over many lines and advises to load unsafely: only the class that it names is of use here
        message = _one_line(error)
        if named := re.search(r"GLOBAL ([\w.]+)", message):
            raise UserError(
                f"{path}: refused to load {named[1]}; only tensors, numpy arrays and plain containers are allowed: save the tensors alone"
            ) from None
        reason = "damaged, or not written by torch.save" if "weights_only" in message else message
        raise UserError(f"{path}: not a readable torch file ({reason})") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
