"""All people and cameras of a clip in one file, and keypoints in its images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_results import FPS, HEIGHT, LIVES, PITCH, TOLERANCE_M, Result, every_body, exported
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError
from pose_priors.refinement.export.coco import KEYPOINTS
from pose_priors.refinement.result.write import person_file

_LENS = np.array([[400.0, 0, 320], [0, 410, 240], [0, 0, 1]])
_OF_COCO = {"left_shoulder": 16, "right_elbow": 19, "left_wrist": 20, "right_hip": 2, "left_knee": 4, "right_ankle": 8}


def _cameras(frames: np.ndarray) -> np.ndarray:
    """(n, 4, 4) world of stage 1 to camera: the first looks as `export_results` has it, then it turns and moves."""
    w2c = np.tile(np.eye(4), (len(frames), 1, 1))
    w2c[:, :3, :3] = Rotation.from_euler("y", 0.002 * (frames - 100)[:, None]).as_matrix()
    w2c[:, :3, 3] = 0.01 * (frames - 100)[:, None] * [1.0, 0.2, -0.1]
    return w2c


@pytest.fixture(scope="session")
def filmed(results: dict[int, Result], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Result]:
    """The results, with cameras."""
    made = {}
    for kind, result in results.items():
        folder = tmp_path_factory.mktemp("filmed") / "clip"
        shutil.copytree(result.folder, folder)
        for person in LIVES:
            path = person_file(folder, person)
            with np.load(path) as data:
                arrays = dict(data)
            lenses = np.tile(_LENS, (len(arrays["frame_ids"]), 1, 1))
            np.savez(path, **arrays | {"camera_w2c": _cameras(arrays["frame_ids"]), "intrinsics": lenses})
        made[kind] = Result(folder, result.joints, result.rest, result.model)
    return made


def _pixels(joints: np.ndarray, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """(J, 2) and (J,) depth, of the truth's joints (J, 3), by the first camera's known height and pitch."""
    down, forward = [0, -np.sin(PITCH), -np.cos(PITCH)], [0, np.cos(PITCH), -np.sin(PITCH)]
    old = (joints - [0, 0, HEIGHT]) @ np.stack([[1.0, 0, 0], down, forward]).T
    w2c = _cameras(np.array([frame]))[0]
    there = old @ w2c[:3, :3].T + w2c[:3, 3]
    seen = there @ _LENS.T
    return seen[:, :2] / seen[:, 2:], there[:, 2]


@every_body
def test_a_scene_holds_all_people_and_cameras_in_one_world(filmed: dict[int, Result], num_joints: int, tmp_path: Path) -> None:
    result = filmed[num_joints]
    said, arrays = exported(result, "scene", tmp_path)
    content: dict[str, Any] = json.loads(said.read_text())
    assert (said.name, arrays.name, content["arrays"]) == ("clip_scene.json", "clip_scene.npz", "clip_scene.npz")
    assert (content["schema"], content["fps"]) == ("pose-priors/scene/1", FPS)
    with np.load(arrays) as data:
        named = [*content["cameras"]["arrays"].values(), *(key for one in content["people"] for key in one["arrays"].values())]
        assert sorted(named) == sorted(data.files)
        frames = data["cameras/frames"].tolist()
        assert frames == list(range(100, 160))
        assert [one["id"] for one in content["people"]] == list(LIVES)
        for one in content["people"]:
            truth, begin = result.joints[one["id"]], LIVES[one["id"]][0]
            own = {name: data[key] for name, key in one["arrays"].items()}
            np.testing.assert_allclose(own["joints"], truth, atol=TOLERANCE_M)
            np.testing.assert_allclose(own["pelvis"], truth[:, 0], atol=TOLERANCE_M)
            assert own["frames"].tolist() == list(range(one["first_frame"], one["last_frame"] + 1))
            assert one["first_frame"] == 100 + begin
            assert np.flatnonzero(~own["visible"]).tolist() == [5, 6, 7, 8]
            assert len(one["joint_names"]) == len(one["parents"]) == num_joints
            _, turned = _chain(own["rotvec"], own["offsets"], one["parents"])
            np.testing.assert_allclose(turned + own["pelvis"][:, None], truth, atol=TOLERANCE_M)
            # seen by the cameras that stand in the file, joints are where those of the result are
            at = frames.index(one["first_frame"] + 3)
            there = own["joints"][3] @ data["cameras/w2c"][at, :3, :3].T + data["cameras/w2c"][at, :3, 3]
            pixels = there @ data["cameras/intrinsics"][at].T
            expected, _ = _pixels(truth[3], one["first_frame"] + 3)
            np.testing.assert_allclose(pixels[:, :2] / pixels[:, 2:], expected, atol=0.3)


def _chain(rotvec: np.ndarray, offsets: np.ndarray, parents: list[int]) -> tuple[list[Rotation], np.ndarray]:
    """Joints (T, J, 3) from the root, one joint after the other."""
    turns, joints = [], np.zeros((len(rotvec), len(parents), 3))
    for joint, parent in enumerate(parents):
        own = Rotation.from_rotvec(rotvec[:, joint])
        turns.append(own if parent < 0 else turns[parent] * own)
        if parent >= 0:
            joints[:, joint] = joints[:, parent] + turns[parent].apply(offsets[joint])
    return turns, joints


@every_body
def test_keypoints_are_where_the_joints_are_seen(filmed: dict[int, Result], num_joints: int, tmp_path: Path) -> None:
    result = filmed[num_joints]
    (path,) = exported(result, "coco", tmp_path)
    content: dict[str, Any] = json.loads(path.read_text())
    assert path.name == "clip_coco.json"
    assert content["categories"][0]["keypoints"] == KEYPOINTS
    assert len(KEYPOINTS) == 17
    assert {(image["width"], image["height"]) for image in content["images"]} == {(640, 480)}
    assert [image["id"] for image in content["images"]] == list(range(100, 160))
    assert len({one["id"] for one in content["annotations"]}) == len(content["annotations"]) > 60
    flags = set()
    for one in content["annotations"]:
        row = one["image_id"] - 100 - LIVES[one["track_id"]][0]
        pixels, depth = _pixels(result.joints[one["track_id"]][row], one["image_id"])
        points = np.array(one["keypoints"]).reshape(17, 3)
        assert one["num_keypoints"] == (points[:, 2] > 0).sum()
        assert (points[points[:, 2] == 0] == 0).all()
        for name, joint in _OF_COCO.items():
            x, y, flag = points[KEYPOINTS.index(name)]
            inside = depth[joint] > 0 and (pixels[joint] >= 0).all() and (pixels[joint] < [640, 480]).all()
            if np.abs(pixels[joint] - np.clip(pixels[joint], [1, 1], [639, 479])).max() > 0 and inside:
                continue  # at the very edge
            assert flag == (0 if not inside else 1 if 5 <= row < 9 else 2)
            flags.add(int(flag))
            if inside:
                np.testing.assert_allclose([x, y], pixels[joint], atol=0.3)
        assert (points[[0, 3, 4], 2] == 0).all()
        left, top, width, height = one["bbox"]
        shown = points[points[:, 2] > 0, :2]
        assert (shown >= np.array([left, top]) - 0.02).all()
        assert (shown <= np.array([left + width, top + height]) + 0.02).all()
        assert one["area"] == pytest.approx(width * height, rel=1e-3, abs=0.1)
    assert {1, 2} <= flags
    eyes = sum(one["keypoints"][3 + 2] > 0 for one in content["annotations"])
    assert (eyes > 0) == (num_joints == 55)


def test_another_rate_is_refused_where_cameras_have_none(filmed: dict[int, Result], tmp_path: Path) -> None:
    for to in ("scene", "coco"):
        with pytest.raises(UserError, match=f"--fps: {to} holds the cameras of the clip's own frames"):
            exported(filmed[22], to, tmp_path, "--fps", "30")
    assert not list(tmp_path.iterdir())


def test_a_result_without_cameras_is_told_in_one_line(results: dict[int, Result], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"intrinsics|camera_w2c"):
        exported(results[22], "scene", tmp_path)
    assert not list(tmp_path.iterdir())


def test_keypoints_have_the_order_of_coco() -> None:
    words = "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist"
    assert [*KEYPOINTS] == [*words.split(), *"left_hip right_hip left_knee right_knee left_ankle right_ankle".split()]
