"""Cameras from people who are told twice, in the camera and in a world of their own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from upstream_truth import Truth, make_truth

from pose_priors.refinement.formats.readings import Reading, cameras_from_odometry, cameras_from_readings

FPS = 30.0


def reading(truth: Truth, person: int, frames: np.ndarray, own: Truth | None = None) -> Reading:
    """A person on some frames, its world that of `own`."""
    own = own or truth
    return Reading(
        frames,
        truth.camera_pose[person, frames, 0],
        truth.camera_pelvis[person, frames],
        own.pose[person, frames, 0],
        own.pelvis[person, frames],
    )


def other_world(truth: Truth) -> Truth:
    return truth.turned(Rotation.from_euler("y", 70, degrees=True), (4.0, 0.0, 1.0))


def angles(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.degrees((Rotation.from_matrix(found).inv() * Rotation.from_matrix(expected)).magnitude())


def test_people_fill_each_others_gaps() -> None:
    truth, everywhere = make_truth(), np.arange(16)
    some = everywhere[(everywhere < 5) | (everywhere > 8)]
    of = [reading(truth, 0, some), reading(truth, 1, everywhere[3:11], other_world(truth))]
    warnings: list[str] = []
    rotation, translation = cameras_from_readings(of, 16, FPS, "file", warnings)
    # in the world of the first; the path is no parabola, so the smoothing moves it a little
    assert angles(rotation, truth.c2w[:, :3, :3]).max() < 1.0
    assert np.linalg.norm(translation - truth.c2w[:, :3, 3], axis=1).max() < 0.03
    assert "smoothed" in warnings[0]


def test_frames_that_nobody_saw_are_interpolated_and_strangers_left_out() -> None:
    truth, everywhere = make_truth(), np.arange(16)
    some = everywhere[(everywhere < 7) | (everywhere > 8)]
    # someone who shares no frame with the others has a world that nothing ties to theirs
    of = [reading(truth, 0, some), reading(truth, 1, np.array([7]), other_world(truth))]
    rotation, translation = cameras_from_readings(of, 16, FPS, "file", [])
    assert angles(rotation, truth.c2w[:, :3, :3]).max() < 1.0
    assert np.linalg.norm(translation - truth.c2w[:, :3, 3], axis=1).max() < 0.03


@pytest.mark.parametrize("noise_deg", [0.0, 2.0])
def test_a_camera_that_stands_still_stays_so(noise_deg: float) -> None:
    truth, rng = make_truth(still=True), np.random.default_rng(0)
    given = reading(truth, 0, np.arange(16))
    noise = Rotation.from_rotvec(np.radians(noise_deg) * rng.normal(size=(16, 3)) / np.sqrt(3))
    noisy = Reading(
        given.frames,
        given.camera_orient,
        given.camera_pelvis,
        (noise * Rotation.from_rotvec(given.world_orient)).as_rotvec(),
        given.world_pelvis + np.radians(noise_deg) * rng.normal(size=(16, 3)),
    )
    warnings: list[str] = []
    rotation, translation = cameras_from_readings([noisy], 16, FPS, "file", warnings)
    assert np.ptp(rotation, axis=0).max() == np.ptp(translation, axis=0).max() == 0
    assert angles(rotation[:1], truth.c2w[:1, :3, :3])[0] < 1.0 * noise_deg + 1e-4
    assert "stands still" in warnings[0]


@pytest.mark.parametrize("unit", [0.05, 1.0, 30.0])
def test_odometry_gets_its_unit_from_how_people_move(unit: float) -> None:
    truth = make_truth()
    other = truth.turned(Rotation.from_euler("xyz", [80, -20, 40], degrees=True), (5.0, -1.0, 2.0)).c2w
    of = [reading(truth, 1, truth.rows(1), other_world(truth)), reading(truth, 0, np.arange(16))]
    rotation, translation, alpha = cameras_from_odometry(of, other[:, :3, :3], other[:, :3, 3] * unit, "file", [])
    assert alpha == pytest.approx(1 / unit, rel=1e-6)
    np.testing.assert_allclose(rotation, truth.c2w[:, :3, :3], atol=1e-6)
    np.testing.assert_allclose(alpha * translation, truth.c2w[:, :3, 3], atol=1e-6)


def test_odometry_that_stands_still_has_no_unit() -> None:
    truth = make_truth(still=True)
    other = truth.turned(Rotation.from_euler("x", 80, degrees=True)).c2w
    warnings: list[str] = []
    jitter = 1e-6 * np.random.default_rng(0).normal(size=(16, 3))
    given = [reading(truth, 0, np.arange(16))]
    rotation, translation, alpha = cameras_from_odometry(given, other[:, :3, :3], other[:, :3, 3] + jitter, "file", warnings)
    assert alpha == 1
    assert "tells no scale" in warnings[0]
    np.testing.assert_allclose(rotation, truth.c2w[:, :3, :3], atol=1e-6)
    np.testing.assert_allclose(translation, truth.c2w[:, :3, 3], atol=1e-4)
