"""Pickles read without running what they name: arrays, tensors and plain containers come out, anything else is refused.

Used for `.pkl` files and for the object arrays that numpy files may hold.
"""

from __future__ import annotations

import collections
import io
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from configs.base import UserError

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


class _RefusedError(Exception):
    pass


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # the older protocols write the names of Python 2
        full_name = f"{module.replace('__builtin__', 'builtins')}.{name}"
        if full_name not in _ALLOWED:
            raise _RefusedError(full_name)
        return _ALLOWED[full_name]


def unpickle(stream: IO[bytes], origin: str) -> Any:
    """The object pickled at the stream's position.

    Args:
        stream: binary, positioned at the pickle.
        origin: what to call it in errors, usually the file's path.
    Raises:
        UserError: if the pickle names anything but arrays, tensors and plain containers, or is damaged.
    """
    try:
        # latin1 is what numpy's arrays pickled by Python 2 need (SMPL's own files are such)
        return _RestrictedUnpickler(stream, encoding="latin1").load()
    except _RefusedError as error:
        raise UserError(
            f"{origin}: refused to unpickle {error}; only numpy arrays, torch tensors and plain containers are allowed: save an .npz"
        ) from None
    except Exception as error:
        raise UserError(f"{origin}: not a readable pickle ({type(error).__name__}: {_one_line(error)})") from error


def load_pickle(path: str | Path) -> Any:
    """The content of a pickle file, whether written by `pickle.dump` or by `torch.save`. Raises `UserError` as `unpickle` does."""
    path = Path(path)
    if zipfile.is_zipfile(path):
        return load_torch(path)
    with path.open("rb") as stream:
        return unpickle(stream, str(path))


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
