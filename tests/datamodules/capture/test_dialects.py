"""Motions under the names of tools and data sets are read as poses and motions, in metres and at their rate."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError
from pose_priors.datamodules.arrays import open_arrays
from pose_priors.datamodules.capture.images import in_order
from pose_priors.datamodules.formats import PoseFile, read_poses

NUM = 12


def poses(width: int, seed: int = 0) -> np.ndarray:
    return 0.3 * np.random.default_rng(seed).normal(size=(NUM, width))


def places(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(NUM, 3))


def read(path: Path, content: Any) -> PoseFile:
    if path.suffix == ".pt":
        torch.save(content, path)
    elif path.suffix == ".npz":
        np.savez(path, **content)
    else:
        joblib.dump(content, path)
    return read_poses(path)


def trans(path: Path) -> np.ndarray:
    return open_arrays(path)["trans"].load()


def test_aist(tmp_path: Path) -> None:
    path, pose = tmp_path / "gWA.pkl", poses(72)
    found = read(path, {"smpl_loss": 1.0, "smpl_poses": pose, "smpl_scaling": np.array([93.0]), "smpl_trans": 93.0 * places()})
    assert found.fps == 60
    np.testing.assert_allclose(found.poses[:, :22], pose.reshape(NUM, 24, 3)[:, :22], atol=1e-6)
    np.testing.assert_allclose(trans(path), places(), atol=1e-9)
    with pytest.raises(UserError, match="'smpl_scaling' is 0"):
        read(path, {"smpl_poses": pose, "smpl_trans": places(), "smpl_scaling": 0.0})


def test_gvhmr(tmp_path: Path) -> None:
    path, pose = tmp_path / "hmr4d_results.pt", poses(66)
    part = {"body_pose": pose[:, 3:], "global_orient": pose[:, :3], "transl": places(), "betas": np.zeros((NUM, 10))}
    world = {name: torch.from_numpy(value) for name, value in part.items()}
    found = read(path, {"smpl_params_global": world, "smpl_params_incam": {**world, "transl": torch.zeros(NUM, 3)}})
    assert found.fps == 30
    np.testing.assert_allclose(found.poses[:, :22], pose.reshape(NUM, 22, 3), atol=1e-6)
    np.testing.assert_allclose(trans(path), places(), atol=1e-6)


def test_wham(tmp_path: Path) -> None:
    path = tmp_path / "wham_output.pkl"
    person = {"pose_world": poses(72), "trans_world": places(), "pose": poses(72, 5), "trans": places(6), "frame_ids": np.arange(NUM)}
    found = read(path, {0: person})
    assert found.is_sequence
    np.testing.assert_allclose(found.poses[:, :22], poses(72).reshape(NUM, 24, 3)[:, :22], atol=1e-6)
    np.testing.assert_allclose(trans(path), places())
    # two people, the second from the third frame of the first on, with a gap of a frame in between
    later = np.arange(NUM) + 2
    later[6:] += 1
    both = read(path, {0: person, 4: {**person, "pose_world": poses(72, 3), "frame_ids": later}})
    assert len(both.poses) == 2 * NUM
    arrays = {name: entry.load() for name, entry in open_arrays(path).items()}
    assert arrays["poses"].shape == (2, NUM + 3, 72)
    seen = np.isfinite(arrays["poses"]).all(2)
    np.testing.assert_array_equal(seen, [np.arange(NUM + 3) < NUM, np.isin(np.arange(NUM + 3), later)])
    np.testing.assert_array_equal(arrays["poses"][1][later], poses(72, 3))
    assert (arrays["frame_ids"].tolist(), arrays["person_ids"].tolist()) == ([*range(NUM + 3)], [0, 4])
    np.testing.assert_array_equal(arrays["trans"][seen], np.concatenate([places(), places()]))


def test_comotion(tmp_path: Path) -> None:
    """Its rows are of people in turn, of whom one is away for a frame: as one motion they would jump from one to the other."""
    path = tmp_path / "walk.pt"
    ids, frames = np.array([7, 3, 7, 3, 7, 7, 3]), np.array([5, 5, 6, 6, 7, 8, 8])
    pose, place = poses(72)[:7], places()[:7]
    content = {"id": ids, "frame_idx": frames, "pose": pose, "trans": place, "betas": np.zeros((7, 10))}
    found = read(path, {name: torch.from_numpy(value) for name, value in content.items()})
    assert (found.fps, found.num_nan_rows) == (None, 1)
    arrays = {name: entry.load() for name, entry in open_arrays(path).items()}
    assert sorted(arrays) == ["frame_ids", "person_ids", "poses", "trans"]
    assert (arrays["frame_ids"].tolist(), arrays["person_ids"].tolist()) == ([5, 6, 7, 8], [3, 7])
    for person, number in enumerate((3, 7)):
        rows = ids == number
        np.testing.assert_allclose(arrays["poses"][person, frames[rows] - 5], pose[rows])
        np.testing.assert_allclose(arrays["trans"][person, frames[rows] - 5], place[rows])
    assert np.isnan(arrays["poses"]).any(2).tolist() == [[False, False, True, False], [False] * 4]


@pytest.mark.parametrize("name", ["smpl_thetas", "thetas"])
def test_romp(tmp_path: Path, name: str) -> None:
    path = tmp_path / "romp.npz"
    found = read(path, {"results": np.array({"cam": np.zeros((NUM, 3)), name: poses(72)}, dtype=object)})
    np.testing.assert_allclose(found.poses[:, :22], poses(72).reshape(NUM, 24, 3)[:, :22], atol=1e-6)


def video(ids: bool, people: int = 2) -> dict[str, Any]:
    """ROMP's of a video: nobody on the third image, the second person missing on the fifth, rows in another order on the seventh."""
    images: dict[str, Any] = {}
    for frame in range(NUM):
        rows = [0] if frame == 4 or people == 1 else [1, 0] if frame == 6 else [0, 1]
        thetas = np.stack([poses(72, 2 + row)[frame] for row in rows])
        images[f"{frame:06d}.jpg"] = {"smpl_thetas": thetas} | ({"track_ids": np.array([3, 8])[rows]} if ids else {})
    return images | {"000002.jpg": {}}


