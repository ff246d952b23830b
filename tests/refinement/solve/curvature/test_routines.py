"""Routines of BLAS and LAPACK that are made ready once: what they do, each time that they are called, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from pose_priors.refinement.solve.curvature.routines import cholesky, divided, square_added


def positive(size: int, seed: int) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(size, size))
    return root @ root.T + np.eye(size)


@pytest.mark.parametrize("size", [1, 5, 75])
def test_a_factor_takes_the_place_of_what_stands_there_at_each_call(size: int) -> None:
    place = np.full((size, size), 7.0, order="F")
    factor = cholesky(place)
    for seed in range(3):
        matrix = positive(size, seed)
        place[np.tril_indices(size)] = matrix[np.tril_indices(size)]
        assert factor()
        np.testing.assert_allclose(np.tril(place), np.linalg.cholesky(matrix), rtol=1e-10, atol=1e-12)
        assert (place[np.triu_indices(size, 1)] == 7).all()


def test_a_matrix_without_a_factor_is_said_and_the_next_has_one() -> None:
    place = np.asfortranarray(-np.eye(3))
    factor = cholesky(place)
    assert not factor()
    place[:] = np.eye(3)
    assert factor()


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (7, 3), (160, 75)])
def test_values_are_divided_and_their_square_is_added_at_each_call(rows: int, size: int) -> None:
    draw = np.random.default_rng(0)
    values, root, total = (np.zeros(shape, order="F") for shape in ((rows, size), (size, size), (rows, rows)))
    divide, add, sum_of_squares = divided(values, root), square_added(total, values), np.zeros((rows, rows))
    for seed in range(3):
        given = draw.normal(size=(rows, size))
        values[:], root[:] = given, np.linalg.cholesky(positive(size, seed))
        divide()
        np.testing.assert_allclose(values @ root.T, given, rtol=1e-9, atol=1e-9)
        add()
        sum_of_squares += values @ values.T
        np.testing.assert_allclose(np.tril(total), np.tril(sum_of_squares), rtol=1e-9, atol=1e-9)
        assert (total[np.triu_indices(rows, 1)] == 0).all()


@pytest.mark.parametrize("matrix", [np.eye(3, 4), np.asfortranarray(np.eye(3, dtype=np.float32)), np.asfortranarray(np.eye(6))[::2, ::2]])
def test_what_lies_otherwise_in_memory_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"where float64 in Fortran's order is asked for"):
        cholesky(matrix)


def test_nothing_is_no_error_of_the_library(capfd: pytest.CaptureFixture[str]) -> None:
    nothing, some, square = (np.zeros(shape, order="F") for shape in ((0, 0), (0, 3), (3, 3)))
    assert cholesky(nothing)()
    divided(some, np.asfortranarray(np.eye(3)))()
    square_added(nothing, some)()
    square_added(square, np.zeros((3, 0), order="F"))()
    assert capfd.readouterr() == ("", "")
    assert not square.any()
