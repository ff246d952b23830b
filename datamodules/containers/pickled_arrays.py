"""What pickles name to make arrays, scalars and plain containers, each as a function that takes nothing on trust."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from pose_priors.datamodules.containers.named import Named, Reading, Unfinished
from pose_priors.datamodules.containers.npy import array_of, checked_shape, plain_dtype, record_dtype
from pose_priors.datamodules.containers.unpickling import Machine, is_key

_FACTORIES: dict[str, Callable[[], Any]] = {f"builtins.{kind.__name__}": kind for kind in (dict, list, set, int, float)}
_ORDERS = ("<", ">", "=", "|")
_MOST_DENSE = 1 << 28  # numbers of a sparse matrix written out; SMPL-X's regressor has half a million


class PickledDtype(Unfinished):
    """A dtype: its code, and from its state the order of its bytes or its fields."""

    __slots__ = ("_code", "_dtype", "_is_set")

    def __init__(self, code: str) -> None:
        self._code, self._is_set = code, False
        self._dtype = None if code.startswith("V") or code[:2] in ("M8", "m8") else np.dtype(object) if code == "O8" else plain_dtype(code)

    @property
    def dtype(self) -> np.dtype:
        """As numpy knows it. Raises `ValueError` if nothing says what it is."""
        if self._dtype is None:
            return plain_dtype(self._code)
        return self._dtype

    def set_state(self, machine: Reading, state: Any) -> PickledDtype:
        """Takes `(version, byte order, subarray, names, fields, item size, alignment, flags)` and perhaps what unit a time has."""
        if self._is_set or type(state) is not tuple or not 8 <= len(state) <= 9 or state[1] not in _ORDERS or state[2] is not None:
            raise ValueError("the state of a dtype")
        self._is_set = True
        order, names, fields, itemsize = state[1], state[3], state[4], state[5]
        if names is not None:
            self._dtype = self._record(names, fields, itemsize)
        elif self._code[:2] in ("M8", "m8"):
            unit: tuple[Any, ...] = state[8][1] if len(state) == 9 else ("generic",)
            name = unit[0].decode() if isinstance(unit[0], bytes) else unit[0]
            number = "" if unit[1:2] in ((), (1,)) else str(unit[1])
            self._dtype = plain_dtype(f"{order}{self._code}[{number}{name}]")
        elif self._code[:1] in "SUV":
            self._dtype = plain_dtype(f"{'' if order == '|' else order}{self._code}")
        elif self._code != "O8":
            self._dtype = plain_dtype(self._code).newbyteorder(order)
        return self

    def _record(self, names: Any, fields: Any, itemsize: Any) -> np.dtype:
        if not (isinstance(names, tuple) and isinstance(fields, dict) and type(itemsize) is int and 0 < itemsize < 1 << 20):
            raise ValueError("the state of a dtype")
        found: list[Any] = [fields.get(name) for name in names if isinstance(name, str)]
        if len(found) != len(names) or not all(
            isinstance(f, tuple) and isinstance(f[0], PickledDtype) and type(f[1]) is int and f[1] >= 0 for f in found
        ):
            raise ValueError("the state of a dtype")
        return record_dtype(names, [field[0].dtype for field in found], [field[1] for field in found], itemsize)


class SparseMatrix(Unfinished):
    """A matrix of scipy's as SMPL's files have it, without scipy."""

    __slots__ = ("_kind",)

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def set_state(self, machine: Reading, state: Any) -> np.ndarray:
        """Takes the attributes of scipy's class, and returns the matrix written out."""
        if type(state) is not dict:
            raise ValueError("the state of a sparse matrix")
        shape = checked_shape(state.get("_shape", state.get("shape")))
        if len(shape) != 2 or math.prod(shape) > _MOST_DENSE:
            raise ValueError(f"a sparse matrix of shape {shape}")
        parts = ("row", "col") if self._kind == "coo" else ("indices", "indptr")
        values, first, second = (_row(state.get(name)) for name in ("data", *parts))
        first, second = first.astype(np.int64), second.astype(np.int64)
        if self._kind != "coo":
            counts = np.diff(second)
            if len(second) != shape[self._kind == "csc"] + 1 or second[0] != 0 or (counts < 0).any() or second[-1] > len(values):
                raise ValueError("a sparse matrix whose rows do not fit")
            first, values = first[: second[-1]], values[: second[-1]]
            second = np.repeat(np.arange(len(counts)), counts)
        rows, columns = (second, first) if self._kind == "csr" else (first, second)
        if not len(rows) == len(columns) == len(values):
            raise ValueError("a sparse matrix of unequal parts")
        if len(rows) and (min(rows.min(), columns.min()) < 0 or rows.max() >= shape[0] or columns.max() >= shape[1]):
            raise ValueError("a sparse matrix whose entries lie outside")
        dense = np.zeros(shape, values.dtype)
        np.add.at(dense, (rows, columns), values)
        return dense


def _row(values: Any) -> np.ndarray:
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iuf":
        raise ValueError("the state of a sparse matrix")
    return values


def _set_array(array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, fortran: bool, values: bytes | list[Any]) -> None:
    """numpy's own way of giving an array everything in place; what is given has been checked."""
    array.__setstate__((1, shape, dtype, fortran, values))  # type: ignore[arg-type]  # its stubs ask for numpy's truth values


def _dtype(_: Machine, code: Any, *__: Any) -> PickledDtype:
    if not isinstance(code, str):
        raise ValueError("a dtype without a code")
    return PickledDtype("O8" if code in ("O", "|O", "O4", "O8", "|O8") else code)


