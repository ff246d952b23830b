"""Cameras that are wrong in two ways at a time, a focal length, a unit and a path: both are found, and none where there is one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from room_cases import FRAMES, Room, clip_of, degrees_between, drifting, filmed, turned_by, wandering
from scipy.spatial.transform import Rotation

from pose_priors.body.pinhole import camera_centres
from pose_priors.refinement.given.still.mended import against_still_scene


def test_a_focal_length_and_a_unit_that_drifts_are_found_together() -> None:
    unit = 1 - 0.2 * np.linspace(0, 1, FRAMES)
    told: list[str] = []
    found = against_still_scene(clip_of(drifting(unit), unit, focal=0.8), told)
    assert "focal length" in told[0]
    assert "and a unit that changes by -20" in told[0]
    assert found.cameras.intrinsics[0, 0, 0] == pytest.approx(400, rel=0.01)
    np.testing.assert_allclose(camera_centres(found.cameras.w2c), camera_centres(filmed()), atol=0.02)
    assert found.camera_bodies[1].transl[0, 2] == pytest.approx(5.0, rel=0.01)


@pytest.mark.parametrize("noise", [0.003, 0.01])
@pytest.mark.parametrize(("drift", "wander"), [(0.1, 1.0), (0.1, 2.5), (-0.2, 1.0), (-0.2, 3.0)])
@pytest.mark.parametrize("stands", [False, True])
def test_a_unit_that_drifts_and_cameras_that_wander_are_found_together(drift: float, wander: float, noise: float, stands: bool) -> None:
    """A path alone explains both, by ways of a metre and two that nobody went."""
    true = np.repeat(filmed()[:1], FRAMES, 0) if stands else filmed()
    unit, told = 1 + drift * np.linspace(0, 1, FRAMES), list[str]()
    clip = replace(clip_of(drifting(unit, wandering(true, wander)), unit), depth=Room(true, unit, noise))
    found = against_still_scene(clip, told)
    assert "a unit that changes by" in told[0]
    assert "and cameras turned by" in told[0]
    assert float(told[0].split("changes by ")[1].split(" %")[0]) == pytest.approx(100 * drift, abs=1)
    np.testing.assert_allclose(camera_centres(found.cameras.w2c), camera_centres(true), atol=0.12)
    assert degrees_between(found.cameras.w2c, true).max() < 0.25
    metres = [np.nanmedian(found.depth.read(t)[0] / Room(true, np.ones(FRAMES), noise).read(t)[0]) for t in range(FRAMES)]
    np.testing.assert_allclose(metres, 1, atol=0.015)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_unit_is_found_while_cameras_may_move(axis: int) -> None:
    """Who turns ever farther looks ever farther along a wall, which alone would be taken for some of the change of unit."""
    unit = 1 + 0.1 * np.linspace(0, 1, FRAMES)
    clip = clip_of(drifting(unit, turned_by(filmed(), np.linspace(0, 4, FRAMES), axis)), unit)
    found = against_still_scene(clip, [])
    np.testing.assert_allclose(camera_centres(found.cameras.w2c), camera_centres(filmed()), atol=0.045)


@pytest.mark.parametrize("stands", [False, True])
@pytest.mark.parametrize("way", [0.6, -0.6])
def test_a_way_that_nobody_went_is_not_explained_by_a_unit_that_drifts(way: float, stands: bool) -> None:
    true = np.repeat(filmed()[:1], FRAMES, 0) if stands else filmed()
    given = wandering(true, 1.0)
    centres = camera_centres(given) + np.linspace(0, way, FRAMES)[:, None] * [0, 0, 1]
    given[:, :3, 3] = -np.einsum("tij,tj->ti", given[:, :3, :3], centres)
    told: list[str] = []
    found = against_still_scene(replace(clip_of(given), depth=Room(true, np.ones(FRAMES))), told)
    assert "unit" not in told[0]
    np.testing.assert_allclose(camera_centres(found.cameras.w2c), camera_centres(true), atol=0.03)


@pytest.mark.parametrize("wrong", [0.8, 1.2])
@pytest.mark.parametrize("noise", [0.003, 0.01])
def test_a_focal_length_and_cameras_that_wander_are_found_together(wrong: float, noise: float) -> None:
    told: list[str] = []
    clip = clip_of(wandering(filmed(), 1.0), focal=wrong)
    found = against_still_scene(replace(clip, depth=Room(filmed(), np.ones(FRAMES), noise)), told)
    assert "focal length" in told[0]
    assert "and cameras turned by" in told[0]
    assert found.cameras.intrinsics[0, 0, 0] == pytest.approx(400, rel=0.05)
    assert degrees_between(found.cameras.w2c, filmed()).max() < 0.5


@pytest.mark.parametrize(("drift", "focal"), [(0.3, 1.1), (0.5, 0.93), (0.5, 1.12)])
def test_a_drift_that_leaves_little_does_not_hide_a_focal_length(drift: float, focal: float) -> None:
    unit = 1 + drift * np.linspace(0, 1, FRAMES)
    told: list[str] = []
    clip = replace(clip_of(drifting(unit), unit, focal), depth=Room(filmed(), unit, noise=0.003))
    found = against_still_scene(clip, told)
    assert "focal length" in told[0]
    assert found.cameras.intrinsics[0, 0, 0] == pytest.approx(400, rel=0.01)


@pytest.mark.parametrize("wander", [0.0, 0.15, 0.3, 0.5])
@pytest.mark.parametrize(("drift", "noise"), [(0.1, 0.003), (-0.1, 0.003), (0.1, 0.01)])
def test_a_unit_that_drifts_is_not_explained_by_cameras_that_err_a_little(drift: float, noise: float, wander: float) -> None:
    """The better the depth maps are, the more of what is left is explained by turning cameras, as far as they err themselves."""
    unit = 1 + drift * np.linspace(0, 1, FRAMES)
    clip = clip_of(drifting(unit, wandering(filmed(), wander)), unit)
    told: list[str] = []
    found = against_still_scene(replace(clip, depth=Room(filmed(), unit, noise)), told)
    assert "a unit that changes by" in told[0]
    assert "turned" not in told[0]
    assert float(told[0].split("changes by ")[1].split(" %")[0]) == pytest.approx(100 * drift, abs=0.3)
    np.testing.assert_allclose(camera_centres(found.cameras.w2c), camera_centres(filmed()), atol=0.02)


def moved(w2c: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Cameras whose centres (T, 3) are elsewhere by that."""
    out = w2c.copy()
    out[:, :3, 3] = -np.einsum("tij,tj->ti", w2c[:, :3, :3], camera_centres(w2c) + by)
    return out


