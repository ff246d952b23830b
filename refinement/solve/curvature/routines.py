"""Routines of BLAS and LAPACK that work in place, made ready once and called many times, while other Python threads go on.

`scipy.linalg`'s own functions hold Python's lock until they are done. These are the same routines, by the pointers that SciPy publishes
for compiled code (`scipy.linalg.cython_blas` and `cython_lapack`). All matrices are float64 in Fortran's order, and of symmetric and
triangular ones the lower triangle counts.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from types import ModuleType

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

_ONE = ctypes.c_double(1.0)


def cholesky(matrix: np.ndarray) -> Callable[[], bool]:
    """What puts the Cholesky factor of a matrix (D, D) into its lower triangle, and says whether there is one."""
    size, apart, info = ctypes.c_int(len(matrix)), _apart(matrix), ctypes.c_int()
    run = _ready(cython_lapack, "dpotrf", b"L", size, matrix, apart, info)

    def factor() -> bool:
        run()
        return info.value == 0

    return factor


def divided(values: np.ndarray, root: np.ndarray) -> Callable[[], None]:
    """What multiplies values (M, D) by the inverse of the transpose of a lower triangular root (D, D)."""
    rows, size = map(ctypes.c_int, values.shape)
    return _ready(cython_blas, "dtrsm", b"R", b"L", b"T", b"N", rows, size, _ONE, root, _apart(root), values, _apart(values))


def square_added(total: np.ndarray, values: np.ndarray) -> Callable[[], None]:
    """What adds values (M, D) times their own transpose to a symmetric total (M, M)."""
    rows, size = map(ctypes.c_int, values.shape)
    return _ready(cython_blas, "dsyrk", b"L", b"N", rows, size, _ONE, values, _apart(values), _ONE, total, _apart(total))


def _apart(matrix: np.ndarray) -> ctypes.c_int:
    """By how many numbers columns follow each other in memory, of which a routine wants one at least."""
    return ctypes.c_int(max(1, matrix.shape[0]))


def _ready(module: ModuleType, name: str, *arguments: bytes | ctypes.c_int | ctypes.c_double | np.ndarray) -> Callable[[], None]:
    """A call of a routine with pointers to these, which are read and written anew each time."""
    routine = _routine(module, name, len(arguments))
    pointers = [_pointer(argument) for argument in arguments]

    def run(_kept: tuple[object, ...] = arguments) -> None:  # as long as there are pointers to them
        routine(*pointers)

    return run


def _pointer(argument: bytes | ctypes.c_int | ctypes.c_double | np.ndarray) -> ctypes.c_void_p:
    if isinstance(argument, np.ndarray):
        if argument.dtype != np.float64 or not argument.flags.f_contiguous or not argument.flags.writeable:
            raise ValueError(f"a matrix {argument.shape} of {argument.dtype}, where float64 in Fortran's order is asked for")
        return ctypes.c_void_p(argument.ctypes.data)
    return ctypes.cast(ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.byref(argument), ctypes.c_void_p)


@cache
def _routine(module: ModuleType, name: str, count: int) -> Callable[..., None]:
    """One of so many arguments, all of them pointers. Calls of it let go of Python's lock."""
    capsule = module.__pyx_capi__[name]
    of_name = ctypes.pythonapi.PyCapsule_GetName
    of_name.restype, of_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    of_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    of_pointer.restype, of_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    made: Callable[..., None] = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * count)(of_pointer(capsule, of_name(capsule)))
    return made