def test_romp_of_a_video_that_shows_nobody_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "video_results.npz"
    images = {f"{k:06d}.jpg": {"smpl_thetas": np.zeros((0, 72))} for k in range(4)}
    with pytest.raises(UserError, match=r"video_results\.npz: 4 images, and nobody is seen on any"):
        read(path, {"results": np.array(images, dtype=object)})


def test_romp_of_a_video(tmp_path: Path) -> None:
    path = tmp_path / "video_results.npz"

    def arrays(images: dict[str, Any]) -> dict[str, np.ndarray]:
        np.savez(path, results=np.array(images, dtype=object), sequence_results=np.array({}, dtype=object))
        return {name: entry.load() for name, entry in open_arrays(path).items()}

    both = arrays(video(ids=True))["poses"]
    seen = np.isfinite(both).all(2)
    np.testing.assert_array_equal(seen, [np.arange(NUM) != 2, ~np.isin(np.arange(NUM), [2, 4])])
    for row in (0, 1):
        np.testing.assert_array_equal(both[row][seen[row]], poses(72, 2 + row)[seen[row]])
    assert read_poses(path).poses.shape == (2 * NUM - 3, 55, 3)
    assert read_poses(path).is_sequence
    # without ids, people cannot be told apart, but for one alone
    assert arrays(video(ids=False))["pose"].shape == (2 * NUM - 3, 72)
    for ids in (False, True):
        alone = arrays(video(ids, people=1))["poses"]
        np.testing.assert_array_equal(np.delete(alone, 2, 0), np.delete(poses(72, 2), 2, 0))
        assert np.isnan(alone[2]).all()
    with pytest.raises(UserError, match=r"video_results\.npz: '000001\.jpg': 'track_ids' has shape") as error:
        arrays(video(ids=True) | {"000001.jpg": {"smpl_thetas": np.zeros((2, 72)), "track_ids": np.zeros(3)}})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "nobody", [{}, None, np.array([]), [], {"smpl_thetas": []}, {"smpl_thetas": np.zeros((0, 72)), "cam": np.zeros((0, 3))}]
)
def test_romps_images_are_the_frames_of_their_numbers_wherever_they_stand(nobody: Any, tmp_path: Path) -> None:
    """An image that shows nobody, and one that is not there at all, are frames without a pose."""
    images = video(ids=True) | {"000002.jpg": nobody}
    del images["000008.jpg"]
    order = np.random.default_rng(3).permutation(list(images))
    path = tmp_path / "video_results.npz"
    np.savez(path, results=np.array({name: images[name] for name in order}, dtype=object))
    both = open_arrays(path)["poses"].load()
    people = dict(zip(np.isfinite(both[:, 4]).all(1).tolist(), both, strict=True))  # the first person alone is seen there
    for row, found in ((0, people[True]), (1, people[False])):
        lost = [2, 8] if row == 0 else [2, 4, 8]
        np.testing.assert_array_equal(np.delete(found, lost, 0), np.delete(poses(72, 2 + row), lost, 0))
        assert np.isnan(found[lost]).all()
    assert [frame for frame, _, _ in in_order({"b_7": 0, "a_7": 0})] == [0, 1]
    assert [(frame, name) for frame, name, _ in in_order({10: 0, "a2.png": 0})] == [(2, "a2.png"), (10, "10")]


