"""Up is a vote of planes, cameras and people, of whom any may be wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose_priors.refinement.given.planes import scene_planes
from pose_priors.refinement.given.upright import Upright, camera_up, find_up, standing, up_direction

TURN = Rotation.from_euler("xz", [170, 8], degrees=True).as_matrix()
UP = TURN @ [0, 1, 0]
SKIN = np.full((1, 22), 0.06)
CAMERAS = np.tile(np.eye(4), (40, 1, 1))
CAMERAS[:, :3, :3] = Rotation.from_euler("xz", [12, -5], degrees=True).as_matrix()  # UP is 15 degrees from the cameras'


def people(turned: int = 0, degrees: float = 90.0, height: float = 0.0) -> np.ndarray:
    """(1, T, 22, 3): head above feet, leaning about in all directions, lowest point at a height; some lie, or stand on their hands."""
    lean = Rotation.from_euler("xz", np.random.default_rng(2).normal(0, 8, (40, 2)), degrees=True).as_matrix()
    lean[:turned] = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    joints = np.zeros((40, 22, 3))
    joints[:, 15, 1] = 1.5
    joints[:, [7, 8], 1] = 0.06
    joints = joints @ lean.transpose(0, 2, 1)
    joints[..., 1] += (height + 0.06 - joints[..., 1].min(1))[:, None]
    return (joints @ TURN.T)[None]


def room(floor: bool = True, wall: bool = True) -> np.ndarray:
    """Points of a floor at height 0, and of a wall behind it that is as large."""
    rng = np.random.default_rng(0)
    parts = [rng.uniform([-3, -0.02, -3], [3, 0.02, 3], (800, 3))] * floor + [rng.uniform([-3, 0, 2.98], [3, 3, 3.02], (800, 3))] * wall
    return np.concatenate(parts) @ TURN.T


def found(joints: np.ndarray, points: np.ndarray | None = None, given: np.ndarray | None = None, w2c: np.ndarray = CAMERAS) -> Upright:
    raised = w2c.copy()
    raised[:, :3, 3] = -raised[:, :3, :3] @ (1.4 * UP)
    planes = [] if points is None else scene_planes(points, 0.06, 0)
    return find_up(joints, SKIN, np.ones(joints.shape[:2], bool), raised, planes, given)


def off(up: np.ndarray) -> float:
    return float(np.degrees(np.arccos(min(1.0, up @ UP))))


@pytest.mark.parametrize("lying", [0, 8, 15])
def test_up_is_where_most_heads_are(lying: int) -> None:
    up = up_direction(people(lying), np.ones((1, 40), bool))
    assert off(up) < 3
    assert np.linalg.norm(up) == pytest.approx(1)


def test_nobody_points_nowhere() -> None:
    assert np.isnan(up_direction(people(), np.zeros((1, 40), bool))).all()
    assert np.isnan(up_direction(np.zeros((1, 40, 22, 3)), np.ones((1, 40), bool))).all()


def test_half_who_lie_do_not_tilt_up_to_between_them_and_those_who_stand() -> None:
    assert off(found(people(21)).up) < 40  # the mean of both is 45 degrees from either
    assert off(found(people(21), room()).up) < 1


@pytest.mark.parametrize("degrees", [70.0, 90.0, 180.0])
def test_a_floor_that_people_touch_outvotes_their_poses(degrees: float) -> None:
    upright = found(people(40, degrees), room())
    assert off(upright.up) < 1
    assert upright.known
    assert upright.on_floor.all()


def test_a_wall_is_no_floor() -> None:
    upright = found(people(40), room(floor=False))
    assert off(upright.up) < 16 or not upright.known


def test_without_a_floor_lying_people_leave_a_doubt() -> None:
    upright = found(people(40))
    assert not upright.known
    assert "degrees apart" in upright.doubts[0]
    assert found(people()).known
    assert not found(people()).doubts


def test_who_stands_on_a_stage_is_not_on_the_floor() -> None:
    both = np.concatenate([people(), people(height=0.8)])
    seen = np.ones((2, 40), bool)
    raised = CAMERAS.copy()
    raised[:, :3, 3] = -raised[:, :3, :3] @ (1.4 * UP)
    upright = find_up(both, np.repeat(SKIN, 2, 0), seen, raised, scene_planes(room(), 0.06, 0), None)
    assert off(upright.up) < 1
    assert upright.on_floor[0].all()
    assert not upright.on_floor[1].any()


def test_up_that_is_given_stands() -> None:
    given = np.array([0.0, 0.0, 1.0])
    np.testing.assert_array_equal(found(people(), room(), given).up, given)


def test_cameras_and_standing() -> None:
    assert off(camera_up(CAMERAS)) < 16
    upright = standing(people(10), UP)
    assert not upright[0, :10].any()
    assert upright[0, 10:].all()


def test_the_planes_of_a_room_are_told_apart() -> None:
    planes = scene_planes(room(), 0.06, 0)
    assert len(planes) == 2
    assert sorted(abs(plane[:3] @ UP) > 0.99 for plane, _ in planes) == [False, True]
    assert sum(share for _, share in planes) > 0.9
    assert scene_planes(room()[:2], 0.06, 0) == []
