"""Symmetric matrices of many people over time: banded for each person, with a border of what all frames share.

Of a person's frames each meets only the next two, so that its part is a band; shapes, biases, the scale and the floor meet all of them.
Such an arrow has a Cholesky factor of the same shape, which is found frame by frame, in blocks that stay in the processor's cache, in time
that grows with the frames and not with their square (Golub & Van Loan, "Matrix Computations", 4th ed., 4.3.5 and 4.5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dtbtrs, stbtrs

from pose_priors.refinement.solve.curvature.routines import cholesky, divided, square_added

_LEAST = 1e-12  # of the largest of a frame's diagonal, added to it, so that what nothing tells stays where it is
_LARGEST = 300e6  # bytes that a factor may take, in single precision
_BY_HALVES = 50e6  # bytes of a person's factor, from which on it is kept in single precision


def is_large(person_frames: int, size: int) -> bool:
    """Whether the factor of so many people's frames with so many coordinates each would take more memory than it is worth."""
    return 4 * person_frames * 3 * size**2 > _LARGEST


class NotDefiniteError(ArithmeticError):
    """A matrix has no Cholesky factor, not even with a little added to its diagonal."""


@dataclass(frozen=True)
class Blocks:
    """What some frames of a person that follow each other weigh, which is used up where it is factored.

    Attributes:
        same: (n, D, D) against themselves, of which only the upper triangle counts.
        following, after: (n, D, D) against the next frame, and the one after it; 0 where there is none.
    """

    same: np.ndarray
    following: np.ndarray
    after: np.ndarray


class Band:
    """The factor of one person's part: of each frame rows (D, 3 D) against itself and the next two.

    They lie in memory such that, with one number between frames for each of them, they are the columns of LAPACK's lower banded storage.

    Attributes:
        columns: (3 D + 1, T D), that storage: row k of a column is what lies k below the diagonal.
        rows: (T, D, 3 D), of which what is left of the diagonal has to be 0.
    """

    def __init__(self, frames: int, size: int) -> None:
        count = frames * size * (3 * size + 1)
        whole = np.zeros((frames, size * (3 * size + 1)), np.float32 if 8 * count > _BY_HALVES else np.float64)
        self.rows = whole[:, : 3 * size**2].reshape(frames, size, 3 * size)
        self.columns = whole.reshape(frames * size, 3 * size + 1).T

    def solved(self, values: np.ndarray, *, transposed: bool = False) -> np.ndarray:
        """The inverse of the factor, or of its transpose, times values (T D,)."""
        if not values.size:
            return values
        solve = stbtrs if self.columns.dtype == np.float32 else dtbtrs
        found, info = solve(self.columns, values.astype(self.columns.dtype), uplo="L", trans="T" if transposed else "N")
        if info:
            raise NotDefiniteError
        return np.asarray(found, np.float64)


@dataclass(frozen=True)
class Part:
    """What of the factor is one person's.

    Attributes:
        band: of its own coordinates; in single precision where that saves much, as coordinates are the same but for a rounding.
        border: (T D, G) against the shared coordinates that it feels.
        corner: (G, G) what the border takes from those.
    """

    band: Band
    border: np.ndarray
    corner: np.ndarray


class Factor:
    """The Cholesky factor of an arrow, whose inverse makes its curvature one in all directions.

    Args:
        people: each one's.
        places: each person's (G_p,) indices among the shared coordinates.
        shared: (G, G).
    Raises:
        NotDefiniteError: where there is none.
    """

    def __init__(self, people: Sequence[Part], places: Sequence[np.ndarray], shared: np.ndarray) -> None:
        self._people, self._places = people, places
        left = shared.copy()
        for part, place in zip(people, places, strict=True):
            left[np.ix_(place, place)] -= part.corner
        left[np.diag_indices_from(left)] += _LEAST * np.diagonal(shared) + np.finfo(float).tiny
        try:
            self._shared = np.linalg.cholesky(left)
        except np.linalg.LinAlgError as error:
            raise NotDefiniteError from error

    def white_gradient(self, people: Sequence[np.ndarray], shared: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The gradient by the white coordinates, of that by the people's own (T D,) and the shared ones (G,)."""
        white = [part.band.solved(gradient) for part, gradient in zip(self._people, people, strict=True)]
        left = shared.copy()
        for part, place, gradient in zip(self._people, self._places, white, strict=True):
            left[place] -= part.border.T @ gradient
        return white, np.linalg.solve(self._shared, left) if len(left) else left

    def step(self, people: Sequence[np.ndarray], shared: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The step in the people's own and the shared coordinates, of one in the white ones."""
        of_shared = np.linalg.solve(self._shared.T, shared) if len(shared) else shared
        of_people = [
            part.band.solved(white - part.border @ of_shared[place], transposed=True)
            for part, place, white in zip(self._people, self._places, people, strict=True)
        ]
        return of_people, of_shared


def factored(made: Callable[[], Iterable[Blocks]], border: np.ndarray) -> Part:
    """The factor of a person's part, which is used up, so that it is made again where more has to be added to its diagonal.

    Args:
        made: its blocks in the order of time, T frames in all.
        border: (T, D, G) against the shared coordinates.
    Raises:
        NotDefiniteError: where there is none.
    """
    for more in (_LEAST, 1e-9, 1e-6):
        found = _factored(made(), border, more)
        if found is not None:
            return found
    raise NotDefiniteError


def _factored(blocks: Iterable[Blocks], border: np.ndarray, more: float) -> Part | None:
    frames, size, shared = border.shape
    band, solved = Band(frames, size), np.empty(border.shape)
    next_one, one_after, all_shared = slice(size), slice(size, 2 * size), slice(2 * size, None)
    # in the order of C, whose transposes are in that of Fortran: what frames that are done take from the next two and from the shared
    # coordinates, of which the upper triangle counts; and the rows of the frame at hand beside its diagonal block
    taken, beside, t = np.zeros((2 * size + shared,) * 2), np.empty((size, 2 * size + shared)), 0
    root, upper = np.empty((size, size)), np.triu(np.ones((size, size)))
    factor, divide, take = cholesky(root.T), divided(beside.T, root.T), square_added(taken.T, beside.T)
    for some in blocks:
        diagonal = np.einsum("tii->ti", some.same)
        largest = diagonal.max(1, keepdims=True)
        diagonal += more * np.where(largest > 0, largest, 1.0)  # of somebody whom nothing was seen of
        for same, following, after in zip(some.same, some.following, some.after, strict=True):
            np.subtract(same, taken[next_one, next_one], out=root)
            np.multiply(root, upper, out=root)
            np.subtract(following, taken[next_one, one_after], out=beside[:, next_one])
            beside[:, one_after] = after
            np.subtract(border[t], taken[next_one, all_shared], out=beside[:, all_shared])
            if not (factor() and math.isfinite(root[-1, -1])):  # which is what comes of anything that is not
                return None
            divide()
            taken[next_one, next_one], taken[next_one, all_shared] = taken[one_after, one_after], taken[one_after, all_shared]
            taken[next_one, one_after] = taken[one_after, one_after] = taken[one_after, all_shared] = 0
            take()
            band.rows[t, :, :size], band.rows[t, :, size:], solved[t] = root, beside[:, : 2 * size], beside[:, all_shared]
            t += 1
    corner = taken[all_shared, all_shared]
    return Part(band, solved.reshape(frames * size, shared), np.triu(corner) + np.triu(corner, 1).T)