def test_phc_and_robots(tmp_path: Path) -> None:
    path = tmp_path / "clips.pkl"
    clip = {"pose_aa": poses(72).reshape(NUM, 24, 3), "trans_orig": places(), "fps": 30, "beta": np.zeros(16)}
    found = read(path, {"0-walk": clip})
    assert found.fps == 30
    np.testing.assert_allclose(trans(path), places())
    np.testing.assert_allclose(found.poses[:, :22], clip["pose_aa"][:, :22], atol=1e-6)
    robot = {"pose_aa": np.zeros((NUM, 27, 3)), "dof": np.zeros((NUM, 23)), "root_rot": np.zeros((NUM, 4)), "fps": 30}
    with pytest.raises(UserError, match=r"'pose_aa' of shape \(12, 27, 3\): joints of a robot") as error:
        read(path, {"kick": robot})
    assert "\n" not in str(error.value)


def test_omomo(tmp_path: Path) -> None:
    """A pelvis that stands upright in SMPL's axes, and a knee that bends: about y of the humanoid, about x of SMPL-X."""
    rows = np.zeros((NUM, 591))
    rows[:, :3] = places()
    # the humanoid's axes are the world's when it stands and looks along x
    rows[:, 3:7] = [0, 0, 0, 1]
    left_knee = 2  # the second body of the humanoid
    rows[:, 9 + 3 * (left_knee - 1) + 1] = 0.7
    found = read(tmp_path / "sub1.pt", torch.from_numpy(rows))
    assert found.fps == 30
    np.testing.assert_allclose(found.poses[:, 4], np.tile([0.7, 0, 0], (NUM, 1)), atol=1e-6)
    assert np.abs(found.poses[:, [*range(1, 4), *range(5, 55)]]).max() < 1e-6
    upright = Rotation.from_rotvec(found.poses[0, 0])
    np.testing.assert_allclose(upright.apply([[0, 1, 0], [0, 0, 1], [1, 0, 0]]), [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-6)


@pytest.mark.parametrize(("bodies", "knee"), [(24, 2), (52, 2)])
def test_protomotions(bodies: int, knee: int, tmp_path: Path) -> None:
    """The humanoid of `test_omomo`, of SMPL's 24 bodies or SMPL-X's 52, whose right wrist is the last but one, or the 36th."""
    dof = np.zeros((NUM, 3 * (bodies - 1)))
    dof[:, 3 * (knee - 1) + 1] = 0.7
    wrist = 22 if bodies == 24 else 36
    dof[:, 3 * (wrist - 1) + 2] = 0.4
    turns = np.tile([0.0, 0, 0, 1], (NUM, bodies, 1))
    content = {"fps": 30, "dof_pos": dof, "rigid_body_pos": np.tile(places()[:, None], (1, bodies, 1)), "rigid_body_rot": turns}
    path = tmp_path / "walk.motion"
    torch.save({name: torch.as_tensor(value) for name, value in content.items()}, path)
    found = read_poses(path)
    assert found.fps == 30
    np.testing.assert_allclose(found.poses[:, 4], np.tile([0.7, 0, 0], (NUM, 1)), atol=1e-6)
    np.testing.assert_allclose(found.poses[:, 21], np.tile([0, 0.4, 0], (NUM, 1)), atol=1e-6)
    np.testing.assert_allclose(trans(path), places(), atol=1e-6)
    torch.save(content | {"dof_pos": dof[:, :29]}, path)
    with pytest.raises(UserError, match="joints of a robot or of no body that is known"):
        open_arrays(path)


def test_other_nested_files_stay_unknown(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"a": {"b": 1}}))
    with pytest.raises(UserError, match="unknown layout, it holds a dict"):
        read_poses(path)


@pytest.mark.parametrize("numbers", [[139, 5000, 581929], [1700000000000 + 33 * k for k in range(20)]])
def test_romps_images_of_numbers_that_are_no_frames_follow_each_other(numbers: list[int], tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in numbers]
    images = {name: {"smpl_thetas": np.full((1, 72), 0.01 * k)} for k, name in enumerate(names)}
    path = tmp_path / "video_results.npz"
    np.savez(path, results=np.array(dict(reversed(images.items())), dtype=object))
    found = open_arrays(path)["poses"].load()
    np.testing.assert_allclose(found[:, 0], 0.01 * np.arange(len(names)))


def test_romps_images_of_every_third_frame_stay_on_theirs(tmp_path: Path) -> None:
    path = tmp_path / "video_results.npz"
    images = {f"{3 * k}.jpg": {"smpl_thetas": np.full((1, 72), 0.01)} for k in range(5)}
    np.savez(path, results=np.array(images, dtype=object))
    found = open_arrays(path)["poses"].load()
    assert np.flatnonzero(np.isfinite(found[:, 0])).tolist() == [0, 3, 6, 9, 12]
