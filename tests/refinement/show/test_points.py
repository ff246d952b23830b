"""Points of depth maps that are left out: at edges, of little confidence, and what other frames contradict."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from review_results import make_results
from scenes import Clip, make_clip, render_clip

from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser
from pose_priors.refinement.formats.cameras import CameraTrack
from pose_priors.refinement.result.found import find_results
from pose_priors.refinement.show.points import PointFilter, add_filters, filter_of, filtered, is_background, steepness
from pose_priors.refinement.show.review_scene import ReviewScene, load_scene


@dataclass
class Maps:
    """Depth maps in memory."""

    maps: dict[int, np.ndarray] = field(default_factory=dict)

    def read(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        return (self.maps[frame], np.ones_like(self.maps[frame])) if frame in self.maps else None

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReviewScene, Clip]:
    root = tmp_path_factory.mktemp("points")
    clip = make_clip(root / "made", num_frames=12)
    make_results(root / "results", clip, ["clip"])
    return load_scene(find_results(root / "results")[0]), clip


def test_a_slope_is_as_steep_as_it_is_and_holes_have_rims() -> None:
    rows, columns = np.mgrid[:6, :8].astype(float)
    depth = 2 + 0.3 * rows - 0.4 * columns + 10
    np.testing.assert_allclose(steepness(depth), 0.5)
    depth[2, 2] = np.nan
    assert np.isinf(steepness(depth)[[1, 2, 3, 2], [2, 1, 2, 3]]).all()
    assert np.isfinite(steepness(depth)[4:]).all()


def test_thresholds_are_of_metres_and_of_confidence() -> None:
    depth = np.array([[1.0, 1.0, 1.0, 3.0, 3.0, 3.0]] * 3)
    weight = np.tile(np.linspace(0, 1, 6), (3, 1))
    rows, columns = (axis.ravel() for axis in np.mgrid[:3, :6])
    at_edge = (columns == 2) | (columns == 3)
    for metres, limit, left_out in ((1.0, 0.9, True), (1.0, 1.1, False), (0.5, 0.6, False), (0.5, 0.4, True)):
        kept = filtered(PointFilter(gradient=limit), depth, weight, rows, columns, metres)
        np.testing.assert_array_equal(kept, ~at_edge if left_out else np.ones(18, bool))
    np.testing.assert_array_equal(filtered(PointFilter(confidence=0.6), depth, weight, rows, columns, 1.0), columns >= 3)
    assert filtered(PointFilter(), depth, weight, rows, columns, 1.0).all()


def still(num_frames: int) -> CameraTrack:
    lens = np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]])
    return CameraTrack(
        source="",
        w2c=np.tile(np.eye(4), (num_frames, 1, 1)),
        intrinsics=np.tile(lens, (num_frames, 1, 1)),
        image_size=(100, 100),
        confidence=np.ones(num_frames),
        frame_ids=np.arange(num_frames) + 5,
        fps=10,
    )


def test_what_passes_by_is_no_background_and_what_is_hidden_may_be() -> None:
    wall, passing = np.full((10, 10), 4.0), np.full((10, 10), 4.0)
    passing[:, :5] = 2.0  # somebody in the left half
    points = np.array([[-1.0, 0, 2], [1.0, 0, 4], [-1.0, 0, 4]])  # somebody; the wall; the wall behind somebody
    others = Maps({5: wall, 9: passing, 13: wall})
    np.testing.assert_array_equal(is_background(points, 9, still(9), others, 10.0), [False, True, True])
    np.testing.assert_array_equal(is_background(points, 5, still(9), Maps({9: passing}), 10.0), [True, True, True])
    assert is_background(points, 9, still(9), Maps(), 10.0).all()


def test_of_a_clip_the_background_stays_and_who_walks_goes(scene: tuple[ReviewScene, Clip]) -> None:
    shown, clip = scene
    _, who = render_clip(clip)
    every, kept = shown.depth_points(6, 1), shown.depth_points(6, 1, PointFilter(consistent=True))
    near = {point.tobytes() for point in kept}
    left = np.array([point.tobytes() in near for point in every])
    of_scene = who[6].ravel() < 0
    assert left[of_scene].mean() > 0.95
    assert left[of_scene].mean() > left[~of_scene].mean() + 0.1


def test_flags_say_which() -> None:
    parser = Parser()
    add_filters(parser)
    assert filter_of(parser.parse_args([])) == PointFilter(None, 0.0, consistent=True)
    assert filter_of(parser.parse_args(["--gradient-thr", "0.15", "--conf-thr", "0.5", "--no-spf"])) == PointFilter(0.15, 0.5)
    assert filter_of(parser.parse_args(["--gradient-threshold", "0.3", "--confidence-threshold", "1"])).gradient == 0.3
    for flags, said in (
        (["--conf-thr", "2"], "--conf-thr 2: a share from 0 to 1"),
        (["--gradient-thr", "0"], "--gradient-thr 0: a number"),
    ):
        with pytest.raises(UserError, match=said):
            filter_of(parser.parse_args(flags))
