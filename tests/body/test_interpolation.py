from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from pose_priors.body.interpolation import lerp_missing, slerp_missing

SEEN = np.array([0, 1, 1, 0, 0, 0, 1, 0, 1, 0], bool)
AT = np.flatnonzero(SEEN)


def test_lerp_is_numpy_interp_and_holds_the_ends() -> None:
    values = np.random.default_rng(0).normal(size=(10, 2, 3))
    filled = lerp_missing(np.where(SEEN[:, None, None], values, np.nan), SEEN)
    for i in range(2):
        for c in range(3):
            np.testing.assert_allclose(filled[:, i, c], np.interp(np.arange(10), AT, values[AT, i, c]))


@pytest.mark.parametrize("size", [1e-9, 0.5, 3.0])
def test_slerp_is_scipys(size: float) -> None:
    rng = np.random.default_rng(1)
    rotvec = rng.normal(size=(10, 4, 3))
    rotvec *= size / np.linalg.norm(rotvec, axis=-1, keepdims=True)
    filled = slerp_missing(np.where(SEEN[:, None, None], rotvec, np.nan), SEEN)
    np.testing.assert_array_equal(filled[SEEN], rotvec[SEEN])
    for j in range(4):
        expected = Slerp(AT, Rotation.from_rotvec(rotvec[AT, j]))(np.arange(10).clip(AT[0], AT[-1]))
        assert (expected.inv() * Rotation.from_rotvec(filled[:, j])).magnitude().max() < 1e-7


def test_slerp_goes_the_short_way_through_pi() -> None:
    rotvec = np.array([[3.0, 0, 0], [np.nan] * 3, [-3.0, 0, 0]])
    middle = slerp_missing(rotvec[:, None], np.array([True, False, True]))[1, 0]
    assert abs(middle[0]) == pytest.approx(np.pi)


def test_one_seen_frame_is_held_everywhere() -> None:
    seen = np.array([False, True, False])
    assert (slerp_missing(np.full((3, 1, 3), 0.2), seen) == 0.2).all()
    assert (lerp_missing(np.array([[np.nan], [4.0], [np.nan]]), seen) == 4).all()
