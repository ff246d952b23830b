"""Faults injected one by one into a clip: each is noticed, named, and mended where that can be done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scenes import Clip, make_clip, stage1_cameras
from scipy.spatial.transform import Rotation

from pose_priors.body.pinhole import project
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.keypoints import correspondences
from pose_priors.refinement.given.checks import FLIP_YZ, pixel_residuals
from pose_priors.refinement.given.load import load_problem

MakeClip = Callable[..., Clip]


def test_a_sound_clip_has_no_warnings(clips: dict[str, Clip]) -> None:
    for clip in clips.values():
        assert load_problem(*clip.stages).warnings == ()


def test_a_camera_inverted_twice_is_noticed_and_stage_4_rebuilt(tmp_path: Path, clips: dict[str, Clip]) -> None:
    clip = make_clip(tmp_path / "clip", double_inverted=True)
    problem = load_problem(*clip.stages)
    assert len(problem.warnings) == 2
    for person, line in enumerate(problem.warnings, start=1):
        assert f"4_world_space/person_{person:03d}" in line
        assert "stage 3 by 0 px" in line
        assert "inverted twice when stage 4 was made. Stage 4 is rebuilt" in line
    reference = load_problem(*clips["released"].stages)
    np.testing.assert_allclose(problem.start.pelvis, reference.start.pelvis, atol=1e-9)


@pytest.mark.parametrize("fault", ["flip", "camera", "other"])
def test_other_faults_of_stage_4_are_told_apart(clip: MakeClip, fault: str) -> None:
    spoilt = clip()
    for person in (1, 2):
        path = f"4_world_space/person_{person:03d}/smpl_params_world.npz"
        world, camera = (
            dict(np.load(spoilt.folder / p)) for p in (path, path.replace("4_world_space", "3_pose_estimation").replace("world", "camera"))
        )
        turn = Rotation.from_matrix(FLIP_YZ[:3, :3])
        offset = np.load(spoilt.stages[2] / f"person_{person:03d}" / "joints_camera.npy")[:, 0] - camera["transl"]
        flipped = {
            "global_orient": (turn * Rotation.from_rotvec(world["global_orient"])).as_rotvec(),
            "transl": turn.apply(world["transl"] + offset) - offset,
        }
        moved = {"flip": flipped, "camera": {k: camera[k] for k in flipped}, "other": {"transl": world["transl"] + [0.5, 0.4, 0]}}[fault]
        spoilt.rewrite(path, **moved)
    warnings = load_problem(*spoilt.stages).warnings
    cause = {"flip": "OpenGL axes", "camera": "left in camera axes", "other": "another run"}[fault]
    assert sum(cause in line for line in warnings) == 2


@pytest.mark.parametrize("fault", ["c2w", "opengl", "c2w opengl"])
def test_cameras_read_the_wrong_way_are_an_error_with_its_cause(clip: MakeClip, fault: str) -> None:
    spoilt = clip()
    poses = stage1_cameras(spoilt)
    poses = FLIP_YZ @ poses if "opengl" in fault else poses
    spoilt.rewrite("1_camera_estimation/cameras.npz", poses=np.linalg.inv(poses) if "c2w" in fault else poses)
    with pytest.raises(UserError, match=r"cameras\.npz: 'poses' contradict the depth maps") as error:
        load_problem(*spoilt.stages)
    assert ("camera to world" in str(error.value)) == ("c2w" in fault)
    assert ("OpenGL" in str(error.value)) == ("opengl" in fault)


def test_cameras_without_depth_are_left_in_doubt(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip", depth=False)
    clip.rewrite("1_camera_estimation/cameras.npz", poses=np.linalg.inv(stage1_cameras(clip)))
    warnings = load_problem(*clip.stages).warnings
    assert any("or stage 1's poses are c2w" in line for line in warnings)


def test_stage_3_in_opengl_axes_is_an_error(clip: MakeClip) -> None:
    spoilt = clip()
    turn = Rotation.from_matrix(FLIP_YZ[:3, :3])
    for person in (1, 2):
        folder = spoilt.stages[2] / f"person_{person:03d}"
        body, joints = dict(np.load(folder / "smpl_params_camera.npz")), np.load(folder / "joints_camera.npy")
        root = joints[:, 0] - body["transl"]
        spoilt.rewrite(
            f"3_pose_estimation/person_{person:03d}/smpl_params_camera.npz",
            global_orient=(turn * Rotation.from_rotvec(body["global_orient"])).as_rotvec(),
            transl=turn.apply(joints[:, 0]) - root,
        )
        np.save(folder / "joints_camera.npy", joints @ FLIP_YZ[:3, :3])
    with pytest.raises(UserError, match="likely cause: stage 3 is in OpenGL axes"):
        load_problem(*spoilt.stages[:3], None)


def test_intrinsics_of_a_resized_image_are_an_error(clip: MakeClip) -> None:
    spoilt = clip()
    small = np.diag([518 / 640, 291 / 360, 1]) @ spoilt.intrinsics
    spoilt.rewrite("1_camera_estimation/cameras.npz", intrinsics=small)
    with pytest.raises(UserError, match=r"add 'intrinsics_size' \[518, 291\]"):
        load_problem(*spoilt.stages)
    spoilt.rewrite("1_camera_estimation/cameras.npz", intrinsics_size=np.array([518, 291]))
    assert load_problem(*spoilt.stages).warnings == ()


def test_one_person_of_another_id_is_told(clip: MakeClip) -> None:
    spoilt = clip()
    folders = [spoilt.stages[2] / f"person_{i:03d}" for i in (1, 3)]
    folders[0].rename(folders[1])
    path = spoilt.stages[1] / "tracks.npz"
    arrays = dict(np.load(path))
    arrays |= {"track_3_frames": arrays["track_1_frames"], "track_3_bboxes": arrays["track_1_bboxes"] + [200, 0, 0, 0]}
    np.savez(path, **arrays)
    problem = load_problem(*spoilt.stages[:3], None)
    assert problem.person_ids == (2, 3)
    assert sum("person_003" in line and "misses" in line for line in problem.warnings) == 1


def test_a_person_who_misses_the_image_does_not_vote_on_the_scale(clip: MakeClip) -> None:
    spoilt = clip()
    folder = spoilt.stages[2] / "person_001"
    body, joints = dict(np.load(folder / "smpl_params_camera.npz")), np.load(folder / "joints_camera.npy")
    aside = np.array([1.5, 0, 0])
    np.save(folder / "joints_camera.npy", joints[:, :1] + 0.5 * (joints - joints[:, :1]) + aside)
    spoilt.rewrite("3_pose_estimation/person_001/smpl_params_camera.npz", transl=body["transl"] + aside)
    problem = load_problem(*spoilt.stages[:3], None)
    assert problem.start.alpha0 == pytest.approx(spoilt.alpha, rel=0.01)
    assert problem.person_ids == (1, 2)
    assert sum("person_001" in line and "left out of the scale" in line for line in problem.warnings) == 1
    assert not (problem.observations.joint_depth_confidence[0] > 0).any()


def test_pixel_residuals_are_medians_over_sure_points_or_distances_from_the_box() -> None:
    rng = np.random.default_rng(0)
    joints = rng.normal([0, 0, 4], 0.4, (3, 24, 3))
    intrinsics = np.tile(np.array([[500.0, 0, 320], [0, 500, 180], [0, 0, 1]]), (3, 1, 1))
    of = correspondences("smpl24", 24)
    points = np.concatenate([project(joints, intrinsics), np.ones((3, 24, 1))], -1)
    points[0, :, 0] += 7
    points[0, :5, :2], points[0, :5, 2] = 1e4, 0.1
    points[1, :, 2] = 0
    box = project(joints[1], intrinsics[1])
    boxes = np.full((3, 4), np.nan)
    boxes[1] = *(box.min(0) - 50), *(box.max(0) + 50)
    found = pixel_residuals(joints, intrinsics, points, of, boxes, (640, 360))
    np.testing.assert_allclose(found, [7, 0, 0], atol=1e-9)
    boxes[1] += [1000, 0, 1000, 0]
    assert pixel_residuals(joints, intrinsics, points, of, boxes, (640, 360))[1] > 500
    assert pixel_residuals(-joints, intrinsics, points, of, boxes, (640, 360))[0] == pytest.approx(np.hypot(640, 360))
