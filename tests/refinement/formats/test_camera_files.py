"""Cameras that are written as ViPE, MegaSaM, VGGT, DROID-SLAM and odometries write them are the same cameras when they are read."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from camera_writers import (
    UNIT,
    exr,
    in_unit,
    quaternions,
    write_droid,
    write_megasam,
    write_slahmr_cameras,
    write_vggt,
    write_vipe,
)
from upstream_truth import NUM_FRAMES, SIZE, make_truth
from upstream_writers import write_phalp, write_tram

from pose_priors.configs.base import UserError
from pose_priors.datamodules.stage_folders import STAGES
from pose_priors.refinement.formats.camera_files import files_of_cameras, read_camera_file
from pose_priors.refinement.formats.camera_files.exr import read_exr
from pose_priors.refinement.formats.camera_files.poses import CameraFile

WRITERS = [write_vipe, write_megasam, write_vggt, write_droid]
NAMES = ["ViPE", "MegaSaM", "VGGT", "DROID-SLAM"]
every_program = pytest.mark.parametrize("write", [*WRITERS, write_slahmr_cameras])
# no side of it a multiple of what the programs bring it to
ODD = (642, 363)


def read(path: Path, size: tuple[int, int] = SIZE) -> CameraFile:
    return read_camera_file(path, size, [])


def steps(size: tuple[int, int]) -> np.ndarray:
    """(T, h, w) metres: another depth in each sixth of the image, on each frame."""
    height, width = size[1], size[0]
    cells = 2 + 3 * (np.arange(height) * 2 // height)[:, None] + (np.arange(width) * 3 // width)
    return cells + np.arange(NUM_FRAMES)[:, None, None] / 8.0


@every_program
@pytest.mark.parametrize("size", [SIZE, ODD, (360, 640)])
def test_what_was_written_is_read(write: Callable[..., Path], size: tuple[int, int], tmp_path: Path) -> None:
    truth = make_truth()
    intrinsics = np.array([[500.0, 0, size[0] / 2 + 3], [0, 510.0, size[1] / 2 - 2], [0, 0, 1]])
    if write is write_vipe:  # the principal point is the middle of the image there
        intrinsics[:2, 2] = size[0] / 2, size[1] / 2
    depth = None if write is write_slahmr_cameras else steps(size)
    found = read(write(tmp_path / "out", truth.w2c, intrinsics, size, depth), size)
    unit = 1 if write is write_vipe else UNIT
    assert found.tool == ("DROID-SLAM" if depth is None else NAMES[WRITERS.index(write)])
    assert found.unit == ("near" if write is write_vipe else "free")
    np.testing.assert_array_equal(found.frames, np.arange(NUM_FRAMES))
    np.testing.assert_allclose(found.w2c, in_unit(truth.w2c, unit), atol=1e-5)
    assert found.intrinsics is not None
    np.testing.assert_allclose(found.intrinsics, np.tile(intrinsics, (NUM_FRAMES, 1, 1)), rtol=1e-4, atol=1e-3)
    if depth is None:
        return
    for frame in (0, NUM_FRAMES - 1):
        read_map = found.depth.read(frame)
        assert read_map is not None
        values, weight = read_map
        known = np.isfinite(values)
        assert known.mean() > (0.5 if size[1] > size[0] else 0.95)
        np.testing.assert_array_equal(known, weight > 0)
        rows, columns = ((np.arange(n) + 0.5) / n for n in values.shape)
        there = depth[frame][np.ix_((rows * size[1]).astype(int), (columns * size[0]).astype(int))]
        same = np.isclose(values * unit, there, rtol=2e-3)
        assert same[known].mean() > 0.98  # but for cells at the edges of the sixths
    assert found.depth.read(NUM_FRAMES) is None


def test_vggt_pads_to_a_square_and_encodes_poses(tmp_path: Path) -> None:
    truth = make_truth()

    def encode(content: dict[str, Any]) -> None:
        focal = content["intrinsic"][0, [1, 0], [1, 0]]
        poses = quaternions(np.concatenate([content["extrinsic"], np.zeros((NUM_FRAMES, 1, 4))], 1))
        angles = 2 * np.arctan(np.array([294, 518]) / 2 / focal)
        content["pose_enc"] = np.concatenate([poses, np.tile(angles, (NUM_FRAMES, 1))], 1)[None]
        del content["extrinsic"], content["intrinsic"]

    found = read(write_vggt(tmp_path / "a", truth.w2c, truth.intrinsics, SIZE, change=encode))
    np.testing.assert_allclose(found.w2c, in_unit(truth.w2c), atol=1e-5)
    assert found.intrinsics is not None
    np.testing.assert_allclose(found.intrinsics[0], truth.intrinsics, rtol=1e-5)

    def pad(content: dict[str, Any]) -> None:
        above, below = (518 - 294) // 2, 518 - 294 - (518 - 294) // 2
        content["intrinsic"][:, 1, 2] += above
        content["images"] = np.zeros((NUM_FRAMES, 3, 518, 518), np.float32)
        content["depth"] = np.pad(content["depth"], ((0, 0), (above, below), (0, 0), (0, 0)))
        content["depth_conf"] = np.pad(content["depth_conf"], ((0, 0), (above, below), (0, 0)))

    found = read(write_vggt(tmp_path / "b", truth.w2c, truth.intrinsics, SIZE, steps(SIZE), change=pad))
    assert found.intrinsics is not None
    np.testing.assert_allclose(found.intrinsics[0], truth.intrinsics, rtol=1e-5)
    read_map = found.depth.read(0)
    assert read_map is not None
    assert read_map[0].shape == (294, 518)
    np.testing.assert_allclose(read_map[0][[0, -1], [0, -1]] * UNIT, [2, 7])


@pytest.mark.parametrize("arrays", [False, True])
def test_droid_says_key_frames(arrays: bool, tmp_path: Path) -> None:
    truth = make_truth()
    found = read(write_droid(tmp_path / "a", truth.w2c, truth.intrinsics, SIZE, every=5, arrays=arrays))
    np.testing.assert_array_equal(found.frames, [0, 5, 10, 15])
    np.testing.assert_allclose(found.w2c, in_unit(truth.w2c)[[0, 5, 10, 15]], atol=1e-5)
    assert not found.counted


def test_frame_ids_beside_say_which_frames_poses_are_of(tmp_path: Path) -> None:
    truth = make_truth()
    ids = 3 + 2 * np.arange(NUM_FRAMES)
    for write in (write_megasam, write_vggt):
        path = write(tmp_path / write.__name__, truth.w2c, truth.intrinsics, SIZE, change=lambda content: content.update(frame_ids=ids))
        found = read(path)
        np.testing.assert_array_equal(found.frames, ids)
        assert not found.counted
        assert found.depth.read(3) is not None
        assert found.depth.read(4) is None


def test_odometry(tmp_path: Path) -> None:
    truth = make_truth()
    c2w = np.linalg.inv(in_unit(truth.w2c))
    poses = quaternions(c2w)
    torch.save(poses, tmp_path / "slam_results.pth")
    np.save(tmp_path / "droid.npy", poses)
    np.savetxt(tmp_path / "tum.txt", np.concatenate([np.arange(NUM_FRAMES)[:, None], poses], 1))
    torch.save(torch.from_numpy(truth.w2c), tmp_path / "simple_vo.pt")
    for name in ("slam_results.pth", "droid.npy", "tum.txt"):
        found = read(tmp_path / name)
        np.testing.assert_allclose(found.w2c, in_unit(truth.w2c), atol=1e-9)
        assert (found.unit, found.intrinsics, found.depth.read(0)) == ("free", None, None)
        assert found.counted == (name != "tum.txt")
    found = read(tmp_path / "simple_vo.pt")
    assert found.unit == "none"
    np.testing.assert_allclose(found.w2c, truth.w2c, atol=1e-9)
    np.save(tmp_path / "which.npy", truth.w2c)
    with pytest.raises(UserError, match="nothing says whether they are camera to world: name them 'c2w' or 'w2c'"):
        read(tmp_path / "which.npy")
    np.savetxt(tmp_path / "seconds.txt", np.concatenate([np.arange(NUM_FRAMES)[:, None] / 30, poses], 1))
    with pytest.raises(UserError, match="is a time in seconds; the numbers of the frames are expected"):
        read(tmp_path / "seconds.txt")
    (tmp_path / "words.txt").write_text("some words\n")
    with pytest.raises(UserError, match="separated by spaces"):
        read(tmp_path / "words.txt")


def test_cameras_of_another_tools_result_and_of_stage_1(tmp_path: Path) -> None:
    truth = make_truth()
    found = read(write_tram(tmp_path / "tram", truth))
    assert (found.tool, found.unit) == ("TRAM", "metres")
    np.testing.assert_allclose(found.w2c, truth.w2c, atol=1e-5)
    with pytest.raises(UserError, match="PHALP knows no camera, or one that stands still"):
        read(write_phalp(tmp_path / "phalp", make_truth(still=True)))
    stage1 = tmp_path / "clip" / STAGES[1]
    stage1.mkdir(parents=True)
    np.savez(stage1 / "cameras.npz", c2w=np.linalg.inv(in_unit(truth.w2c)), K=truth.intrinsics, image_size=SIZE)
    for path in (stage1.parent, stage1, stage1 / "cameras.npz"):
        found = read(path)
        assert found.unit == "free"
        np.testing.assert_allclose(found.w2c, in_unit(truth.w2c), atol=1e-9)


def drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.__delitem__(name)


def put(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update({name: change(content[name])})


@pytest.mark.parametrize(
    ("write", "change", "said"),
    [
        (write_vipe, put("data", lambda a: a[:-1]), "'inds' has shape|'data' has shape|with T = "),
        (write_vipe, put("data", lambda a: 2 * a), "the 3x3 part at frame 0 is no rotation"),
        (write_vipe, put("inds", lambda a: a[::-1]), "are expected to increase"),
        (write_megasam, drop("cam_c2w"), "no cameras of ViPE, MegaSaM"),
        (write_megasam, put("cam_c2w", lambda a: a[:, :3]), r"\(T, 4, 4\) is expected|'cam_c2w' has shape"),
        (write_megasam, put("depths", lambda a: a[:, ::2, ::2]), "one grid is expected"),
        (write_megasam, put("intrinsic", lambda a: -a), "are no intrinsics"),
        (write_vggt, put("extrinsic", lambda a: a[:, :, :3]), r"\(S, 3, 4\)"),
        (write_vggt, put("depth", lambda a: a[:, :, :-4]), "'depth' has shape"),
        (write_vggt, put("depth_conf", lambda a: a[:2]), "'depth_conf' has shape"),
        (write_vggt, put("images", lambda a: a[..., :-2]), "to which the clip's 640 x 360 are not brought"),
        (write_droid, put("poses", lambda a: a[:, :6]), "'poses' has shape"),
        (write_droid, put("poses", lambda a: 2 * a), "no unit quaternion"),
        (write_droid, put("disps", lambda a: a[0]), "'disps' has shape"),
        (write_slahmr_cameras, put("intrins", lambda a: a[:2]), "'intrins' has shape"),
        (write_slahmr_cameras, put("width", lambda a: 480), "is of an image of 480 x 360 pixels, and the clip's of 640 x 360"),
    ],
)
def test_a_changed_layout_is_refused_in_one_line(
    write: Callable[..., Path], change: Callable[[dict[str, Any]], None], said: str, tmp_path: Path
) -> None:
    truth = make_truth()
    with pytest.raises(UserError, match=said) as error:
        read(write(tmp_path / "out", truth.w2c, truth.intrinsics, SIZE, change=change))
    assert "\n" not in str(error.value)


def test_vipes_other_files_are_refused_with_what_to_give(tmp_path: Path) -> None:
    truth = make_truth()
    folder = write_vipe(tmp_path / "vipe", truth.w2c, truth.intrinsics, SIZE)
    with pytest.raises(UserError, match="ViPE's intrinsics; give the file of that name in pose/"):
        read(folder / "intrinsics" / "walk.npz")
    assert sorted(files_of_cameras(folder / "pose" / "walk.npz")) == ["intrinsics/walk.npz", "intrinsics/walk_camera.txt", "pose/walk.npz"]
    (folder / "intrinsics" / "walk_camera.txt").write_text("0: PINHOLE\n1: MEI\n")
    with pytest.raises(UserError, match="a camera of kind MEI, PINHOLE; PINHOLE is read"):
        read(folder)
    with pytest.raises(UserError, match="no such file or folder"):
        read(tmp_path / "nothing")
    np.savez(folder / "pose" / "other.npz", data=np.eye(4)[None], inds=[0])
    with pytest.raises(UserError, match=r"several videos, other\.npz, walk\.npz; give one of them"):
        read(folder)


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize("compression", [0, 2, 3])
def test_exr(kind: int, compression: int) -> None:
    values = np.round(np.random.default_rng(0).uniform(1, 9, (37, 21)), 1).astype({1: np.float16, 2: np.float32}[kind])
    values[10:30] = 4  # so that it can be made smaller
    np.testing.assert_array_equal(read_exr(exr(values, compression, kind), "a"), values)


def test_exr_of_an_independent_writer(tmp_path: Path) -> None:
    values = np.linspace(0.5, 9, 40 * 24, dtype=np.float32).reshape(24, 40)
    values.tofile(tmp_path / "raw")
    given = ["-f", "rawvideo", "-pix_fmt", "grayf32le", "-s", "40x24", "-i", str(tmp_path / "raw")]
    for compression in ("none", "zip1", "zip16"):
        made = tmp_path / f"{compression}.exr"
        wanted = ["-frames:v", "1", "-c:v", "exr", "-compression", compression, "-format", "float", "-gamma", "1", str(made)]
        subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *given, *wanted], check=True)
        np.testing.assert_allclose(read_exr(made.read_bytes(), "a"), values, rtol=1e-6)


def test_damaged_exr_is_refused() -> None:
    whole = exr(np.ones((20, 10)))
    for data in (b"", whole[:4], whole[:-3], b"\0" + whole[1:], whole.replace(b"Z\0", b"Z\1", 1), whole[:50] + b"\xff" * 20 + whole[70:]):
        with pytest.raises(UserError, match="cannot be read as an OpenEXR picture of one channel"):
            read_exr(data, "a.exr")
