from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from pose_priors.body.hands import RIGHT_HAND_MEAN, mean_hands
from pose_priors.body.rotations import mirror_pose
from pose_priors.body.skeleton import JOINT_NAMES, PARTS, index_of
from pose_priors.configs.base import UserError
from pose_priors.datamodules.formats import read_poses

Rows = Callable[..., np.ndarray]
N = 7
LEFT, RIGHT, BODY = PARTS["left_hand"], PARTS["right_hand"], PARTS["body"]


def joints(poses: np.ndarray, indices: tuple[int, ...]) -> np.ndarray:
    return poses[:, list(indices)].reshape(len(poses), -1)


# what each number of a flat row means, spelled out by part and independent of the tables under test
ORDER = {
    45: ["right_hand"],
    63: ["body"],
    66: ["root", "body"],
    69: ["body", 6],
    72: ["root", "body", 6],
    90: ["left_hand", "right_hand"],
    156: ["root", "body", "left_hand", "right_hand"],
    159: ["root", "body", "jaw", "left_hand", "right_hand"],
    165: ["root", "body", "jaw", "eyes", "left_hand", "right_hand"],
}


def expected(rows: np.ndarray, order: list[str | int]) -> np.ndarray:
    poses, column = np.zeros((len(rows), 55, 3)), 0
    for part in order:
        if isinstance(part, int):
            column += part
            continue
        for joint in PARTS[part]:
            poses[:, joint] = rows[:, column : column + 3]
            column += 3
    assert column <= rows.shape[1]
    return poses.astype(np.float32)


@pytest.mark.parametrize("length", ORDER)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".pkl"])
@pytest.mark.parametrize("flat", [True, False])
def test_single_arrays(tmp_path: Path, random_rows: Rows, length: int, suffix: str, flat: bool) -> None:
    rows = random_rows(N, length)
    array = rows if flat else rows.reshape(N, -1, 3)
    path = tmp_path / f"poses{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    elif suffix == ".npz":
        np.savez(path, arr_0=array)
    elif suffix == ".pt":
        torch.save(torch.tensor(array, requires_grad=True), path)
    else:
        path.write_bytes(pickle.dumps(array))
    file = read_poses(path)
    np.testing.assert_array_equal(file.poses, expected(rows, ORDER[length]))
    assert file.poses.dtype == np.float32
    assert (file.fps, file.is_sequence, file.num_nan_rows, file.num_invalid_rows) == (None, False, 0, 0)


@pytest.mark.parametrize("length", [72, 156, 165])
@pytest.mark.parametrize("named", [True, False])
def test_people_come_one_after_the_other(tmp_path: Path, random_rows: Rows, length: int, named: bool) -> None:
    """And a row of one of them that nobody saw is dropped, and counted."""
    rows = random_rows(3 * N, length)
    people = rows.reshape(3, N, length).copy()
    people[1, 2] = np.nan
    np.savez(tmp_path / "people.npz", **({"poses": people, "trans": np.zeros((3, N, 3))} if named else {"arr_0": people}))
    file = read_poses(tmp_path / "people.npz")
    np.testing.assert_array_equal(file.poses, expected(np.delete(rows, N + 2, 0), ORDER[length]))
    assert file.num_nan_rows == 1


@pytest.mark.parametrize(("length", "rate_key"), [(156, "mocap_framerate"), (165, "mocap_frame_rate"), (72, "fps")])
def test_amass_poses_with_either_spelling_of_the_frame_rate(tmp_path: Path, random_rows: Rows, length: int, rate_key: str) -> None:
    rows = random_rows(N, length)
    markers = np.zeros((N, 53, 3))  # looks like poses, but is not
    np.savez(tmp_path / "walk_poses.npz", markers=markers, poses=rows, trans=np.zeros((N, 3)), gender="male", **{rate_key: np.array(120)})
    file = read_poses(tmp_path / "walk_poses.npz")
    np.testing.assert_array_equal(file.poses, expected(rows, ORDER[length]))
    assert (file.fps, file.is_sequence) == (120.0, True)


