"""Families of scenes with errors: each has its own fault, by as much as it says, and is like the reference in all else."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose_priors.body.pinhole import project, to_camera, to_world
from pose_priors.datamodules.stage_folders import Stages
from pose_priors.datamodules.synthetic.scenes.degradation import TrueScene
from pose_priors.datamodules.synthetic.scenes.stress.families import FAMILIES, ORDINARY
from pose_priors.datamodules.synthetic.scenes.stress.faults import followed, found
from pose_priors.datamodules.synthetic.scenes.stress.filming import filmed
from pose_priors.datamodules.synthetic.scenes.stress.keypoints import LEG_PAIRS
from pose_priors.datamodules.synthetic.scenes.stress.writing import write_family
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.result.truth import read_truth

STAGES = ("1_camera_estimation", "2_tracking", "3_pose_estimation")


@lru_cache
def true(family: str) -> TrueScene:
    return filmed(FAMILIES[family], 3)


@lru_cache
def seen(family: str) -> Stages:
    return found(FAMILIES[family], true(family), 3)


def heights(scene: TrueScene) -> np.ndarray:
    """(P, T, 24) metres above the floor."""
    return scene.joints() @ scene.planes[0][:3] + scene.planes[0][3]


def ratio_of_depth(family: str, person: int) -> float:
    """What the maps show of a person against what the reference's show, whose people and noise are the same."""
    where = seen("reference").who == person
    there, usual = seen(family).depth, seen("reference").depth
    assert there is not None
    assert usual is not None
    return float(np.median(there[where] / usual[where]))


@pytest.mark.parametrize("family", FAMILIES)
def test_people_are_people_in_view_on_a_floor(family: str) -> None:
    scene, recipe = true(family), FAMILIES[family]
    above, joints = heights(scene), scene.joints()
    rise = np.array([actor.on_m for actor in recipe.people])[:, None]
    lowest = above.min(2) - rise
    assert lowest.min() > -0.001
    if not any(actor.slope for actor in recipe.people):
        assert (lowest.min(1) < 0.06).all()
    if family != "cartwheel":
        assert np.linalg.norm(np.diff(joints, axis=1), axis=-1).max() * scene.fps < 7
    camera = to_camera(joints, scene.w2c)
    assert camera[..., 2].min() > 1
    pixels = project(camera, scene.intrinsics)
    upper = slice(12, 22) if family == "half_in_view" else slice(0, 22)
    assert ((pixels > 0) & (pixels < scene.image_size)).all(-1)[:, :, upper].mean() > 0.9
    assert len(scene.w2c) == round(recipe.fps * recipe.seconds)


def test_what_stands_on_a_stage_or_goes_up_a_slope_does_so() -> None:
    stage = heights(true("platform"))[..., [10, 11]].min(2) - heights(true("reference"))[..., [10, 11]].min(2)
    np.testing.assert_allclose(stage[1], 0.5, atol=1e-9)
    np.testing.assert_allclose(stage[0], 0, atol=1e-9)
    up = heights(true("slope_15"))[..., 0] - heights(true("reference"))[..., 0]
    way = np.linalg.norm(true("reference").pelvis[:, -1] - true("reference").pelvis[:, 0], axis=-1)
    np.testing.assert_allclose(up[:, -1], 0.15 * way, rtol=0.05)


@pytest.mark.parametrize(("family", "head"), [("lying_alone", (0.0, 0.3)), ("handstand", (0.2, 0.6)), ("plank", (0.3, 0.8))])
def test_who_lies_or_stands_on_hands_does(family: str, head: tuple[float, float]) -> None:
    above = heights(true(family))
    assert head[0] < above[0, :, 15].min() <= above[0, :, 15].max() < head[1]
    if family == "handstand":
        assert above[0, :, [7, 8]].min() > 1.2
        assert above[0, :, [20, 21]].max() < 0.2


def test_a_cartwheel_goes_once_round() -> None:
    scene = true("cartwheel")
    up = heights(scene)[0, :, 15] - heights(scene)[0, :, 0]
    assert up[0] > 0.3 < up[-1]
    assert up.min() < -0.3