def straight(end: tuple[float, float, float], turn: float) -> np.ndarray:
    """(T, 4, 4) cameras that go there and turn by so many radians about the vertical."""
    w2c, u = np.tile(np.eye(4), (FRAMES, 1, 1)), np.linspace(0, 1, FRAMES)
    w2c[:, :3, :3] = Rotation.from_rotvec(np.stack([0 * u + 0.1, turn * u, 0 * u], 1)).as_matrix()
    w2c[:, :3, 3] = -np.einsum("tij,tj->ti", w2c[:, :3, :3], u[:, None] * np.array(end))
    return w2c @ np.linalg.inv(w2c[0])


@pytest.mark.parametrize("wander", [0.0, 2.0])
@pytest.mark.parametrize("factor", [0.72, 1.35])
def test_a_path_that_is_too_long_is_no_unit_that_drifts(factor: float, wander: float) -> None:
    true, told = straight((0.5, 0, -2.0), 0.1), list[str]()
    given = moved(wandering(true, wander), (factor - 1) * camera_centres(true))
    found = against_still_scene(replace(clip_of(given), depth=Room(true, np.ones(FRAMES), 0.005)), told)
    assert not any("unit that changes" in line for line in told)
    if wander:
        np.testing.assert_allclose(camera_centres(found.cameras.w2c), camera_centres(true), atol=0.06)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_path_that_jitters_is_no_focal_length(seed: int) -> None:
    """Neither path turns then, and of two turns that are errors of the method either may be the smaller."""
    true, told = straight((0, 0, 3.0), 0.0), list[str]()
    given = moved(true, np.cumsum(np.random.default_rng(seed).normal(0, 0.05, (FRAMES, 3)), 0))
    against_still_scene(replace(clip_of(given), depth=Room(true, np.ones(FRAMES), 0.005)), told)
    assert not any("focal" in line for line in told)