def _bytes_of(value: Any) -> bytes | bytearray:
    # bytes of Python 2 are text here, letter for byte
    if isinstance(value, str):
        return value.encode("latin1")
    if not isinstance(value, bytes | bytearray):
        raise ValueError(f"a {type(value).__name__} in place of an array's bytes")
    return value


def _reconstruct(machine: Reading, kind: Any, shape: Any, *_: Any) -> np.ndarray:
    if not isinstance(kind, Named) or kind.name != "numpy.ndarray" or shape != (0,):
        raise ValueError("an array that is not numpy's own")
    return machine.blank(_fill)


def _fill(machine: Reading, array: np.ndarray, state: Any) -> None:
    """Gives a blank array its state, in place: others may know it already."""
    if type(state) is not tuple or len(state) not in (4, 5):
        raise ValueError("the state of an array")
    shape, kind, fortran, values = state[-4:]
    shape = checked_shape(shape)
    if not isinstance(kind, PickledDtype):
        raise ValueError("an array without a dtype")
    if kind.dtype.hasobject:
        if type(values) is not list or len(values) != math.prod(shape):
            raise ValueError(f"an array of objects of shape {shape} with other numbers of them")
        machine.take(8 * len(values))
        _set_array(array, shape, np.dtype(object), bool(fortran), values)
        return
    data = _bytes_of(values)
    machine.take(len(data))
    made = array_of(data, kind.dtype, shape, bool(fortran))
    _set_array(array, shape, made.dtype, bool(fortran), made.tobytes("A"))


def _from_buffer(machine: Reading, data: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> np.ndarray:
    if not isinstance(kind, PickledDtype) or kind.dtype.hasobject or order not in ("C", "F", "K"):
        raise ValueError("an array without a dtype")
    machine.take(len(data := _bytes_of(data)))
    array = array_of(data, kind.dtype, checked_shape(shape), order == "F")
    if order == "K" and axes is not None:
        if type(axes) is not tuple or sorted(axes) != list(range(array.ndim)):
            raise ValueError("axes that are none")
        return array.transpose(axes)
    return array


def _scalar(machine: Reading, kind: Any, data: Any = b"") -> Any:
    if not isinstance(kind, PickledDtype) or kind.dtype.hasobject:
        raise ValueError("a scalar without a dtype")
    machine.take(len(data := _bytes_of(data)))
    return array_of(data, kind.dtype, (), False)[()]


def _encoded(_: Machine, text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("text that is no bytes")
    return text.encode("latin1")


def _byte_array(_: Machine, data: Any = b"", *__: Any) -> bytearray:
    return bytearray(_bytes_of(data))


def _members(items: Any) -> Any:
    if not isinstance(items, list | tuple | set | frozenset) or not all(is_key(item) for item in items):
        raise ValueError("members of what is no set")
    return items


def _ordered(_: Machine, pairs: Any = ()) -> OrderedDict[Any, Any]:
    if not isinstance(pairs, list | tuple) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError("an ordered dict of what are no pairs")
    _members([pair[0] for pair in pairs])
    return OrderedDict(pairs)


def _defaulting(_: Machine, factory: Any = None) -> defaultdict[Any, Any]:
    if factory is None:
        return defaultdict()
    if not isinstance(factory, Named) or factory.name not in _FACTORIES:
        raise ValueError("a dict that makes up its values")
    return defaultdict(_FACTORIES[factory.name])


def _complex(_: Machine, real: Any, imaginary: Any) -> complex:
    if not all(isinstance(part, int | float) for part in (real, imaginary)):
        raise ValueError("a complex number of what are no numbers")
    return complex(real, imaginary)


def _copied(machine: Reading, kind: Any, base: Any, state: Any) -> SparseMatrix:
    if not isinstance(kind, Named) or not kind.name.startswith("scipy.") or kind.make is None or state is not None:
        raise ValueError("an object without its class's help")
    made = kind.make(machine)
    assert isinstance(made, SparseMatrix)
    return made


def _sparse(kind: str) -> Callable[[Machine], SparseMatrix]:
    return lambda _: SparseMatrix(kind)


NAMES: dict[str, Named] = {
    named.name: named
    for named in (
        *(Named(f"numpy.{core}.multiarray._reconstruct", _reconstruct) for core in ("core", "_core")),
        *(Named(f"numpy.{core}.multiarray.scalar", _scalar) for core in ("core", "_core")),
        *(Named(f"numpy.{core}.numeric._frombuffer", _from_buffer) for core in ("core", "_core")),
        Named("numpy.ndarray"),
        Named("numpy.dtype", _dtype),
        Named("collections.OrderedDict", _ordered),
        Named("collections.defaultdict", _defaulting),
        Named("builtins.set", lambda _, items=(): set(_members(items))),
        Named("builtins.frozenset", lambda _, items=(): frozenset(_members(items))),
        Named("builtins.bytearray", _byte_array),
        Named("builtins.bytes", lambda _: b""),
        Named("builtins.complex", _complex),
        *(Named(f"builtins.{kind}") for kind in ("list", "dict", "int", "float", "object")),
        Named("_codecs.encode", _encoded),
        Named("copyreg._reconstructor", _copied),
        *(Named(f"scipy.sparse.{module}.{kind}_matrix", _sparse(kind)) for kind in ("csc", "csr", "coo") for module in (kind, f"_{kind}")),
    )
}
"""What may be named, by module and name; the older module names of numpy and scipy too."""
