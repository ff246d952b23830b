from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from pose_priors.body.pinhole import project, to_camera, to_world, unproject
from pose_priors.refinement.given.robust import spread, weighted_median
from pose_priors.refinement.given.scale import (
    camera_heights,
    combined,
    depth_biases,
    from_bodies,
    from_floor,
    place_by_keypoints,
    stands_at,
    width_of_scale,
)

K = np.array([[600.0, 0, 320], [0, 610.0, 180], [0, 0, 1]])
RNG = np.random.default_rng(0)
JOINTS = RNG.normal([0, 0, 5], [0.3, 0.7, 0.2], (2, 4, 15, 3))


def test_geometry_goes_there_and_back() -> None:
    w2c = np.tile(np.eye(4), (4, 1, 1))
    w2c[:, :3, :3], w2c[:, :3, 3] = Rotation.random(4, rng=0).as_matrix(), RNG.normal(size=(4, 3))
    np.testing.assert_allclose(to_camera(to_world(JOINTS, w2c), w2c), JOINTS, atol=1e-12)
    np.testing.assert_allclose(to_camera(JOINTS, w2c)[1, 2, 3], w2c[2, :3, :3] @ JOINTS[1, 2, 3] + w2c[2, :3, 3])
    np.testing.assert_allclose(unproject(project(JOINTS, K), JOINTS[..., 2], K), JOINTS, atol=1e-12)
    assert np.isnan(project(-JOINTS, K)).all()


def test_keypoints_place_a_body_exactly() -> None:
    shift = RNG.normal(0, [0.1, 0.1, 0.4], (2, 4, 3))
    pixels = project(JOINTS + shift[:, :, None], K)
    confidence = np.ones(JOINTS.shape[:-1])
    confidence[0, 0, 5:] = 0
    found, good = place_by_keypoints(JOINTS, pixels, confidence, np.broadcast_to(K, (2, 4, 3, 3)))
    assert good.sum() == 7
    assert not good[0, 0]
    np.testing.assert_allclose(found[good], shift[good], atol=1e-6)
    np.testing.assert_array_equal(found[0, 0], 0)


def test_keypoints_place_a_body_as_a_robust_fit_does() -> None:
    pixels = project(JOINTS[:1, :1] + [0.05, 0, 0.3], K) + RNG.normal(0, 2, (1, 1, 15, 2))
    pixels[0, 0, 3] += 80
    found, _ = place_by_keypoints(JOINTS[:1, :1], pixels, np.ones((1, 1, 15)), K[None, None])

    def cost(t: np.ndarray) -> np.ndarray:
        place = JOINTS[0, 0] + t
        miss = np.linalg.norm(place[:, :2] - unproject(pixels[0, 0], place[:, 2], K)[:, :2], axis=-1)
        return np.sqrt(np.where(miss < 0.03, miss**2, 0.06 * miss - 0.03**2))

    np.testing.assert_allclose(found[0, 0], least_squares(cost, [0, 0, 0.2], xtol=1e-12, ftol=1e-12).x, atol=2e-3)


def test_noise_of_the_pose_does_not_drive_people_away() -> None:
    rng = np.random.default_rng(4)
    true = rng.normal([0, 0, 5], [0.2, 0.5, 0.1], (300, 22, 3))
    noisy = true + rng.normal(0, 0.05, true.shape)
    found, _ = place_by_keypoints(noisy, project(true, K), np.ones(true.shape[:-1]), np.broadcast_to(K, (300, 3, 3)))
    assert abs(found[:, 2].mean()) < 0.01 * 5 / 3  # a fit in pixels puts them 100 mm too far


THICKNESS = np.array([[0.12, 0.1, 0.05, 0.05, np.nan]])


def bodies(alpha: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(3, 6, (1, 50, 1)) + rng.normal(0, 0.1, (1, 50, 5))
    seen = (depth - np.nan_to_num(THICKNESS[:, None])) / alpha * (1 + 0.005 * rng.normal(size=depth.shape))
    return depth, seen, np.ones(depth.shape)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 2.6])
def test_the_scale_of_bodies_withstands_what_covers_them(alpha: float) -> None:
    depth, seen, confidence = bodies(alpha)
    seen[0, :, 1] *= np.where(np.arange(50) % 3 == 0, 0.85, 1)  # an arm in front
    found = from_bodies(depth, seen, confidence, THICKNESS)
    assert found.alpha == pytest.approx(alpha, rel=2e-3)
    assert not found.consistent[0, ::3, 1].any()
    assert found.consistent[0, :, [0, 2, 3]].mean() > 0.95
    assert not found.consistent[..., 4].any()
    assert 0 < found.error < 0.02


