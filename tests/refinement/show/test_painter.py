"""Capsules as a camera sees them, against many balls in a row."""

from __future__ import annotations

import numpy as np
import pytest

from pose_priors.refinement.show.video.painter import Painter

SIZE = (160, 120)
LENS = np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])


def _marched(a: np.ndarray, b: np.ndarray, radii: tuple[float, float]) -> np.ndarray:
    """(h, w) depth at which the ray through each pixel's centre meets balls in a row from one end to the other, inf where it misses all."""
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    rays = np.stack([(x - 80) / 150, (y - 60) / 150, np.ones_like(x)], -1)
    size2 = (rays**2).sum(-1)
    nearest = np.full(x.shape, np.inf)
    for share in np.linspace(0, 1, 1500):
        centre, radius = a + share * (b - a), radii[0] + share * (radii[1] - radii[0])
        towards = rays @ centre
        root = towards**2 - size2 * (centre @ centre - radius**2)
        nearest = np.fmin(nearest, np.where(root >= 0, (towards - np.sqrt(np.maximum(root, 0))) / size2, np.inf))
    return nearest


@pytest.mark.parametrize("radii", [(0.15, 0.15), (0.2, 0.08), (0.05, 0.18)])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([-0.4, -0.5, 3.0], [0.5, 0.6, 3.0]),
        ([-0.3, 0.2, 2.5], [0.4, -0.3, 3.6]),
        ([0.1, 0.1, 3.0], [0.1, 0.1, 3.0]),
        ([0.05, 0.0, 2.6], [0.08, 0.02, 3.4]),
        ([-1.2, 0.8, 2.4], [-1.0, 0.9, 1.6]),
        ([0.0, 0.0, 3.0], [0.05, 0.02, 2.95]),
    ],
)
def test_a_capsule_is_where_rays_meet_it(a: list[float], b: list[float], radii: tuple[float, float]) -> None:
    painter = Painter(SIZE, LENS)
    painter.draw(np.array([[a, b]]), np.array([radii]), 7)
    expected = _marched(np.array(a), np.array(b), radii)
    drawn, met = painter.owner == 7, np.isfinite(expected)
    assert met.sum() > 20
    assert (drawn != met).sum() <= 2  # rays that touch
    both = drawn & met
    np.testing.assert_allclose(painter.depth[both], expected[both], atol=2e-3)
    assert np.isinf(painter.depth[~drawn]).all()
    assert (painter.owner[~drawn] == -1).all()


def test_the_nearer_is_before_the_farther_in_whatever_order_they_come() -> None:
    near, far = np.array([[[0.0, 0, 2], [0, 0, 2]]]), np.array([[[-1.0, 0, 3], [1, 0, 3]]])
    pictures = []
    for order in (((near, 1), (far, 2)), ((far, 2), (near, 1))):
        painter = Painter(SIZE, LENS)
        for ends, owner in order:
            painter.draw(ends, np.full((1, 2), 0.2), owner)
        pictures.append((painter.owner, painter.shade))
        assert painter.owner[60, 80] == 1
        assert painter.owner[60, 115] == 2
    np.testing.assert_array_equal(pictures[0][0], pictures[1][0])
    np.testing.assert_array_equal(pictures[0][1], pictures[1][1])


def test_light_comes_from_the_upper_left() -> None:
    painter = Painter(SIZE, LENS)
    painter.draw(np.array([[[0.0, 0, 2], [0, 0, 2]]]), np.full((1, 2), 0.4), 0)
    assert painter.shade[50, 70] > painter.shade[60, 80] > painter.shade[75, 95] > 0
    assert painter.shade.max() <= 1


def test_what_is_behind_the_camera_or_beside_the_picture_is_left_out() -> None:
    painter = Painter(SIZE, LENS)
    ends = np.array([[[0.0, 0, -2], [0, 0, 2]], [[9.0, 0, 2], [9, 1, 2]], [[np.nan, 0, 2], [0, 0, 2]]])
    painter.draw(ends, np.full((3, 2), 0.1), 0)
    assert (painter.owner == -1).all()
