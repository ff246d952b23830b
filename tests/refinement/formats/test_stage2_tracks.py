"""Boxes and keypoints of stage 2 in both layouts, and what a damaged file costs."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scenes import Clip

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.keypoints import FORMATS, correspondences, format_of, observed
from pose_priors.refinement.formats.tracks import read_tracks

RNG = np.random.default_rng(3)


def test_both_layouts_have_the_same_tracks(clips: dict[str, Clip]) -> None:
    read = [read_tracks(clips[n].stages[1], np.arange(12), (640, 360), []) for n in ("released", "readme")]
    for person in (1, 2):
        assert read[0].boxes[person].keys() == read[1].boxes[person].keys()
        for frame, box in read[0].boxes[person].items():
            np.testing.assert_allclose(box, read[1].boxes[person][frame])
            np.testing.assert_allclose(read[0].keypoints[person][frame], read[1].keypoints[person][frame])
    assert read[0].format_name == "smpl24"
    assert 6 not in read[0].boxes[2]


class Unsafe:
    def __reduce__(self) -> tuple:
        return os.system, ("false",)


def test_an_unsafe_detection_is_refused_and_the_rest_read(clip: Callable[..., Clip]) -> None:
    folder = clip().stages[1]
    with (folder / "detections" / "frame_000003.pkl").open("wb") as stream:
        pickle.dump([Unsafe()], stream)
    warnings: list[str] = []
    tracks = read_tracks(folder, np.arange(12), (640, 360), warnings)
    assert 3 not in tracks.keypoints[1]
    assert 4 in tracks.keypoints[1]
    assert "system" in warnings[0]


def test_keypoint_files_are_preferred_and_nan_points_have_no_confidence(clip: Callable[..., Clip]) -> None:
    folder = clip().stages[1]
    (folder / "keypoints_2d").mkdir()
    points = RNG.uniform(0, 300, (12, 17, 3))
    points[2, 4] = np.nan
    np.savez(folder / "keypoints_2d" / "person_001.npz", keypoints=points, format="coco17")
    tracks = read_tracks(folder, np.arange(12), (640, 360), [])
    assert tracks.format_name == "coco17"
    assert tracks.keypoints.keys() == {1}
    np.testing.assert_array_equal(tracks.keypoints[1][2][4], 0)


@pytest.mark.parametrize(
    "spoilt", [{"track_id": "him"}, {"bbox": [1, [2], 3, 4]}, {"keypoints_2d": [[1, 2], [3]]}], ids=["id", "box", "keypoints"]
)
def test_a_detection_of_no_numbers_costs_its_frame(clip: Callable[..., Clip], spoilt: dict) -> None:
    folder = clip().stages[1]
    path = folder / "detections" / "frame_000003.pkl"
    path.write_bytes(pickle.dumps([pickle.loads(path.read_bytes())[0] | spoilt]))
    warnings: list[str] = []
    tracks = read_tracks(folder, np.arange(12), (640, 360), warnings)
    assert 3 not in tracks.keypoints[1]
    assert 4 in tracks.keypoints[1]
    assert "frame_000003.pkl" in warnings[0]


@pytest.mark.parametrize("boxes", [np.zeros((12, 5)), None], ids=["shape", "missing"])
def test_one_persons_bad_boxes_do_not_lose_the_others(clip: Callable[..., Clip], boxes: np.ndarray | None) -> None:
    spoilt = clip()
    shutil.rmtree(spoilt.stages[1] / "detections")
    spoilt.rewrite("2_tracking/tracks.npz", track_1_bboxes=boxes)
    warnings: list[str] = []
    assert read_tracks(spoilt.stages[1], np.arange(12), (640, 360), warnings).boxes.keys() == {2}
    assert "track_1_bboxes" in warnings[0]


def test_detections_stand_in_for_a_damaged_file_of_tracks(clip: Callable[..., Clip]) -> None:
    folder = clip().stages[1]
    (folder / "tracks.npz").write_bytes(b"torn")
    warnings: list[str] = []
    assert read_tracks(folder, np.arange(12), (640, 360), warnings).boxes.keys() == {1, 2}
    assert "tracks.npz" in warnings[0]


def test_boxes_outside_the_image_are_left_out(clip: Callable[..., Clip]) -> None:
    spoilt = clip()
    boxes = np.load(spoilt.stages[1] / "tracks.npz")["track_1_bboxes"]
    boxes[4, 0] += 5000
    spoilt.rewrite("2_tracking/tracks.npz", track_1_bboxes=boxes)
    warnings: list[str] = []
    assert 4 not in read_tracks(spoilt.stages[1], np.arange(12), (640, 360), warnings).boxes[1]
    assert "person 1 frame 4" in warnings[0]


def test_an_empty_tracking_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither tracks\.npz nor"):
        read_tracks(tmp_path, np.arange(3), (640, 360), [])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("num_joints", [22, 24, 55])
def test_links_observe_joints_that_exist_with_weights_of_one(name: str, num_joints: int) -> None:
    of = correspondences(name, num_joints)
    assert len(of) >= 11
    assert all(sum(link.weights) == pytest.approx(1) and max(link.joints) < num_joints for link in of)
    assert len({link.joints for link in of}) == len(of)
    size = max(max(link.points) for link in of) + 1
    points = RNG.uniform(0, 1, (2, size, 3))
    seen = observed(points, of)
    for k, link in enumerate(of):
        mean = sum(w * points[:, i, :2] for i, w in zip(link.points, link.weights, strict=True))
        np.testing.assert_allclose(seen[:, k, :2], mean)
        np.testing.assert_allclose(seen[:, k, 2], points[:, list(link.points), 2].min(1))


def test_left_is_left_in_every_format() -> None:
    left_wrist = {"smpl24": 20, "coco17": 9, "openpose25": 7, "coco_wholebody133": 9}
    for name, point in left_wrist.items():
        assert next(link for link in correspondences(name, 24) if link.points == (point,)).joints == (20,)
    index_tip_but_one = next(link for link in correspondences("coco_wholebody133", 55) if link.points == (91 + 7,))
    assert index_tip_but_one.joints == (27,)


def test_unknown_keypoint_format() -> None:
    assert format_of(133, None, "x") == "coco_wholebody133"
    with pytest.raises(UserError, match=r"file: 19 keypoints .* known are smpl24 \(24\)"):
        format_of(19, None, "file")
