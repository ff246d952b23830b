"""A still scene seen from cameras that are given wrongly: what is wrong is found, mended and told, and nothing where nothing is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose_priors.body.pinhole import camera_centres, pixel_centres, unproject
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.cameras import CameraTrack
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.tracks import Tracks
from pose_priors.refinement.given.still.mended import against_still_scene
from pose_priors.refinement.given.still.patches import patches

SIZE, GRID, FRAMES = (640, 360), (90, 160), 10
INTRINSICS = np.array([[400.0, 0, 320], [0, 400, 180], [0, 0, 1]])
PLANES = np.array([[0, -1.0, 0, 1.5], [0, 0, -1.0, 9.0], [1.0, 0, -0.3, 6.0]])  # a floor and two walls, n . x + d = 0


@dataclass
class Room:
    """Depth of the planes before the true cameras, in a unit that may change from frame to frame."""

    w2c: np.ndarray
    unit: np.ndarray
    noise: float = 0.01

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        _, _, centres = pixel_centres(GRID, SIZE)
        rays = unproject(centres, np.ones(len(centres)), INTRINSICS) @ self.w2c[frame, :3, :3]
        eye = camera_centres(self.w2c)[frame]
        with np.errstate(divide="ignore"):
            away = -(eye @ PLANES[:, :3].T + PLANES[:, 3]) / (rays @ PLANES[:, :3].T)
        depth = np.where(away > 0, away, np.inf).min(1) * self.unit[frame]
        noise = np.random.default_rng(frame).normal(1, self.noise, depth.shape)
        return (depth * noise).reshape(GRID).astype(np.float32), np.ones(GRID, np.float32)

    def close(self) -> None:
        """Nothing to say."""


def filmed() -> np.ndarray:
    """(T, 4, 4) cameras that go sideways and turn."""
    w2c = np.tile(np.eye(4), (FRAMES, 1, 1))
    u = np.linspace(0, 1, FRAMES)
    w2c[:, :3, :3] = Rotation.from_rotvec(np.stack([0 * u + 0.1, 0.4 * u, 0 * u], 1)).as_matrix()
    centres = np.stack([1.5 * u, 0.2 * np.sin(4 * u), 0.3 * u], 1)
    w2c[:, :3, 3] = -np.einsum("tij,tj->ti", w2c[:, :3, :3], centres)
    return w2c @ np.linalg.inv(w2c[0])


def clip_of(given: np.ndarray, unit: np.ndarray | None = None, focal: float = 1.0) -> UpstreamClip:
    """The room, and cameras that are said to be elsewhere, or to have another focal length."""
    intrinsics = np.repeat(INTRINSICS[None], FRAMES, 0)
    intrinsics[:, [0, 1], [0, 1]] *= focal
    cameras = CameraTrack("cameras.npz", given, intrinsics, SIZE, np.ones(FRAMES), np.arange(FRAMES), 30.0)
    far = np.repeat([[0.2, 0.1, 5.0 * focal]], FRAMES, 0)
    body = BodyTrack(1, "person 1", np.arange(FRAMES), np.zeros((FRAMES, 24, 3)), np.zeros(10), far, None, transl_is_pelvis=True)
    room = Room(filmed(), np.ones(FRAMES) if unit is None else unit)
    return UpstreamClip(cameras, Tracks(), {1: body}, depth=room)


def turned_by(w2c: np.ndarray, degrees: np.ndarray, axis: int) -> np.ndarray:
    out = w2c.copy()
    turn = Rotation.from_rotvec(np.radians(degrees)[:, None] * np.eye(3)[axis]).as_matrix()
    out[:, :3, :3] = turn @ out[:, :3, :3]
    centres = camera_centres(w2c)
    out[:, :3, 3] = -np.einsum("tij,tj->ti", out[:, :3, :3], centres)
    return out


def degrees_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(Rotation.from_matrix(a[:, :3, :3] @ np.swapaxes(b[:, :3, :3], 1, 2)).magnitude())


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


def drifting(unit: np.ndarray, w2c: np.ndarray | None = None) -> np.ndarray:
    """Cameras, the true ones by default, whose steps are in a unit (T,) of their own."""
    given = filmed() if w2c is None else w2c.copy()
    centres = camera_centres(given)
    steps = np.diff(centres, axis=0) * ((unit[1:] + unit[:-1]) / 2)[:, None]
    given[:, :3, 3] = -np.einsum("tij,tj->ti", given[:, :3, :3], centres[0] + np.concatenate([np.zeros((1, 3)), np.cumsum(steps, 0)]))
    return given


def test_a_focal_length_and_a_unit_that_drifts_are_found_together() -> None:
    unit = 1 - 0.2 * np.linspace(0, 1, FRAMES)
    told: list[str] = []
    found = against_still_scene(clip_of(drifting(unit), unit, focal=0.8), told)
    assert "focal length" in told[0]
    assert "and a unit that changes by -20" in told[0]
    assert found.cameras.intrinsics[0, 0, 0] == pytest.approx(400, rel=0.01)
    np.testing.assert_allclose(camera_centres(found.cameras.w2c), camera_centres(filmed()), atol=0.02)
    assert found.camera_bodies[1].transl[0, 2] == pytest.approx(5.0, rel=0.01)


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


@pytest.mark.parametrize("wander", [0.0, 0.15, 0.3, 0.5])
@pytest.mark.parametrize("drift", [0.1, -0.1])
def test_a_unit_that_drifts_is_not_explained_by_cameras_that_err_a_little(drift: float, wander: float) -> None:
    """The better the depth maps are, the more of what is left is explained by turning cameras, as far as they err themselves."""
    unit, slow = 1 + drift * np.linspace(0, 1, FRAMES), wander * np.sin(np.linspace(0, 7, FRAMES))
    clip = clip_of(drifting(unit, turned_by(turned_by(filmed(), slow, 0), -slow, 1)), unit)
    told: list[str] = []
    found = against_still_scene(replace(clip, depth=Room(filmed(), unit, noise=0.003)), told)
    assert "a unit that changes by" in told[0]
    assert float(told[0].split("changes by ")[1].split(" %")[0]) == pytest.approx(100 * drift, abs=0.3)
    np.testing.assert_allclose(camera_centres(found.cameras.w2c), camera_centres(filmed()), atol=0.02)


@pytest.mark.parametrize(("drift", "focal"), [(0.3, 1.1), (0.5, 0.93), (0.5, 1.12)])
def test_a_drift_that_leaves_little_does_not_hide_a_focal_length(drift: float, focal: float) -> None:
    unit = 1 + drift * np.linspace(0, 1, FRAMES)
    told: list[str] = []
    clip = replace(clip_of(drifting(unit), unit, focal), depth=Room(filmed(), unit, noise=0.003))
    found = against_still_scene(clip, told)
    assert "focal length" in told[0]
    assert found.cameras.intrinsics[0, 0, 0] == pytest.approx(400, rel=0.01)


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
    monkeypatch.setattr(f"{__name__}.PLANES", np.array([[0, -1.0, 0, 1.39], [0, 0, -1.0, 9.82], slanted]))
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
    slow = wander * np.sin(np.linspace(0, 7, FRAMES))
    given = turned_by(turned_by(filmed(), slow, 0), -slow, 1)
    told: list[str] = []
    found = against_still_scene(clip_of(given, focal=0.8), told)
    assert "focal length" in told[0]
    assert found.cameras.intrinsics[0, 0, 0] == pytest.approx(400, rel=0.02)
    np.testing.assert_array_equal(found.cameras.w2c, given)


def test_cameras_that_err_less_than_depth_maps_tell_are_taken_as_they_are() -> None:
    slow = 0.4 * np.sin(np.linspace(0, 7, FRAMES))
    told: list[str] = []
    clip = clip_of(turned_by(turned_by(filmed(), slow, 0), -slow, 1))
    assert against_still_scene(clip, told) is clip
    assert told == []


def test_cameras_that_wander_are_not_explained_by_a_focal_length() -> None:
    """Cameras that turn along with their way, which a focal length explains a part of."""
    given = turned_by(filmed(), np.linspace(0, 4, FRAMES), 1)
    told: list[str] = []
    found = against_still_scene(clip_of(given), told)
    assert "focal" not in told[0]
    np.testing.assert_allclose(found.cameras.intrinsics[:, 0, 0], 400)


def test_what_nothing_explains_is_kept_and_told() -> None:
    """Depths that have nothing to do with each other, as those of a scene that is not still."""
    rng = np.random.default_rng(3)
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
