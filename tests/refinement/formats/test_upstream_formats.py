"""Every name and shape under which the contract allows a thing to be stored reads as the same thing."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import Clip, stage1_cameras
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.bodies import BodyTrack, read_bodies
from pose_priors.refinement.formats.cameras import read_cameras
from pose_priors.refinement.formats.depth import DepthMaps
from pose_priors.refinement.formats.keypoints import FORMATS, format_of, links, observed
from pose_priors.refinement.formats.masks import Masks
from pose_priors.refinement.formats.point_cloud import read_points
from pose_priors.refinement.formats.tracks import read_tracks

RNG = np.random.default_rng(3)
NUM = 6


def some_poses() -> np.ndarray:
    w2c = np.tile(np.eye(4), (NUM, 1, 1))
    w2c[:, :3, :3] = Rotation.random(NUM, rng=1).as_matrix()
    w2c[:, :3, 3] = RNG.normal(size=(NUM, 3))
    return w2c


W2C = some_poses()
C2W = np.linalg.inv(W2C)
K = np.array([[500.0, 0, 320], [0, 510.0, 180], [0, 0, 1]])
PARAMETERS = {
    "poses": {"poses": W2C},
    "w2c": {"w2c": W2C},
    "vggt": {"extrinsic": W2C[None, :, :3]},
    "extrinsics": {"extrinsics": W2C[:, :3]},
    "R_T": {"R": W2C[:, :3, :3], "T": W2C[:, :3, 3]},
    "Rcw_Tcw": {"Rcw": W2C[:, :3, :3], "Tcw": W2C[:, :3, 3:]},
    "c2w": {"c2w": C2W},
    "cam2world": {"cam2world": C2W[:, :3]},
    "tram": {"pred_cam_R": C2W[:, :3, :3], "pred_cam_T": C2W[:, :3, 3]},
    "tram_world": {"world_cam_R": C2W[:, :3, :3], "world_cam_T": C2W[:, :3, 3]},
    "both": {"w2c": W2C, "c2w": C2W},
}


def stage1(folder: Path, arrays: dict[str, np.ndarray], metadata: dict | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "cameras.npz", **arrays)
    (folder / "metadata.json").write_text(json.dumps({"image_size": [640, 360]} if metadata is None else metadata))
    return folder


@pytest.mark.parametrize("name", PARAMETERS)
def test_camera_aliases_have_their_direction(tmp_path: Path, name: str) -> None:
    cameras = read_cameras(stage1(tmp_path / "1", PARAMETERS[name] | {"intrinsics": K}), [])
    np.testing.assert_allclose(cameras.w2c, W2C, atol=1e-9)


@pytest.mark.parametrize(
    "stored",
    [K, np.tile(K, (NUM, 1, 1)), np.array([500.0, 510, 320, 180]), np.tile([500.0, 510, 320, 180], (NUM, 1))],
    ids=lambda a: str(a.shape),
)
def test_intrinsics_of_every_shape(tmp_path: Path, stored: np.ndarray) -> None:
    cameras = read_cameras(stage1(tmp_path / "1", {"poses": W2C, "intrinsics": stored}), [])
    np.testing.assert_allclose(cameras.intrinsics, np.tile(K, (NUM, 1, 1)))


def test_intrinsics_of_a_resized_grid(tmp_path: Path) -> None:
    small = np.diag([518 / 640, 294 / 360, 1]) @ K
    arrays = {"poses": W2C, "intrinsics": small, "intrinsics_size": np.array([518, 294])}
    np.testing.assert_allclose(read_cameras(stage1(tmp_path / "1", arrays), []).intrinsics[0], K)


def test_image_size_falls_back_to_the_principal_point(tmp_path: Path) -> None:
    warnings: list[str] = []
    cameras = read_cameras(stage1(tmp_path / "1", {"poses": W2C, "intrinsics": K}, {"fps": 24}), warnings)
    assert cameras.image_size == (640, 360)
    assert cameras.fps == 24
    assert "image_size" in warnings[0]


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"intrinsics": K}, "no camera poses"),
        ({"poses": W2C}, "no intrinsics"),
        ({"poses": W2C[0], "intrinsics": K}, r"'poses' has shape \(4, 4\)"),
        ({"poses": W2C * 2, "intrinsics": K}, "no rotation"),
        ({"poses": np.where(np.arange(NUM) == 2, np.nan, W2C.T).T, "intrinsics": K}, "not finite at frame 2"),
        ({"poses": W2C, "intrinsics": np.ones((NUM + 1, 4))}, "intrinsics have shape"),
        ({"poses": W2C, "intrinsics": -K}, "not positive"),
        ({"w2c": W2C, "c2w": W2C, "intrinsics": K}, "not each other's inverse"),
        ({"poses": W2C, "intrinsics": K, "frame_ids": np.arange(NUM) * 2}, "frame_ids"),
        ({"poses": W2C, "intrinsics": K, "confidence": np.ones(NUM - 1)}, "'confidence' has shape"),
        ({"poses": W2C, "intrinsics": K, "intrinsics_size": np.array([518, 294, 3])}, "'intrinsics_size' is"),
    ],
)
def test_broken_cameras_name_file_and_key(tmp_path: Path, arrays: dict[str, np.ndarray], told: str) -> None:
    with pytest.raises(UserError, match=rf"cameras\.npz.*{told}") as error:
        read_cameras(stage1(tmp_path / "1", arrays), [])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fps", ["fast", -30, float("nan")])
def test_a_rate_of_frames_that_is_none(tmp_path: Path, fps: object) -> None:
    with pytest.raises(UserError, match=r"'fps' is .*positive"):
        read_cameras(stage1(tmp_path / "1", {"poses": W2C, "intrinsics": K}, {"image_size": [640, 360], "fps": fps}), [])


@pytest.mark.parametrize("missing", ["folder", "file"])
def test_missing_cameras(tmp_path: Path, missing: str) -> None:
    if missing == "file":
        (tmp_path / "1").mkdir()
    with pytest.raises(UserError, match=f"no such {missing}"):
        read_cameras(tmp_path / "1", [])


def test_depth_maps_of_any_grid_and_type(tmp_path: Path) -> None:
    maps = tmp_path / "depth_maps"
    maps.mkdir()
    np.save(maps / "depth_0000.npy", np.array([[1, 2, 0], [-1, np.nan, np.inf]], np.float16)[..., None])
    np.save(maps / "depth_000001.npy", np.ones((1, 4, 5), np.float32))
    (maps / "depth_000002.npy").write_bytes(b"not numpy")
    (tmp_path / "depth_uncertainty").mkdir()
    np.save(tmp_path / "depth_uncertainty" / "sigma_000001.npy", np.full((4, 5), 0.25))
    warnings: list[str] = []
    depth = DepthMaps(tmp_path, np.arange(4), warnings)
    assert "3 depth maps for 4 cameras" in warnings[0]
    values, weight = depth.read(0)
    np.testing.assert_array_equal(values, [[1, 2, np.nan], [np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(weight, 1)
    assert depth.read(1)[1][0, 0] == pytest.approx(0.75)
    assert depth.read(2) is None
    assert depth.read(3) is None
    depth.close()
    assert "depth_000002.npy" in warnings[1]


def test_large_depth_maps_are_thinned_about_their_cells_middles(tmp_path: Path) -> None:
    (tmp_path / "depth_maps").mkdir()
    columns = np.tile(np.arange(1.0, 1921.0, dtype=np.float32), (1080, 1))
    np.save(tmp_path / "depth_maps" / "depth_000000.npy", columns)
    values, _ = DepthMaps(tmp_path, np.arange(1), []).read(0)
    assert values.shape == (360, 640)
    np.testing.assert_array_equal(values[0], np.arange(640) * 3 + 2)


@pytest.mark.parametrize("name", ["frame_000003_person_012", "person_012_frame_0003"])
def test_masks_by_either_name_and_suffix(tmp_path: Path, name: str) -> None:
    (tmp_path / "masks").mkdir()
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    if name.startswith("frame"):
        np.save(tmp_path / "masks" / f"{name}.npy", mask)
    else:
        Image.fromarray((mask * 255).astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "masks" / "person_012_frame_0004.png").write_bytes(b"no picture")
    warnings: list[str] = []
    masks = Masks(tmp_path, warnings)
    np.testing.assert_array_equal(masks.read(12, 3), mask)
    assert masks.read(1, 3) is None
    assert masks.read(12, 4) is None
    masks.close()
    assert len(warnings) == 1
    assert "person_012_frame_0004" in warnings[0]


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
    of = links(name, num_joints)
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
        assert next(link for link in links(name, 24) if link.points == (point,)).joints == (20,)
    index_tip_but_one = next(link for link in links("coco_wholebody133", 55) if link.points == (91 + 7,))
    assert index_tip_but_one.joints == (27,)


def test_unknown_keypoint_format() -> None:
    assert format_of(133, None, "x") == "coco_wholebody133"
    with pytest.raises(UserError, match=r"file: 19 keypoints .* known are smpl24 \(24\)"):
        format_of(19, None, "file")


POSE = Rotation.random(NUM * 24, rng=2).as_rotvec().reshape(NUM, 24, 3)
ROOT, BODY, TRANSL = POSE[:, 0], POSE[:, 1:], RNG.normal(size=(NUM, 3))
FRAMES = np.array([2, 3, 4, 6, 7, 9])
HANDS = 0.3 * RNG.normal(size=(NUM, 90))


def stage3(folder: Path, arrays: dict[str, np.ndarray], metadata: dict | None = None, joints: np.ndarray | None = None) -> Path:
    person = folder / "person_007"
    person.mkdir(parents=True)
    np.savez(person / "smpl_params_camera.npz", **arrays)
    if metadata is not None:
        (person / "metadata.json").write_text(json.dumps(metadata))
    if joints is not None:
        np.save(person / "joints_camera.npy", joints)
    return folder


def read_one(folder: Path) -> tuple[BodyTrack, list[str]]:
    warnings: list[str] = []
    people, _ = read_bodies(folder, "camera", np.arange(10), warnings, {})
    assert people.keys() == {7}, warnings
    return people[7], warnings


WHOLE = np.concatenate([POSE[:, :22].reshape(NUM, 66), np.zeros((NUM, 9)), HANDS], 1)
VARIANTS: dict[str, tuple[dict[str, np.ndarray], int]] = {
    "released": ({"poses": BODY, "global_orient": ROOT}, 24),
    "body_69": ({"body_pose": BODY.reshape(NUM, 69), "global_orient": ROOT}, 24),
    "body_63": ({"body_pose": BODY[:, :21].reshape(NUM, 63), "global_orient": ROOT}, 22),
    "poses_72": ({"poses": POSE.reshape(NUM, 72)}, 24),
    "rotmat": ({"pred_rotmat": Rotation.from_rotvec(POSE.reshape(-1, 3)).as_matrix().reshape(NUM, 24, 3, 3)}, 24),
    "poses_165": ({"poses": WHOLE}, 55),
    "hands": (
        {
            "body_pose": BODY[:, :21].reshape(NUM, 63),
            "global_orient": ROOT,
            "left_hand_pose": HANDS[:, :45],
            "right_hand_pose": HANDS[:, 45:],
        },
        55,
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_poses_of_every_shape(tmp_path: Path, name: str) -> None:
    arrays, num_joints = VARIANTS[name]
    body, warnings = read_one(stage3(tmp_path / "3", arrays | {"transl": TRANSL, "frame_ids": FRAMES}))
    assert body.pose.shape == (NUM, num_joints, 3)
    np.testing.assert_allclose(body.pose[:, :22], POSE[:, :22], atol=1e-9)
    if num_joints == 55:
        np.testing.assert_allclose(body.pose[:, 25:].reshape(NUM, 90), HANDS)
    np.testing.assert_array_equal(body.frames, FRAMES)
    assert not warnings


@pytest.mark.parametrize("metadata", [{"frames": FRAMES.tolist()}, {"frame_ids": FRAMES.tolist()}, {"start_frame": 2, "end_frame": 7}])
def test_frames_from_metadata(tmp_path: Path, metadata: dict) -> None:
    body, _ = read_one(stage3(tmp_path / "3", VARIANTS["released"][0] | {"transl": TRANSL}, metadata))
    np.testing.assert_array_equal(body.frames, np.arange(2, 8) if "start_frame" in metadata else FRAMES)


@pytest.mark.parametrize(("stored", "read"), [(22, 22), (24, 24), (45, 24), (55, 55)])
def test_joints_of_every_count(tmp_path: Path, stored: int, read: int) -> None:
    joints = RNG.normal(size=(NUM, stored, 3))
    arrays = VARIANTS["released"][0] | {"transl": TRANSL, "frame_ids": FRAMES, "betas": np.arange(60.0).reshape(NUM, 10)}
    body, _ = read_one(stage3(tmp_path / "3", arrays, joints=joints))
    np.testing.assert_array_equal(body.joints, joints[:, :read])
    np.testing.assert_array_equal(body.betas, np.arange(25.0, 35.0))


def test_faulty_rows_are_mended_and_told(tmp_path: Path) -> None:
    pose, transl, frames = POSE.copy(), TRANSL.copy(), np.array([4, 2, 2, 30, 7, 9])
    angle = np.linalg.norm(pose[0, 5])
    pose[0, 5] *= (2 * np.pi - angle) / -angle
    transl[4, 1] = np.nan
    body, warnings = read_one(stage3(tmp_path / "3", {"poses": pose.reshape(NUM, 72), "transl": transl, "frame_ids": frames}))
    np.testing.assert_array_equal(body.frames, [2, 4, 9])
    np.testing.assert_allclose(body.pose, POSE[[1, 0, 5]], atol=1e-9)
    told = " ".join(warnings)
    assert all(words in told for words in ("without a camera", "30", "not finite", "7", "more than once", "2", "1 rotation vectors longer"))


def torn(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"transl": TRANSL[:, :2]}, r"'transl' has shape \(6, 2\)"),
        ({"betas": np.float64(0)}, "'betas' is a single number"),
        ({"frame_ids": np.array(["a"] * NUM)}, "'frame_ids' holds no numbers but <U1"),
        (None, "cannot be read"),
    ],
    ids=["transl", "betas", "frames", "torn"],
)
def test_whatever_is_wrong_with_a_person_costs_that_person(tmp_path: Path, change: dict | None, told: str) -> None:
    whole = VARIANTS["released"][0] | {"transl": TRANSL, "frame_ids": FRAMES}
    folder = stage3(tmp_path / "3", whole)
    (folder / "person_009").mkdir()
    np.savez(folder / "person_009" / "smpl_params_camera.npz", **whole | (change or {}))
    if change is None:
        torn(folder / "person_009" / "smpl_params_camera.npz")
    _, warnings = read_one(folder)
    assert re.search(rf"person 9 .*{told}", warnings[0])


def test_a_torn_file_of_joints_costs_that_person(tmp_path: Path) -> None:
    whole = VARIANTS["released"][0] | {"transl": TRANSL, "frame_ids": FRAMES}
    folder = stage3(tmp_path / "3", whole)
    (folder / "person_009").mkdir()
    np.savez(folder / "person_009" / "smpl_params_camera.npz", **whole)
    np.save(folder / "person_009" / "joints_camera.npy", np.zeros((NUM, 24, 3)))
    (folder / "person_009" / "joints_camera.npy").write_bytes((folder / "person_009" / "joints_camera.npy").read_bytes()[:500])
    _, warnings = read_one(folder)
    assert re.search(r"person 9 .*joints_camera\.npy: .*cannot be read", warnings[0])


def test_one_broken_person_does_not_lose_the_others(tmp_path: Path) -> None:
    folder = stage3(tmp_path / "3", VARIANTS["released"][0] | {"transl": TRANSL, "frame_ids": FRAMES})
    for number, arrays in enumerate(({"poses": BODY}, {"poses": BODY[:, :5], "global_orient": ROOT, "transl": TRANSL}), start=8):
        (folder / f"person_{number:03d}").mkdir()
        np.savez(folder / f"person_{number:03d}" / "smpl_params_camera.npz", **arrays)
    (folder / "person_010").mkdir()
    _, warnings = read_one(folder)
    assert len(warnings) == 3
    assert "global_orient" in warnings[0]
    assert "21 | 23" in warnings[1]
    assert "no such file" in warnings[2]


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian"])
def test_point_clouds(tmp_path: Path, kind: str) -> None:
    points = RNG.normal(size=(20, 3)).astype(np.float32)
    header = f"ply\nformat {kind} 1.0\ncomment x\nelement vertex 20\n"
    header += "property float x\nproperty float y\nproperty float z\nproperty uchar red\nend_header\n"
    path = tmp_path / "point_cloud.ply"
    if kind == "ascii":
        path.write_text(header + "\n".join(f"{x} {y} {z} 7" for x, y, z in points.tolist()) + "\n")
    else:
        table = np.zeros(20, [("xyz", "<f4", 3), ("red", "u1")])
        table["xyz"] = points
        path.write_bytes(header.encode() + table.tobytes())
    np.testing.assert_allclose(read_points(path), points, rtol=1e-6)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UserError, match=r"point_cloud\.ply: (cut short|not a readable)"):
        read_points(path)


def test_stage1_cameras_of_the_clip_are_what_is_read(clips: dict[str, Clip]) -> None:
    for clip in clips.values():
        np.testing.assert_allclose(read_cameras(clip.stages[0], []).w2c, stage1_cameras(clip), atol=1e-9)