def test_no_depth_gives_no_scale() -> None:
    depth, seen, confidence = bodies(1.0)
    assert np.isnan(from_bodies(depth, seen, 0 * confidence, THICKNESS).alpha)


def test_the_floor_gives_the_scale_without_depth_of_bodies() -> None:
    alpha = 1.7
    heights = np.full((2, 22), np.nan)
    heights[:, [7, 8, 10, 11]] = [0.08, 0.08, 0.02, 0.02]
    joints = np.zeros((2, 6, 22, 3))
    joints[..., [7, 8, 10, 11], :] = [[0.1, 1.32, 5], [-0.1, 1.2, 5], [0.1, 1.38, 5.1], [-0.1, 1.25, 5.1]]
    w2c = np.tile(np.eye(4), (6, 1, 1))
    found, error = from_floor(joints, np.ones((2, 6), bool), heights, w2c, np.array([0, -1, 0, 1.4 / alpha]))
    assert found == pytest.approx(alpha)
    assert 0 < error < 0.05
    np.testing.assert_allclose(camera_heights(w2c, np.array([0, -1, 0, 1.4])), 1.4)
    assert np.isnan(from_floor(joints, np.zeros((2, 6), bool), heights, w2c, np.array([0, -1, 0, 1.4]))[0])


def test_a_bias_of_depth_is_told_by_the_floor_whatever_the_size() -> None:
    heights = np.full((2, 22), np.nan)
    heights[:, [7, 8, 10, 11]] = [0.08, 0.08, 0.02, 0.02]
    joints = np.full((2, 6, 22, 3), [0.0, 0.5, 5.0])
    joints[..., [7, 8, 10, 11], :] = [[0.1, 1.32, 5], [-0.1, 1.2, 5], [0.1, 1.38, 5.1], [-0.1, 1.25, 5.1]]
    thickness, seen, w2c = np.zeros((2, 22)), np.ones((2, 6), bool), np.tile(np.eye(4), (6, 1, 1))
    depth = joints[..., 2] * np.array([1.05, 0.95])[:, None, None]
    for size in (1.0, 1.1):
        by_floor = stands_at(joints * size, seen, heights * size, w2c, np.array([0, -1, 0, 1.4]))
        found = depth_biases(joints[..., 2] * size, depth, np.ones(depth.shape, bool), thickness, by_floor)
        np.testing.assert_allclose(found, np.log([1.05, 0.95]), atol=1e-6)
    none = depth_biases(joints[..., 2], depth, np.ones(depth.shape, bool), thickness, np.array([np.nan, 1.0]))
    assert none[0] == 0


def test_combined_is_the_inverse_variance_mean() -> None:
    assert combined([(2.0, 0.01), (8.0, 0.01), (np.nan, np.inf)]) == pytest.approx(4)
    assert combined([(2.0, 0.001), (3.0, 0.1)]) == pytest.approx(2, rel=1e-3)
    assert np.isnan(combined([(np.nan, np.inf)]))


def test_weighted_median_and_spread() -> None:
    values = np.random.default_rng(1).normal(2, 0.5, 4001)
    ones = np.ones_like(values)
    assert weighted_median(values, ones) == pytest.approx(np.median(values))
    assert weighted_median(np.array([1.0, 2, 3]), np.array([0, 0, 1.0])) == 3
    assert weighted_median(np.array([1.0, 5.0]), np.array([10, 1.0])) < 2
    assert spread(values, ones) == pytest.approx(0.5, rel=0.05)
    with pytest.raises(ValueError, match="no value has weight"):
        weighted_median(values, 0 * ones)


def test_a_scale_that_nothing_seen_tells_has_the_width_of_who_said_it() -> None:
    assert width_of_scale(metric=True, keypoints=False, tied=False) == width_of_scale(metric=False, keypoints=False, tied=True) == 0
    assert 0.01 <= width_of_scale(metric=True, keypoints=True, tied=False) <= 0.05
    for metric, keypoints, tied in ((True, True, True), (False, True, False), (False, True, True)):
        assert math.isinf(width_of_scale(metric=metric, keypoints=keypoints, tied=tied))
