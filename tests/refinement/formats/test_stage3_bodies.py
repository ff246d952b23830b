"""Every name and shape under which the contract allows people to be stored reads as the same people."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose_priors.refinement.formats.bodies import BodyTrack, read_bodies

RNG = np.random.default_rng(3)
NUM = 6
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
    assert all(words in told for words in ("without a camera", "30", "not finite", "7", "more than once", "2", "1 rotation vector longer"))


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
