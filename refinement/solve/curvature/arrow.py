"""Symmetric matrices of many people over time: banded for each person, with a border of what all frames share.

Of a person's frames each meets only the next two, so that its part is a band; shapes, biases, the scale and the floor meet all of them.
Such an arrow has a Cholesky factor of the same shape, which LAPACK's banded routines find in time that grows with the frames and not with
their square (Golub & Van Loan, "Matrix Computations", 4th ed., 4.3.5 and 4.5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg.lapack import dpbtrf, dtbtrs, stbtrs

_LEAST = 1e-12  # of its diagonal, added to it, so that what nothing tells stays where it is
_LARGEST = 300e6  # bytes that a factor may take, in single precision


def is_large(person_frames: int, size: int) -> bool:
    """Whether the factor of so many people's frames with so many coordinates each would take more memory than it is worth."""
    return 4 * person_frames * 3 * size**2 > _LARGEST


class NotDefiniteError(ArithmeticError):
    """A matrix has no Cholesky factor, not even with a little added to its diagonal."""


class Band:
    """One person's part: blocks (T, D, D) on the diagonal, and one and two frames beside it.

    Rows (D, 3 D) of a frame against itself and the next two lie in memory such that, with one number between frames for each of them, they
    are the columns of LAPACK's lower banded storage.

    Attributes:
        columns: (3 D + 1, T D), that storage: row k of a column is what lies k below the diagonal.
        blocks: those at t of (t, t), of which only the upper triangle counts and the rest has to be 0, (t, t + 1) and (t, t + 2).
    """

    def __init__(self, frames: int, size: int) -> None:
        whole = np.zeros((frames, size * (3 * size + 1)))
        rows = whole[:, : 3 * size**2].reshape(frames, size, 3 * size)
        self.columns = whole.reshape(frames * size, 3 * size + 1).T
        self.blocks = tuple(rows[:, :, apart * size : (apart + 1) * size] for apart in range(3))


class Factor:
    """The Cholesky factor of an arrow, whose inverse makes its curvature one in all directions.

    Args:
        bands: each person's, `factored`, of single or of double precision.
        borders: each person's (T D, G_p) against those of the shared coordinates that it feels, `solved` by its band.
        places: each person's (G_p,) indices among the shared coordinates.
        shared: (G, G).
    Raises:
        NotDefiniteError: where there is none.
    """

    def __init__(
        self, bands: Sequence[np.ndarray], borders: Sequence[np.ndarray], places: Sequence[np.ndarray], shared: np.ndarray
    ) -> None:
        self._bands = bands
        self._places = places
        self._borders = borders
        left = shared.copy()
        for border, place in zip(self._borders, places, strict=True):
            left[np.ix_(place, place)] -= border.T @ border
        left[np.diag_indices_from(left)] += _LEAST * np.diagonal(shared) + np.finfo(float).tiny
        try:
            self._shared = np.linalg.cholesky(left)
        except np.linalg.LinAlgError as error:
            raise NotDefiniteError from error

    def white_gradient(self, people: Sequence[np.ndarray], shared: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The gradient by the white coordinates, of that by the people's own (T D,) and the shared ones (G,)."""
        white = [solved(band, gradient) for band, gradient in zip(self._bands, people, strict=True)]
        left = shared.copy()
        for border, place, gradient in zip(self._borders, self._places, white, strict=True):
            left[place] -= border.T @ gradient
        return white, np.linalg.solve(self._shared, left) if len(left) else left

    def step(self, people: Sequence[np.ndarray], shared: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The step in the people's own and the shared coordinates, of one in the white ones."""
        of_shared = np.linalg.solve(self._shared.T, shared) if len(shared) else shared
        of_people = [
            solved(band, white - border @ of_shared[place], transposed=True)
            for band, border, place, white in zip(self._bands, self._borders, self._places, people, strict=True)
        ]
        return of_people, of_shared


def factored(made: Callable[[], Band]) -> np.ndarray:
    """The Cholesky factor of a person's part in LAPACK's lower banded storage, which takes the place of the part, so that it is made again
    where more has to be added to its diagonal. Raises `NotDefiniteError` where there is none."""
    for more in (_LEAST, 1e-9, 1e-6):
        columns = made().columns
        if not columns.size:
            return columns
        columns[0] += more * (columns[0].max() or 1.0)  # of somebody whom nothing was seen of
        factor, info = dpbtrf(columns, lower=1, overwrite_ab=1)
        if info == 0:
            return np.asarray(factor)
    raise NotDefiniteError


def solved(band: np.ndarray, values: np.ndarray, *, transposed: bool = False) -> np.ndarray:
    """The inverse of a person's factor, or of its transpose, times values (T D, ...)."""
    if not values.size:
        return values
    solve = stbtrs if band.dtype == np.float32 else dtbtrs
    found, info = solve(band, values.reshape(len(values), -1).astype(band.dtype), uplo="L", trans="T" if transposed else "N")
    if info:
        raise NotDefiniteError
    return np.asarray(found, np.float64).reshape(values.shape)
