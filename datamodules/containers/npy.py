"""The bytes of numpy's arrays: dtypes from a list, shapes that fit their bytes, values that numpy's own code can bear."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import IO, Literal

import numpy as np

_PLAIN = re.compile(r"[<>|=]?(\?|[bBhHiIlLqQefdgFDG]|b1|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SUV]\d{1,7})")
_TIME = re.compile(r"[<>|=]?[mM]8(\[\d{0,9}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as|generic)\])?")
_MOST_DIMENSIONS = 32
_MOST_HEADER = 1 << 16
_LAST_CHARACTER = 0x10FFFF


def plain_dtype(code: object) -> np.dtype:
    """The dtype of numbers, truth values, text, bytes or times that a code means. Raises `ValueError` for any other, objects included."""
    if not isinstance(code, str) or not (_PLAIN.fullmatch(code) or _TIME.fullmatch(code)):
        raise ValueError(f"the dtype {code[:40] if isinstance(code, str) else type(code).__name__!r}; numbers, text and times are read")
    return np.dtype(code)


def record_dtype(names: Sequence[str], formats: Sequence[np.dtype], offsets: Sequence[int], itemsize: int) -> np.dtype:
    """The dtype of records whose fields lie one after the other. Raises `ValueError` if they overlap or stick out."""
    end = 0
    for format_, offset in sorted(zip(formats, offsets, strict=True), key=lambda field: field[1]):
        if format_.hasobject or offset < end:
            raise ValueError("records whose fields overlap or hold objects")
        end = offset + format_.itemsize
    if not 0 < end <= itemsize or len(set(names)) != len(names):
        raise ValueError("records whose fields stick out, or bear one name")
    return np.dtype({"names": list(names), "formats": list(formats), "offsets": list(offsets), "itemsize": itemsize})


def checked_shape(shape: object) -> tuple[int, ...]:
    """A shape of Python ints. Raises `ValueError` if it is none, or has negative or too many dimensions."""
    # what is no shape is not shown: it can be as large as it likes
    if not isinstance(shape, tuple | list) or len(shape) > _MOST_DIMENSIONS or not all(type(n) is int for n in shape):
        raise ValueError(f"a {type(shape).__name__} in place of a shape")
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {str(tuple(shape))[:80]}")
    if math.prod(n for n in shape if n) > 2**62:  # also where another dimension is 0: numpy multiplies in 64 bits
        raise ValueError(f"the shape {str(shape)[:80]}")
    return tuple(shape)


def checked_size(dtype: np.dtype, shape: tuple[int, ...], num_bytes: int, at_least: bool = False) -> int:
    """The bytes that an array needs. Raises `ValueError` if these are not what there is, or its elements have no bytes."""
    needed = math.prod(shape) * dtype.itemsize
    if needed > num_bytes or (needed < num_bytes and not at_least) or (dtype.itemsize == 0 and math.prod(shape) > 1):
        raise ValueError(f"{num_bytes:,} bytes for an array of shape {shape} of {dtype}, which needs {needed:,}: cut short, or a lie")
    return needed


def sound(array: np.ndarray) -> np.ndarray:
    """The array, truth values made of 0 and 1: numpy counts and copies by such bytes without a look at them.

    Raises:
        ValueError: if text in it is none, or records hold truth values that are neither.
    """
    if array.dtype.names is not None:
        for name in array.dtype.names:
            if _is_other_truth(array[name]):
                raise ValueError("truth values that are neither 0 nor 1")
            sound(array[name])
        return array
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        codes = np.ascontiguousarray(array).reshape(-1).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if codes.max() > _LAST_CHARACTER or ((codes >= 0xD800) & (codes < 0xE000)).any():
            raise ValueError("text of numbers that are no characters")
    return array.view(np.uint8) != 0 if _is_other_truth(array) else array


def _is_other_truth(array: np.ndarray) -> bool:
    return array.dtype.kind == "b" and bool(array.size) and int(array.view(np.uint8).max()) > 1


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, and dtype of a `.npy` at the stream's position; the stream is left at its values.

    Raises:
        ValueError: if there is no header of numpy's, or it declares what cannot be.
    """
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of .npy")
    try:
        shape, fortran, dtype = read(stream, max_header_size=_MOST_HEADER)
    except Exception as error:  # whatever a literal of a stranger makes Python's parser raise
        raise ValueError(f"its header is none of numpy's ({type(error).__name__})") from error
    if dtype.hasobject and dtype != np.dtype(object):
        raise ValueError("records of objects")
    if not dtype.hasobject and dtype.names is None:
        plain_dtype(dtype.str)
    return checked_shape(shape), fortran, dtype


def array_of(data: bytes | bytearray | memoryview, dtype: np.dtype, shape: tuple[int, ...], fortran: bool) -> np.ndarray:
    """An array that may be written to, of a copy of its bytes. Raises `ValueError` if they do not fit."""
    checked_size(dtype, shape, len(data))
    order: Literal["F", "C"] = "F" if fortran else "C"
    if not len(data):
        return np.empty(shape, dtype, order)
    return sound(np.frombuffer(bytearray(data), dtype).reshape(shape, order=order))
