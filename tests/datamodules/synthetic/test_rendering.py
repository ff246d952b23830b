"""Depth maps of balls and planes against rays, one at a time."""

from __future__ import annotations

import numpy as np

from pose_priors.datamodules.synthetic.scenes.rendering import SCENE, render

SIZE, GRID = (64, 48), (24, 32)
K = np.array([[50.0, 0, 31.0], [0, 55.0, 25.0], [0, 0, 1]])
FLOOR, WALL = np.array([0, -0.8, -0.6, 4.0]), np.array([0, 0, -1.0, 6.0])


def test_balls_in_front_of_planes() -> None:
    """Two people of one short, thick bone each; the first is partly before the second."""
    joints = np.array([[[0.1, 0.0, 3.0], [0.1, 0.3, 3.0]], [[-0.3, 0.1, 4.0], [0.5, 0.1, 4.0]]])
    radii = np.array([[0.3, 0.3], [0.4, 0.2]])
    depth, who = render(joints, radii, (-1, 0), (FLOOR, WALL), K, SIZE, GRID)
    for row in range(GRID[0]):
        for column in range(GRID[1]):
            ray = np.linalg.inv(K) @ [(column + 0.5) * 2, (row + 0.5) * 2, 1]
            nearest, index = np.inf, SCENE
            for plane in (FLOOR, WALL):
                at = -plane[3] / (plane[:3] @ ray)
                if 0 < at < nearest:
                    nearest = at
            for p in range(2):
                for share in (0, 0.25, 0.5, 0.75, 1):
                    centre = joints[p, 0] * (1 - share) + joints[p, 1] * share
                    radius = radii[p, 0] * (1 - share) + radii[p, 1] * share
                    miss = ((ray * centre[2] - centre)[:2] ** 2).sum()
                    if miss < radius**2 and centre[2] - np.sqrt(radius**2 - miss) < nearest:
                        nearest, index = centre[2] - np.sqrt(radius**2 - miss), p
            assert who[row, column] == index
            np.testing.assert_allclose(depth[row, column], nearest)
    assert set(np.unique(who)) == {SCENE, 0, 1}


def test_people_behind_the_camera_or_outside_the_image_are_not_drawn() -> None:
    joints = np.array([[[0, 0, -3.0], [0, 0.1, -3.0]], [[50.0, 0, 3.0], [50.0, 0.1, 3.0]], [[-50.0, 0, 3.0], [-50.0, 0.1, 3.0]]])
    depth, who = render(joints, np.full((3, 2), 0.3), (-1, 0), (), K, SIZE, GRID)
    assert (who == SCENE).all()
    assert np.isinf(depth).all()