@pytest.mark.parametrize(("family", "by"), [("depth_3", (1.03, 0.97)), ("depth_8", (1.08, 0.92)), ("depth_8_same", (1.08, 1.08))])
def test_depths_of_people_are_off_and_nothing_else(family: str, by: tuple[float, float]) -> None:
    assert [ratio_of_depth(family, p) for p in (0, 1)] == pytest.approx(by, abs=1e-6)
    assert ratio_of_depth(family, -1) == pytest.approx(1)
    for name in ("w2c", "keypoints", "body_pose"):
        np.testing.assert_array_equal(getattr(seen(family), name), getattr(seen("reference"), name))


def test_the_unit_drifts_in_depth_and_in_the_camera_s_path() -> None:
    depth, usual = seen("rolling_30").depth, seen("reference").depth
    assert depth is not None
    assert usual is not None
    ratio = np.median(depth / usual, axis=(1, 2))
    np.testing.assert_allclose(ratio, 1 - 0.3 * np.linspace(0, 1, len(ratio)), rtol=1e-6)
    steps = [
        np.linalg.norm(np.diff(np.linalg.inv(stages.w2c)[:, :3, 3], axis=0), axis=1) for stages in (seen("rolling_30"), seen("reference"))
    ]
    assert np.median(steps[0][-10:] / steps[1][-10:]) == pytest.approx(0.73, abs=0.08)


def test_sizes_of_stage_3_are_wrong_by_what_is_said_and_bodies_stay_on_their_rays() -> None:
    def bone(stages: Stages, p: int) -> float:
        return float(np.linalg.norm(stages.camera.joints[p, :, 4] - stages.camera.joints[p, :, 1], axis=-1).mean())

    assert bone(seen("size_10"), 0) / bone(seen("reference"), 0) == pytest.approx(1.1)
    assert bone(seen("size_10"), 1) / bone(seen("reference"), 1) == pytest.approx(1)
    pelvis = [stages.camera.joints[0, :, 0] for stages in (seen("size_10"), seen("reference"))]
    np.testing.assert_allclose(pelvis[0][:, 2] / pelvis[1][:, 2], 1.1, rtol=1e-6)
    tall = np.linalg.norm(true("child_as_adult").rest[1, 4]) / np.linalg.norm(true("reference").rest[1, 4])
    assert 0.6 < tall < 0.72


def test_a_focal_length_is_too_long_and_stage_3_too_far() -> None:
    assert seen("focal_20").intrinsics[0, 0] / true("reference").intrinsics[0, 0] == pytest.approx(1.2)
    away = seen("focal_20").camera.joints[..., 0, 2] / seen("reference").camera.joints[..., 0, 2]
    np.testing.assert_allclose(away, 1.2, rtol=1e-9)


def test_keypoints_that_are_projected_bodies_are_those_and_others_are_not() -> None:
    stages = seen("keypoints_of_stage3")
    np.testing.assert_allclose(stages.keypoints[..., :2], project(stages.camera.joints, stages.intrinsics), atol=1e-9)
    scene = true("reference")
    off = seen("reference").keypoints[..., :2] - project(to_camera(scene.joints(), scene.w2c), scene.intrinsics)
    assert off.std() == pytest.approx(3.0, rel=0.05)
    assert not seen("no_keypoints").keypoints[..., 2].any()


@pytest.mark.parametrize(("family", "correlation", "spread"), [("keypoints_correlated", 0.85, 8), ("keypoints_heavy", 0.02, 20)])
def test_keypoints_err_slowly_or_with_heavy_tails(family: str, correlation: float, spread: float) -> None:
    scene = true(family)
    off = seen(family).keypoints[..., :2] - project(to_camera(scene.joints(), scene.w2c), scene.intrinsics)
    assert (off[:, 1:] * off[:, :-1]).mean() / (off**2).mean() > correlation
    assert np.abs(off).max() > 2.5 * spread
    if family == "keypoints_heavy":
        assert np.abs(off).max() / np.median(np.abs(off)) > 20


