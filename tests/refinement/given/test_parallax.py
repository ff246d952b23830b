"""Depth of a still scene before a camera that moves much: the unit of either is told by the other; and which of its cells are whose."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from pose_priors.body.pinhole import pixel_centres, unproject
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.cameras import CameraTrack
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.tracks import Tracks
from pose_priors.refinement.given.parallax import Rescaled, best_ratio, scene_errors
from pose_priors.refinement.given.sampling import _cells, _eroded
from pose_priors.refinement.given.still.explanations import RescaledByFrame

SIZE, GRID, FRAMES = (640, 360), (45, 80), 13
INTRINSICS = np.array([[400.0, 0, 320], [0, 400, 180], [0, 0, 1]])


@dataclass
class Ground:
    """Depth of a floor 1.5 m below a camera that looks down on it from ever closer, with noise."""

    w2c: np.ndarray
    noise: float = 0.01

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        _, _, centres = pixel_centres(GRID, SIZE, 1)
        rays = unproject(centres, np.ones(len(centres)), INTRINSICS) @ self.w2c[frame, :3, :3]
        eye = -self.w2c[frame, :3, :3].T @ self.w2c[frame, :3, 3]
        depth = (1.5 - eye[1]) / np.where(rays[:, 1] > 0.05, rays[:, 1], np.nan)
        noise = np.random.default_rng(frame).normal(1, self.noise, depth.shape)
        return (depth * noise).reshape(GRID).astype(np.float32), np.ones(GRID, np.float32)

    def close(self) -> None:
        """Nothing to say."""


def clip_of(noise: float = 0.01) -> UpstreamClip:
    tilt = np.deg2rad(35)
    w2c = np.tile(np.eye(4), (FRAMES, 1, 1))
    w2c[:, :3, :3] = [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
    centres = np.linspace([0, 0, 0], [0.8, 0.3, 2.4], FRAMES)
    w2c[:, :3, 3] = -np.einsum("tij,tj->ti", w2c[:, :3, :3], centres)
    confidence, frames = np.ones(FRAMES), np.arange(FRAMES)
    cameras = CameraTrack("cameras.npz", w2c, np.tile(INTRINSICS, (FRAMES, 1, 1)), SIZE, confidence, frames, 30.0)
    return UpstreamClip(cameras, Tracks(), {}, Ground(w2c, noise))


def found_in(clip: UpstreamClip) -> float | None:
    found = best_ratio(clip, scene_errors(clip, [clip.cameras.w2c, np.linalg.inv(clip.cameras.w2c)]))
    return None if found is None else found.ratio


@pytest.mark.parametrize(
    ("ratio", "tolerance"), [(1000, 0), (100, 0), (0.01, 0), (0.001, 0), (5, 0), (256 / 1000, 0), (7, 0.05), (0.3, 0.05)]
)
def test_the_ratio_of_units_is_found_and_an_ordinary_one_exactly(ratio: float, tolerance: float) -> None:
    clip = clip_of(0.003)
    assert found_in(replace(clip, depth=Rescaled(clip.depth, ratio))) == pytest.approx(1 / ratio, rel=tolerance or 1e-9)


@pytest.mark.parametrize("ratio", [1, 0.8, 1.25])
def test_a_path_and_a_depth_that_nearly_fit_are_left_as_they_are(ratio: float) -> None:
    clip = clip_of(0.05)
    assert found_in(replace(clip, depth=Rescaled(clip.depth, ratio))) is None


def test_a_camera_that_stands_still_tells_nothing() -> None:
    clip = clip_of()
    still = replace(clip.cameras, w2c=np.tile(clip.cameras.w2c[:1], (FRAMES, 1, 1)))
    assert found_in(replace(clip, cameras=still)) is None


@pytest.mark.parametrize("bodies_say_so", [True, False])
def test_a_unit_that_changes_along_the_clip_is_not_taken_for_another_unit(bodies_say_so: bool) -> None:
    """Towards what it sees, a way a seventh as long in a scene a seventh as large explains much of a scene that shrinks."""
    clip = clip_of(0.003)
    clip.cameras.w2c[:, :3, 3] *= 0.15
    shrinks = {t: float(np.linspace(1, 0.7, FRAMES)[t]) for t in range(FRAMES)}
    times = np.ones(FRAMES) if bodies_say_so else 1 / np.array([*shrinks.values()])
    seen = RescaledByFrame(WithSomebody(Ground(clip.cameras.w2c, 0.003), times), shrinks)
    stands = np.tile([0, 0, 2.0], (FRAMES, 1))
    body = BodyTrack(1, "person 1", np.arange(FRAMES), np.zeros((FRAMES, 24, 3)), np.zeros(10), stands, None, transl_is_pelvis=True)
    tracks = Tracks(boxes={1: {t: np.array([280.0, 120, 360, 240]) for t in range(FRAMES)}})
    found = found_in(replace(clip, depth=seen, tracks=tracks, camera_bodies={1: body}))
    assert (found is None) is bodies_say_so


@dataclass
class WithSomebody:
    """Depth maps of people, too, two metres away times what is given by frame, in the middle of the picture."""

    source: Ground
    times: np.ndarray

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        depth, sure = self.source.read(frame)
        depth[15:30, 35:45] = 2.0 * self.times[frame]
        return depth, sure

    def close(self) -> None:
        """Nothing to say."""


@pytest.mark.parametrize("shape", [(40, 60), (1, 9), (2, 2)])
def test_masks_lose_their_rim_unless_little_would_be_left(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(0)
    for share in (0.5, 0.97, 1.0):
        mask = draw.random(shape) < share
        inner = binary_erosion(mask)
        np.testing.assert_array_equal(_eroded(mask), inner if inner.sum() >= mask.sum() / 2 else mask)


def test_a_mask_is_read_where_the_middles_of_the_map_s_cells_lie() -> None:
    mask = np.arange(6 * 8).reshape(6, 8)
    np.testing.assert_array_equal(mask[_cells((3, 4), (6, 8))], mask[1::2, 1::2])
    np.testing.assert_array_equal(mask[_cells((12, 16), (6, 8))], mask.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(mask[_cells((3, 5), (6, 8))], mask[1::2][:, [0, 2, 4, 5, 7]])
    np.testing.assert_array_equal(mask[_cells((1, 1), (6, 8))], mask[3:4, 4:5])
