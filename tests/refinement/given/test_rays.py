"""Joints against the rays through their keypoints: the solver that places and sizes share."""

from __future__ import annotations

import numpy as np
import pytest

from pose_priors.body.pinhole import to_pixels
from pose_priors.refinement.given.rays import fitted, rays_through

K, N = 40, 3


def system(seed: int = 0, noise: float = 0.01) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows, distances and confidence of two bodies, and the unknowns that they were made of."""
    rng = np.random.default_rng(seed)
    rows, true = rng.normal(size=(2, K, 2, N)), rng.normal(size=(2, N))
    distance = -np.einsum("pkci,pi->pkc", rows, true) + noise * rng.normal(size=(2, K, 2))
    return rows, distance, rng.uniform(0.2, 1, (2, K)), true


def test_a_ray_goes_through_its_keypoint() -> None:
    intrinsics = np.array([[900.0, 0, 640], [0, 800, 360], [0, 0, 1]])
    pixels = np.random.default_rng(0).uniform(0, 700, (5, 7, 2))
    np.testing.assert_allclose(to_pixels(rays_through(pixels, intrinsics), intrinsics), pixels)


def test_slips_hardly_count() -> None:
    rows, distance, confidence, true = system(noise=0.0)
    distance[:, :4] += 5.0
    found, solved = fitted(rows, distance, confidence, np.ones(2, bool))
    assert solved.all()
    np.testing.assert_allclose(found, true, atol=0.02)


def test_the_sum_of_hubers_losses_is_least() -> None:
    rows, distance, confidence, _ = system(noise=0.03)
    found, _ = fitted(rows, distance, confidence, np.ones(2, bool))

    def loss(unknowns: np.ndarray) -> np.ndarray:
        residual = np.linalg.norm(distance + np.einsum("pkci,pi->pkc", rows, unknowns), axis=-1)
        return (confidence * np.where(residual < 0.03, residual**2 / 2, 0.03 * (residual - 0.015))).sum(1)

    slope = np.array([(loss(found + step) - loss(found - step)) / 2e-5 for step in 1e-5 * np.eye(N)])
    curvature = np.array([(loss(found + step) + loss(found - step) - 2 * loss(found)) / 1e-6 for step in 1e-3 * np.eye(N)])
    assert np.abs(slope / curvature).max() < 1e-4


@pytest.mark.parametrize("shape", [(), (2,)])
def test_what_no_keypoint_tells_is_not_solved(shape: tuple[int, ...]) -> None:
    rows, distance, confidence, _ = system()
    rows[..., 0] = 0
    if not shape:
        rows, distance, confidence = rows[0], distance[0], confidence[0]
    found, solved = fitted(rows, distance, confidence, np.ones(shape, bool))
    assert not solved.any()
    assert not found.any()