def test_legs_are_exchanged_when_they_should_be() -> None:
    both, keypoints, usual = seen("legs_swapped_both"), seen("legs_swapped"), seen("reference")
    at, not_at = 15, 30  # half a second, and a second, of the first person
    scene = true("reference")
    pixels = project(to_camera(scene.joints(), scene.w2c), scene.intrinsics)
    off = usual.keypoints[..., :2] - pixels
    np.testing.assert_allclose(keypoints.keypoints[0, at, :, :2], (pixels + off)[0, at][LEG_PAIRS], atol=1e-9)
    np.testing.assert_allclose(keypoints.keypoints[0, not_at], usual.keypoints[0, not_at], atol=1e-9)
    np.testing.assert_array_equal(keypoints.body_pose, usual.body_pose)
    np.testing.assert_allclose(both.body_pose[0, at, [0, 1]], usual.body_pose[0, at, [1, 0]], atol=1e-9)
    np.testing.assert_allclose(both.body_pose[0, not_at], usual.body_pose[0, not_at], atol=1e-9)


def test_cameras_wander_or_bend_or_turn_alone_or_stand() -> None:
    def off(family: str) -> np.ndarray:
        """(T,) degrees by which stage 1's cameras are turned wrongly."""
        turns = Rotation.from_matrix(seen(family).w2c[:, :3, :3]) * Rotation.from_matrix(true(family).w2c[:, :3, :3]).inv()
        return np.degrees(turns.magnitude())

    assert off("reference").max() < 0.6
    assert 1.5 < off("camera_walk").max() < 15
    assert off("camera_tilt")[-1] == pytest.approx(np.degrees(0.1), abs=0.6)
    for family, moves, turns in (("static", False, False), ("pan", False, True), ("reference", True, True)):
        path = np.linalg.inv(true(family).w2c)
        assert bool(np.ptp(path[:, :3, 3], axis=0).max() > 1e-9) is moves
        assert bool(np.ptp(path[:, :3, :3], axis=0).max() > 1e-9) is turns


def test_ids_are_exchanged_in_all_that_the_tracker_gives_and_in_what_is_scored() -> None:
    stages, usual = seen("id_switch"), seen("reference")
    np.testing.assert_array_equal(stages.camera.joints[0, 30:], usual.camera.joints[1, 30:])
    np.testing.assert_array_equal(stages.camera.joints[0, :30], usual.camera.joints[0, :30])
    assert stages.who is not None
    assert usual.who is not None
    np.testing.assert_array_equal(stages.who[30:] == 0, usual.who[30:] == 1)
    truth = followed(FAMILIES["id_switch"], true("id_switch"))["joints"]
    np.testing.assert_array_equal(truth[1, 30:], true("reference").joints()[0, 30:])


def test_stage_4_is_stage_3_carried_and_a_lean_is_one() -> None:
    stages = seen("lean")
    np.testing.assert_allclose(stages.world.joints, to_world(stages.camera.joints, stages.w2c), atol=1e-9)
    off = Rotation.from_rotvec(stages.camera.global_orient[0]) * Rotation.from_rotvec(seen("reference").camera.global_orient[0]).inv()
    np.testing.assert_allclose(off.magnitude(), 0.15, atol=1e-9)
    knees = Rotation.from_rotvec(seen("reference").body_pose[0, :, 3]).inv() * Rotation.from_rotvec(seen("bent_knee").body_pose[0, :, 3])
    np.testing.assert_allclose(knees.as_rotvec(), np.tile([0.3, 0, 0], (60, 1)), atol=1e-9)


def test_hidden_frames_are_hidden() -> None:
    assert true("five_frames").seen[1].sum() == 5
    assert true("occluded_40").seen[1].sum() == 20
    assert all(true(family).seen.all() for family in ORDINARY)


def test_the_same_seed_writes_the_same_scene_which_is_loaded_and_scored(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_family(tmp_path / name, FAMILIES["fps_15"], 5)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) > 100
    arrays = [path for path in files if path.suffix == ".npy"]
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in arrays)
    problem = load_problem(*(tmp_path / "a" / stage for stage in STAGES), tmp_path / "a" / "4_world_space")
    assert problem.person_ids == (1, 2)
    assert problem.fps == 15
    assert not problem.warnings
    truth = read_truth(tmp_path / "a_gt.npz")
    assert truth.joints.shape == (2, 30, 22, 3)
    assert problem.start.alpha0 == pytest.approx(truth.alpha, rel=0.05)
