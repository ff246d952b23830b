"""Cameras from people who are told twice, in the camera and in a world of their own."""

from __future__ import annotations

from dataclasses import replace

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
    rotation, translation, alpha = cameras_from_odometry(of, other[:, :3, :3], other[:, :3, 3] * unit, FPS, "file", [])
    assert alpha == pytest.approx(1 / unit, rel=1e-6)
    np.testing.assert_allclose(rotation, truth.c2w[:, :3, :3], atol=1e-6)
    np.testing.assert_allclose(alpha * translation, truth.c2w[:, :3, 3], atol=1e-6)


def test_odometry_that_stands_still_has_no_unit() -> None:
    truth = make_truth(still=True)
    other = truth.turned(Rotation.from_euler("x", 80, degrees=True)).c2w
    warnings: list[str] = []
    jitter = 1e-6 * np.random.default_rng(0).normal(size=(16, 3))
    given = [reading(truth, 0, np.arange(16))]
    rotation, translation, alpha = cameras_from_odometry(given, other[:, :3, :3], other[:, :3, 3] + jitter, FPS, "file", warnings)
    assert alpha == 1
    assert "tells no scale" in warnings[0]
    np.testing.assert_allclose(rotation, truth.c2w[:, :3, :3], atol=1e-6)
    np.testing.assert_allclose(translation, truth.c2w[:, :3, 3], atol=1e-4)


def walked(num_frames: int = 90, *, moving: bool = True) -> tuple[Reading, np.ndarray]:
    """A person who walks for three seconds before a camera on an arc, and the camera to world (T, 4, 4)."""
    at = np.arange(num_frames) / FPS
    c2w = np.tile(np.eye(4), (num_frames, 1, 1))
    angle = 0.4 * at * moving
    c2w[:, :3, :3] = (Rotation.from_rotvec(np.outer(angle, [0, 1, 0])) * Rotation.from_euler("x", 180, degrees=True)).as_matrix()
    c2w[:, :3, 3] = np.stack([5 * np.sin(angle), 0 * at + 1.4, 5 * np.cos(angle)], 1)
    pelvis = np.stack([1.2 * at - 1.8, 0.9 + 0.03 * np.sin(12 * at), 0.2 * np.sin(2 * at)], 1)
    orient = Rotation.from_rotvec(np.outer(0.2 * np.sin(3 * at), [0, 1, 0]))
    seen = Rotation.from_matrix(c2w[:, :3, :3]).inv()
    camera = seen.apply(pelvis - c2w[:, :3, 3])
    return Reading(np.arange(num_frames), (seen * orient).as_rotvec(), camera, orient.as_rotvec(), pelvis), c2w


def two_view_path(c2w: np.ndarray, seed: int) -> np.ndarray:
    """(T, 4, 4) camera to world as odometry of pairs of frames has it: right turns, steps of length one each eighth frame, or none."""
    rng = np.random.default_rng(seed)
    keys = np.arange(0, len(c2w) + 8, 8)
    steps = rng.normal(size=(len(keys), 3))
    steps *= (rng.random(len(keys)) < 0.7)[:, None] / np.linalg.norm(steps, axis=1, keepdims=True)
    path = c2w.copy()
    path[:, :3, 3] = np.stack([np.interp(np.arange(len(c2w)), keys, axis) for axis in np.cumsum(steps, 0).T], 1)
    return path


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("moving", [False, True])
def test_a_path_that_does_not_go_with_the_people_gives_its_turns_alone(seed: int, moving: bool) -> None:
    given, c2w = walked(moving=moving)
    path = two_view_path(c2w, seed)
    warnings: list[str] = []
    rotation, translation, alpha = cameras_from_odometry([given], path[:, :3, :3], path[:, :3, 3], FPS, "file", warnings)
    assert alpha == 1
    assert "turns alone" in warnings[0]
    np.testing.assert_allclose(rotation, c2w[:, :3, :3], atol=1e-6)
    assert np.linalg.norm(translation - c2w[:, :3, 3], axis=1).max() < (0.02 if moving else 1e-6)
    # the same as odometry that is known to have no places
    told = cameras_from_odometry([given], path[:, :3, :3], None, FPS, "file", warnings)
    np.testing.assert_array_equal(told[1], translation)
    assert any("no common unit" in line for line in warnings)


def test_a_path_that_goes_against_the_people_is_no_path() -> None:
    given, c2w = walked()
    warnings: list[str] = []
    _, translation, alpha = cameras_from_odometry([given], c2w[:, :3, :3], -c2w[:, :3, 3], FPS, "file", warnings)
    assert alpha == 1
    assert "explains -100%" in warnings[0]
    assert np.linalg.norm(translation - c2w[:, :3, 3], axis=1).max() < 0.02


@pytest.mark.parametrize("wrong", ["camera_pelvis", "world_pelvis", "camera_orient"])
@pytest.mark.parametrize("odometry", [False, True])
def test_a_frame_on_which_camera_and_world_disagree_says_nothing(wrong: str, odometry: bool) -> None:
    given, c2w = walked()
    value = getattr(given, wrong).copy()
    value[40] = 2 * value[40] if wrong == "camera_pelvis" else value[40] + [0, 1.5, 0]
    spoiled = replace(given, **{wrong: value})
    warnings: list[str] = []
    if odometry:
        rotation, translation, alpha = cameras_from_odometry([spoiled], c2w[:, :3, :3], 0.5 * c2w[:, :3, 3], FPS, "file", warnings)
        assert alpha == pytest.approx(2.0, rel=1e-6)
        np.testing.assert_allclose(alpha * translation, c2w[:, :3, 3], atol=1e-6)
    else:
        rotation, translation = cameras_from_readings([spoiled], 90, FPS, "file", warnings)
        assert np.linalg.norm(translation - c2w[:, :3, 3], axis=1).max() < 0.05
    assert angles(rotation, c2w[:, :3, :3]).max() < 0.5
    assert "on 1 of 90 frames (40)" in warnings[0]


def test_readings_that_err_everywhere_are_all_taken() -> None:
    given, _ = walked()
    rng = np.random.default_rng(0)
    noisy = replace(given, camera_pelvis=given.camera_pelvis * (1 + 0.03 * rng.normal(size=(90, 1))))
    warnings: list[str] = []
    assert noisy.agreeing(FPS, "file", warnings) is noisy
    assert not warnings