def test_amass_smplx_fields_without_poses(tmp_path: Path, random_rows: Rows) -> None:
    parts = {"root_orient": 3, "pose_body": 63, "pose_jaw": 3, "pose_eye": 6, "pose_hand": 90}
    fields = {name: random_rows(N, length, seed) for seed, (name, length) in enumerate(parts.items())}
    np.savez(tmp_path / "a_stageii.npz", **fields)
    file = read_poses(tmp_path / "a_stageii.npz")
    np.testing.assert_array_equal(file.poses, expected(np.concatenate(list(fields.values()), 1), ORDER[165]))
    assert file.is_sequence


@pytest.mark.parametrize(
    "names",
    [
        ("global_orient", "body_pose", "jaw_pose", "lhand_pose", "rhand_pose"),
        ("global_orient", "body_pose", "jaw_pose", "left_hand_pose", "right_hand_pose"),
        ("smplx_root_pose", "smplx_body_pose", "smplx_jaw_pose", "smplx_lhand_pose", "smplx_rhand_pose"),
    ],
)
def test_53_joint_files(tmp_path: Path, random_rows: Rows, names: tuple[str, ...]) -> None:
    fields = {name: random_rows(N, length, seed) for seed, (name, length) in enumerate(zip(names, (3, 63, 3, 45, 45), strict=True))}
    np.savez(tmp_path / "file.npz", **fields, betas=np.zeros((N, 10)))
    file = read_poses(tmp_path / "file.npz")
    np.testing.assert_array_equal(file.poses, expected(np.concatenate(list(fields.values()), 1), ORDER[159]))
    assert (file.poses[:, list(PARTS["eyes"])] == 0).all()


def test_smpl_body_pose_with_root_drops_the_hand_stubs(tmp_path: Path, random_rows: Rows) -> None:
    root, body = random_rows(N, 3), random_rows(N, 69)
    np.savez(tmp_path / "file.npz", global_orient=root, body_pose=body)
    np.testing.assert_array_equal(read_poses(tmp_path / "file.npz").poses, expected(np.concatenate([root, body], 1), ORDER[72]))


def test_sign_language_rows_with_an_untracked_hand_are_dropped_and_counted(tmp_path: Path, random_rows: Rows) -> None:
    rows = random_rows(N, 182)
    rows[4, 10] = np.nan
    left, right = np.ones(N, bool), np.ones(N, bool)
    left[1], right[2], right[4] = False, False, False
    torch.save({"smplx": rows, "left_valid": torch.tensor(left), "right_valid": torch.tensor(right)}, tmp_path / "word.pkl")
    file = read_poses(tmp_path / "word.pkl")
    np.testing.assert_array_equal(file.poses, expected(rows, ["root", "body", "left_hand", "right_hand", "jaw"])[[0, 3, 5, 6]])
    assert (file.num_nan_rows, file.num_invalid_rows, file.is_sequence) == (1, 2, True)


def test_rows_that_are_not_finite_are_dropped_and_counted(tmp_path: Path, random_rows: Rows) -> None:
    rows = random_rows(N, 63)
    rows[2, 5], rows[4, 0] = np.nan, np.inf
    np.save(tmp_path / "a.npy", rows)
    file = read_poses(tmp_path / "a.npy")
    assert file.num_nan_rows == 2
    np.testing.assert_array_equal(file.poses, expected(rows[[0, 1, 3, 5, 6]], ["body"]))


def test_long_rotation_vectors_come_out_canonical_and_mean_the_same(tmp_path: Path) -> None:
    angles = np.array([0.0, 1e-9, 3.0, np.pi, np.pi + 1e-7, 4.0, 6.0, 2 * np.pi, 7.0, 15.4])
    axes = np.random.default_rng(0).normal(size=(len(angles), 21, 3))
    rows = axes / np.linalg.norm(axes, axis=-1, keepdims=True) * angles[:, None, None]
    np.save(tmp_path / "a.npy", rows)
    poses = torch.from_numpy(read_poses(tmp_path / "a.npy").poses[:, list(BODY)])
    assert poses.norm(dim=-1).max() <= np.float32(np.pi)
    apart = roma.rotmat_geodesic_distance(roma.rotvec_to_rotmat(poses.double()), roma.rotvec_to_rotmat(torch.from_numpy(rows)))
    assert apart.max() < 2e-6


