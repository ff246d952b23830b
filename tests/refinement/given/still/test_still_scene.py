"""A still scene seen from cameras that are given wrongly: what is wrong is found, mended and told, and nothing where nothing is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from room_cases import FRAMES, GRID, INTRINSICS, PLANES, SIZE, Room, clip_of, degrees_between, drifting, filmed, turned_by, wandering

from pose_priors.body.pinhole import camera_centres
from pose_priors.refinement.given.still.mended import against_still_scene
from pose_priors.refinement.given.still.patches import patches


def test_patches_lie_on_the_planes_of_the_scene_whatever_the_noise_and_outliers() -> None:
    depth = Room(filmed(), np.ones(FRAMES)).read(0)[0].astype(float)
    spoilt = np.random.default_rng(0).random(GRID) < 0.01
    depth[spoilt] *= 1.5
    still = np.ones(GRID, bool)
    still[40:60, 70:90] = False
    found = patches(np.where(still, depth, 0.5), still, INTRINSICS, SIZE)
    off = np.abs(found.points @ PLANES[:, :3].T + PLANES[:, 3]).min(1) / found.points[:, 2]
    assert np.median(off) < 0.002
    assert np.quantile(off, 0.95) < 0.02
    assert 300 < len(found.points) <= 26 * 15


def test_cameras_that_fit_are_taken_as_they_are() -> None:
    jitter = 0.1 * np.random.default_rng(1).normal(size=FRAMES)
    for given in (filmed(), turned_by(filmed(), jitter, 1)):
        told: list[str] = []
        clip = clip_of(given)
        assert against_still_scene(clip, told) is clip
        assert told == []


@pytest.mark.parametrize("drift", [0.1, -0.3])
def test_a_unit_that_drifts_is_that_of_the_first_frame_again(drift: float) -> None:
    unit = 1 + drift * np.linspace(0, 1, FRAMES)
    centres, given = camera_centres(filmed()), drifting(unit)
    told: list[str] = []
    found = against_still_scene(clip_of(given, unit), told)
    assert "unit that changes" in told[0]
    assert f"{100 * drift:+.0f}" in told[0]
    np.testing.assert_allclose(camera_centres(found.cameras.w2c), centres, atol=0.01)
    ratio = [np.nanmedian(found.depth.read(t)[0] / Room(filmed(), np.ones(FRAMES)).read(t)[0]) for t in range(FRAMES)]
    np.testing.assert_allclose(ratio, 1, atol=0.004)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_cameras_that_wander_are_led_back(axis: int) -> None:
    wander = np.cumsum(np.random.default_rng(2).normal(0.6, 0.5, FRAMES))
    wander -= wander[0]
    given = turned_by(filmed(), wander, axis)
    told: list[str] = []
    found = against_still_scene(clip_of(given), told)
    assert "turned" in told[0]
    assert degrees_between(found.cameras.w2c, filmed()).max() < 0.25 * degrees_between(given, filmed()).max()


def test_a_wall_that_tells_little_of_a_turn_still_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far walls tell some turns a hundred times less than others, and no noise of normals looks like that yet."""
    slanted = [np.sin(0.991), 0.0, -np.cos(0.991), 7.2]
    monkeypatch.setattr("room_cases.PLANES", np.array([[0, -1.0, 0, 1.39], [0, 0, -1.0, 9.82], slanted]))
    wander = np.cumsum(np.random.default_rng(2).normal(0.6, 0.5, FRAMES))
    given = turned_by(filmed(), wander - wander[0], 1)
    found = against_still_scene(clip_of(given), [])
    assert degrees_between(found.cameras.w2c, filmed()).max() < 0.1 * degrees_between(given, filmed()).max()


@pytest.mark.parametrize("wrong", [0.6, 0.8, 1.2, 1.4, 1.7])
def test_a_wrong_focal_length_is_found_and_people_come_as_much_nearer(wrong: float) -> None:
    told: list[str] = []
    clip = clip_of(filmed(), focal=wrong)
    found = against_still_scene(clip, told)
    assert "focal length" in told[0]
    assert found.cameras.intrinsics[0, 0, 0] == pytest.approx(400, rel=0.005)
    body, given = found.camera_bodies[1], clip.camera_bodies[1]
    nearer = found.cameras.intrinsics[0, 0, 0] / clip.cameras.intrinsics[0, 0, 0]
    np.testing.assert_allclose(body.transl, given.transl * [1, 1, nearer])


@pytest.mark.parametrize("wander", [0.1, 0.4])
def test_a_focal_length_is_not_explained_by_cameras_that_turn(wander: float) -> None:
    """Cameras that err a little themselves, as all do: turning each of them explains that and the focal length together, better than the
    focal length alone."""
    given = wandering(filmed(), wander)
    told: list[str] = []
    found = against_still_scene(clip_of(given, focal=0.8), told)
    assert "focal length" in told[0]
    assert found.cameras.intrinsics[0, 0, 0] == pytest.approx(400, rel=0.02)
    np.testing.assert_array_equal(found.cameras.w2c, given)


def test_cameras_that_err_less_than_depth_maps_tell_are_taken_as_they_are() -> None:
    told: list[str] = []
    clip = clip_of(wandering(filmed(), 0.4))
    assert against_still_scene(clip, told) is clip
    assert told == []


@pytest.mark.parametrize("seed", [3, 8, 14, 16, 17])
def test_cameras_that_wander_at_random_are_not_explained_by_a_focal_length(seed: int) -> None:
    """A focal length for which they would turn by little more than half, and go some ways that nobody went."""
    wander = np.cumsum(np.random.default_rng(seed).normal(0, 4 / np.sqrt(FRAMES), FRAMES))
    told: list[str] = []
    found = against_still_scene(clip_of(turned_by(filmed(), wander - wander[0], 1)), told)
    assert "focal" not in told[0]
    np.testing.assert_allclose(found.cameras.intrinsics[:, 0, 0], 400)


def test_cameras_that_wander_are_not_explained_by_a_focal_length() -> None:
    """Cameras that turn along with their way, which a focal length explains a part of."""
    given = turned_by(filmed(), np.linspace(0, 4, FRAMES), 1)
    told: list[str] = []
    found = against_still_scene(clip_of(given), told)
    assert "focal" not in told[0]
    np.testing.assert_allclose(found.cameras.intrinsics[:, 0, 0], 400)


@pytest.mark.parametrize("seed", [0, 3, 5, 9])
def test_what_nothing_explains_is_kept_and_told(seed: int) -> None:
    """Depths that have nothing to do with each other, as those of a scene that is not still."""
    rng = np.random.default_rng(seed)
    other = turned_by(filmed(), rng.normal(0, 25, FRAMES), 1)
    clip = replace(clip_of(filmed()), depth=Room(other, np.exp(rng.normal(0, 0.3, FRAMES))))
    told: list[str] = []
    assert against_still_scene(clip, told) is clip
    assert len(told) == 1
    assert "kept" in told[0]


def test_without_depth_nothing_is_said() -> None:
    clip = replace(clip_of(turned_by(filmed(), 3.0 * np.arange(FRAMES), 1)), depth=Blind())
    told: list[str] = []
    assert against_still_scene(clip, told) is clip
    assert told == []


class Blind:
    """No depth at all."""

    def read(self, frame: int) -> None:
        """None."""

    def close(self) -> None:
        """Nothing to say."""
