"""The built-in sequence: true where it is the truth, wrong by what it says where it is the input, and loaded without a complaint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kills import CHANGES, kills

from pose_priors.body.builtin import BALL_HEIGHT, STATURE
from pose_priors.body.pinhole import project, to_camera
from pose_priors.configs.base import UserError
from pose_priors.datamodules.stage_folders import STAGES
from pose_priors.datamodules.synthetic.scenes.builtin import builtin_scene, write_builtin_scene, write_sequence
from pose_priors.datamodules.synthetic.scenes.degradation import degraded, posed, rendered
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.planes import ransac_plane

FEET = [10, 11]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_builtin_scene(tmp_path_factory.mktemp("results") / "built_in", 0)


def heights(truth: dict[str, np.ndarray]) -> np.ndarray:
    return truth["joints"] @ truth["ground_plane"][:3] + truth["ground_plane"][3]


@pytest.mark.parametrize("seed", range(4))
def test_people_stand_on_the_floor_before_the_camera(seed: int) -> None:
    scene = builtin_scene(seed)
    joints = scene.joints()
    above = joints @ scene.planes[0][:3] + scene.planes[0][3]
    assert above.min() > 0.5 * BALL_HEIGHT * STATURE
    assert (above[:, :, FEET].min(2) < 0.02).mean() > 0.95
    assert (above[:, :, 15] > 1.4).all()  # heads up
    pixels = project(to_camera(joints, scene.w2c), scene.intrinsics)
    assert ((pixels > 0) & (pixels < scene.image_size)).all()
    assert np.linalg.norm(joints[0, :, 0] - joints[1, :, 0], axis=-1).min() > 0.6
    # they pass each other, and the second is hidden while they do
    side = (joints[0, :, 0] - joints[1, :, 0])[:, 0]
    assert side[0] < -1 < 1 < side[-1]
    assert np.abs(side[~scene.seen[1]]).min() < 0.5
    assert scene.seen[0].all()
    hidden = np.flatnonzero(~scene.seen[1])
    assert len(hidden) == hidden[-1] - hidden[0] + 1 == 12
    np.testing.assert_allclose(scene.w2c[0], np.eye(4), atol=1e-12)
    assert np.linalg.norm(np.diff(np.linalg.inv(scene.w2c)[:, :3, 3], axis=0), axis=1).sum() > 1


def test_the_truth_is_in_the_layout_that_is_scored(written: tuple[Path, Path]) -> None:
    with np.load(written[1]) as arrays:
        truth = dict(arrays)
    assert truth["joints"].shape == (2, 84, 24, 3)
    assert truth["visible"].shape == (2, 84)
    scene = builtin_scene(0)
    pose = np.concatenate([truth["global_orient"][:, :, None], truth["body_pose"]], 2)
    np.testing.assert_allclose(posed(pose, truth["pelvis"], scene.rest, scene.parents), truth["joints"], atol=1e-12)
    assert np.linalg.norm(truth["ground_plane"][:3]) == pytest.approx(1)
    assert heights(truth).min() > 0


def test_the_input_loads_without_a_warning_and_its_start_is_near(written: tuple[Path, Path]) -> None:
    folder, truth_path = written
    problem = load_problem(*(folder / name for name in STAGES.values()))
    assert problem.warnings == ()
    assert problem.fps == 30
    with np.load(truth_path) as truth:
        assert problem.start.alpha0 == pytest.approx(float(truth["alpha"]), rel=0.03)
        np.testing.assert_array_equal(problem.visible.numpy(), truth["visible"])
        np.testing.assert_allclose(problem.start.ground_plane.numpy()[:3], truth["ground_plane"][:3], atol=0.03)
        assert np.linalg.norm(problem.start.pelvis.numpy() - truth["pelvis"], axis=-1).mean() < 0.4


def test_what_is_seen_is_wrong_by_as_much_as_it_should_be() -> None:
    scene = builtin_scene(1)
    stages = degraded(scene, 1)
    pixels = project(to_camera(scene.joints(), scene.w2c), scene.intrinsics)
    usual = stages.keypoints[..., 2] == 0.9
    assert (stages.keypoints[..., :2] - pixels)[usual].std() == pytest.approx(3, rel=0.05)
    assert 0 < (~usual).mean() < 0.01
    there = to_camera(scene.joints(), scene.w2c)
    off = stages.camera.joints - there
    assert 0.01 < np.linalg.norm(off - off[:, :, :1], axis=-1).mean() < 0.12
    ratio = stages.camera.joints[:, :, 0, 2] / there[:, :, 0, 2]
    assert 0.005 < ratio.std() < 0.05
    # depth and the camera's translation share the unit; the noise of a depth map is on top
    floor = stages.who == -1
    np.testing.assert_allclose(np.median((stages.depth * scene.alpha)[floor]), np.median(rendered(scene)[0][floor]), rtol=0.01)
    drift = stages.w2c[:, :3, 3] * scene.alpha - scene.w2c[:, :3, 3]
    assert 0 < np.abs(drift).max() < 0.05
    np.testing.assert_allclose(stages.w2c[0], np.eye(4), atol=1e-12)


def test_depth_maps_show_the_floor(written: tuple[Path, Path]) -> None:
    """The floor that RANSAC finds in the points below the horizon of one depth map is the true one."""
    scene = builtin_scene(0)
    depth = np.load(written[0] / STAGES[1] / "depth_maps" / "depth_000000.npy") * scene.alpha
    rows, columns = np.mgrid[60:90:2, 0:160:4]
    rays = np.stack([(columns + 0.5) * 8, (rows + 0.5) * 8, np.ones_like(rows)], -1) @ np.linalg.inv(scene.intrinsics).T
    points = (rays * depth[60:90:2, 0:160:4, None]).reshape(-1, 3)
    plane = ransac_plane(points, scene.planes[0][:3], 0.06, 0)
    assert plane is not None
    np.testing.assert_allclose(plane[:3], scene.planes[0][:3], atol=0.02)
    assert plane[3] == pytest.approx(scene.planes[0][3], abs=0.05)


def test_a_seed_says_everything(tmp_path: Path, written: tuple[Path, Path]) -> None:
    again, _ = write_builtin_scene(tmp_path / "again", 0)
    (again / "5_refinement").mkdir()
    files = {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}
    first = {path.relative_to(written[0]): path.read_bytes() for path in written[0].rglob("*") if path.is_file()}
    assert files == first
    write_builtin_scene(again, 1)
    assert (again / "5_refinement").is_dir()
    assert sorted(path.name for path in again.iterdir()) == [*STAGES.values(), "5_refinement"]
    name = Path(STAGES[1]) / "cameras.npz"
    assert (again / name).read_bytes() != first[name]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_builtin_scene(tmp_path / "file" / "built_in", 0)


def test_hands_are_added_and_change_nothing_else(tmp_path: Path, written: tuple[Path, Path]) -> None:
    folder, truth = write_builtin_scene(tmp_path / "hands", 0, hands=True)
    with np.load(truth) as known, np.load(written[1]) as usual:
        hands = known["hand_pose"]
        assert set(known.files) == {*usual.files, "hand_pose"}
    assert hands.shape == (2, 84, 30, 3)
    assert np.abs(np.diff(hands, axis=1)).max() < 0.15  # radians a frame
    for stage, kind in ((3, "camera"), (4, "world")):
        name = Path(STAGES[stage]) / "person_001" / f"smpl_params_{kind}.npz"
        with np.load(folder / name) as with_hands, np.load(written[0] / name) as without:
            assert all(np.array_equal(with_hands[key], without[key]) for key in without.files)
            found = np.concatenate([with_hands["left_hand_pose"], with_hands["right_hand_pose"]], 1)
            seen = slice(None)
            assert 0.1 < np.abs(found - hands[0, seen]).mean() < 0.3
    joints, usual_joints = (np.load(path / STAGES[3] / "person_001" / "joints_camera.npy") for path in (folder, written[0]))
    assert joints.shape == (84, 55, 3)
    np.testing.assert_allclose(joints[:, :22], usual_joints[:, :22], atol=1e-9)
    np.testing.assert_allclose(joints[:, [28, 43]], usual_joints[:, 22:], atol=1e-9)
    for stage in (1, 2):
        for path in (written[0] / STAGES[stage]).rglob("*.npy"):
            assert path.read_bytes() == (folder / path.relative_to(written[0])).read_bytes()


def test_a_killed_writer_leaves_one_sequence_whole(tmp_path: Path) -> None:
    folder, truth = tmp_path / "clip", tmp_path / "clip_gt.npz"

    def write(seed: int) -> None:
        write_sequence(folder, few_files[seed], {"alpha": seed})

    def read() -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    few_files = [replace(degraded(builtin_scene(seed), seed), depth=None, who=None) for seed in range(2)]
    write(1)
    new, new_truth = read(), truth.read_bytes()
    write(0)
    old, old_truth = read(), truth.read_bytes()
    assert new.keys() == old.keys()
    assert new_truth != old_truth
    (folder / "5_refinement").mkdir()
    (folder / "5_refinement" / "kept.txt").write_text("kept")
    seen = set()
    for _ in kills(lambda: write(1), 100, CHANGES):
        found = read()
        assert found.pop("5_refinement/kept.txt") == b"kept"
        assert found in (old, new)
        about = truth.read_bytes() if truth.exists() else None
        assert about in (None, old_truth if found == old else new_truth)
        seen.add((found == old, about is None))
        write(0)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["clip", "clip_gt.npz"]
    assert {(True, False), (False, False)} <= seen