def test_relative_hands_get_the_mean_and_absent_hands_do_not(tmp_path: Path, random_rows: Rows) -> None:
    rows = random_rows(N, 45)
    np.save(tmp_path / "right.npy", rows)
    poses = read_poses(tmp_path / "right.npy", hand_convention="relative_to_mean").poses
    np.testing.assert_allclose(joints(poses, RIGHT), rows + np.array(RIGHT_HAND_MEAN), atol=1e-6)
    assert not joints(poses, LEFT).any()
    np.save(tmp_path / "whole.npy", np.zeros((N, 165)))
    poses = read_poses(tmp_path / "whole.npy", hand_convention="relative_to_mean").poses
    # a hand at the mean is its own mirror image on the other side
    np.testing.assert_allclose(mirror_pose(torch.from_numpy(poses)).numpy(), poses, atol=0)
    np.testing.assert_allclose(poses[0, index_of("right_thumb1")], [0.85096430, -0.27692273, 0.09154807], atol=1e-6)


def test_the_mean_hand_curls_its_fingers_about_z() -> None:
    left, right = mean_hands().split(15)
    assert right[:12:3].shape == (4, 3)  # first joints of the fingers other than the thumb
    # flexion is a positive rotation about z on the right, a negative one on the left; the pinky curls the most
    assert (right[[1, 4, 10], 2] > 0.18).all()
    assert (left[[1, 4, 10], 2] < -0.18).all()
    assert JOINT_NAMES[RIGHT[6]] == "right_pinky1"
    assert right.norm(dim=-1).argmax() in (6, 12)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"mu": np.zeros(63), "sigma": np.zeros((63, 63))}, r"unknown layout, it holds mu \(63,\), sigma \(63, 63\)"),
        ({"root_orient": np.zeros((5, 3))}, r"unknown layout, it holds root_orient \(5, 3\)"),
        ({"array": np.zeros((5, 591))}, r"\(5, 591\)"),
        ({"body_pose": np.zeros((5, 21, 3, 3))}, r"body_pose is \(5, 21, 3, 3\), not \(N, 63\) or \(N, 69\)"),
        ({"body_pose": np.zeros((5, 63)), "left_hand_pose": np.zeros((5, 6))}, "use_pca=False"),
        ({"body_pose": np.zeros((5, 63)), "jaw_pose": np.zeros((4, 3))}, r"arrays of 5 rows beside .*jaw_pose.*\(4, 3\)"),
        ({"poses": np.array(["a"] * 5)}, "poses"),
    ],
)
def test_unknown_layouts_are_refused_with_keys_and_shapes(tmp_path: Path, content: dict, said: str) -> None:
    np.savez(tmp_path / "odd.npz", **content)
    with pytest.raises(UserError, match=said) as error:
        read_poses(tmp_path / "odd.npz")
    assert "odd.npz" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.pt", "a.pkl", "a.bvh"])
def test_files_that_are_something_else_are_one_clear_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"HIERARCHY\nROOT hips")
    with pytest.raises(UserError, match=name) as error:
        read_poses(tmp_path / name)
    assert "\n" not in str(error.value)


def test_an_archive_with_damaged_values_is_named(tmp_path: Path) -> None:
    path = tmp_path / "walk_poses.npz"
    np.savez(path, poses=np.random.default_rng(0).normal(size=(40, 156)), mocap_framerate=120.0)
    content = bytearray(path.read_bytes())
    content[2000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match="'poses' cannot be read"):
        read_poses(path, hand_convention="absolute")
