"""Projection: one set of functions for numpy and torch, and the optimiser's projection, which differs behind the camera alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pose_priors.body.pinhole import camera_centres, pixel_centres, project, to_camera, to_pixels, to_world
from pose_priors.refinement.given.problem import Cameras
from pose_priors.refinement.solve import scene

T, N = 5, 7


def cameras(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(T, 4, 4) world to camera and (T, 3, 3) intrinsics with skew, each frame's its own."""
    rng = np.random.default_rng(seed)
    w2c = np.tile(np.eye(4), (T, 1, 1))
    w2c[:, :3, :3] = Rotation.from_rotvec(rng.normal(0, 0.3, (T, 3))).as_matrix()
    w2c[:, :3, 3] = rng.normal(0, 1, (T, 3))
    intrinsics = np.tile([[900.0, 3.0, 640.0], [0.0, 950.0, 360.0], [0.0, 0.0, 1.0]], (T, 1, 1))
    intrinsics[:, 0, 0] += rng.normal(0, 20, T)
    return w2c, intrinsics


def points(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal([0, 0, 6], 1.0, (3, T, N, 3))


def test_numpy_and_torch_agree() -> None:
    w2c, intrinsics = cameras()
    world = points()
    for function, arguments in (
        (to_camera, (world, w2c)),
        (to_camera, (world, w2c, 1.3)),
        (to_world, (world, w2c)),
        (camera_centres, (w2c,)),
        (to_pixels, (world[..., :2], intrinsics)),
    ):
        found = function(*(torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments))
        np.testing.assert_allclose(found.numpy(), function(*arguments), rtol=1e-12, atol=1e-12)


def test_a_camera_is_what_its_matrices_say() -> None:
    w2c, intrinsics = cameras()
    world = points()
    homogeneous = np.concatenate([world, np.ones_like(world[..., :1])], -1)
    there = np.einsum("tij,ptnj->ptni", w2c, homogeneous)[..., :3]
    np.testing.assert_allclose(to_camera(world, w2c), there, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(to_world(there, w2c), world, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(to_camera(camera_centres(w2c)[:, None], w2c), np.zeros((T, 1, 3)), atol=1e-12)
    image = np.einsum("tij,ptnj->ptni", intrinsics, there)
    np.testing.assert_allclose(project(there, intrinsics), image[..., :2] / image[..., 2:], rtol=1e-12)


def test_a_scale_stretches_the_cameras_translations() -> None:
    w2c, _ = cameras()
    metric = w2c.copy()
    metric[:, :3, 3] *= 1.3
    np.testing.assert_allclose(to_camera(points(), w2c, 1.3), to_camera(points(), metric), rtol=1e-12)


def test_the_optimisers_projection_is_the_same_before_the_camera_and_finite_behind_it() -> None:
    w2c, intrinsics = cameras()
    there = points()
    there[0, :, 0, 2] *= -1
    there[1, :, 1, 2] = 0
    given = Cameras(torch.from_numpy(w2c), torch.from_numpy(intrinsics), (1280, 720), torch.ones(T))
    moving = torch.from_numpy(there).requires_grad_()
    found = scene.project(moving, given)
    expected = project(there, intrinsics)
    before = there[..., 2] > 0
    assert before.mean() == pytest.approx(1 - 2 / (3 * N))
    np.testing.assert_allclose(found.detach().numpy()[before], expected[before], rtol=1e-12)
    assert np.isnan(expected[~before]).all()
    assert torch.isfinite(found).all()
    (gradient,) = torch.autograd.grad(found.square().sum(), moving)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("width", [1, 5, 255, 256, 257, 258, 259, 260])
def test_cells_are_taken_alike_from_both_edges(width: int) -> None:
    """Every fifth; where what is left over is odd, half a cell off."""
    rows, columns, centres = pixel_centres((9, width), (4 * width, 36), 5)
    assert set(rows) == {1, 6}
    assert set(np.diff(np.unique(columns))) <= {5}
    assert 0 <= width - 1 - columns.max() - columns.min() <= 1
    np.testing.assert_allclose(centres, np.stack([4 * (columns + 0.5), 4 * (rows + 0.5)], -1))
