"""Every name and shape under which the contract allows cameras to be stored reads as the same cameras."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scenes import Clip, stage1_cameras
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.cameras import read_cameras

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


def test_stage1_cameras_of_the_clip_are_what_is_read(clips: dict[str, Clip]) -> None:
    for clip in clips.values():
        np.testing.assert_allclose(read_cameras(clip.stages[0], []).w2c, stage1_cameras(clip), atol=1e-9)
