"""Stages that are each sound and do not fit each other: units, numbers of frames, masks; each is mended with a line or told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import Clip, make_clip

from pose_priors.configs.base import UserError
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.given.units import stature

MakeClip = Callable[..., Clip]


@pytest.fixture(scope="module")
def sound(clips: dict[str, Clip]) -> Problem:
    return load_problem(*clips["released"].stages)


def change_people(clip: Clip, change: Callable[[dict[str, np.ndarray], np.ndarray], np.ndarray | None], stage: int = 2) -> None:
    """`change` gets the parameters, to be changed, and the joints; it gives the joints."""
    for path in sorted(clip.stages[stage].glob("person_*/smpl_params_*.npz")):
        body, file = dict(np.load(path)), path.with_name("joints_camera.npy")
        joints = change(body, np.load(file) if file.exists() else np.zeros(0))
        np.savez(path, **body)
        file.unlink(missing_ok=True)
        if joints is not None:
            np.save(file, joints)


def change_depth(clip: Clip, change: Callable[[np.ndarray], np.ndarray]) -> None:
    for path in sorted((clip.stages[0] / "depth_maps").glob("*.npy")):
        np.save(path, change(np.load(path)))


def same_start(found: Problem, reference: Problem, tolerance: float = 0.02) -> None:
    np.testing.assert_allclose(found.start.pelvis, reference.start.pelvis, atol=tolerance)
    assert found.start.alpha0 == pytest.approx(reference.start.alpha0, rel=0.01)


@pytest.mark.parametrize(("unit", "name"), [(1e-3, "millimetres"), (1e-2, "centimetres")])
def test_bodies_in_other_units_are_brought_into_metres(clip: MakeClip, sound: Problem, unit: float, name: str) -> None:
    spoilt = clip()

    def enlarge(body: dict[str, np.ndarray], joints: np.ndarray) -> np.ndarray:
        body["transl"] = body["transl"] / unit
        return joints / unit

    change_people(spoilt, enlarge)
    problem = load_problem(*spoilt.stages[:3], None)
    same_start(problem, sound)
    assert [name in line and "people 1, 2" in line for line in problem.warnings] == [True, True]


def test_transl_in_millimetres_shows_by_the_boxes_where_there_are_no_joints(clip: MakeClip) -> None:
    spoilt = clip()
    change_people(spoilt, lambda body, joints: None)
    expected = load_problem(*spoilt.stages[:3], None)

    def enlarge(body: dict[str, np.ndarray], joints: np.ndarray) -> None:
        body["transl"] = body["transl"] * 1000

    change_people(spoilt, enlarge)
    found = load_problem(*spoilt.stages[:3], None)
    same_start(found, expected)
    assert any("transl in the camera is in millimetres" in line for line in found.warnings)


def test_who_is_nobodys_size_is_left_out(clip: MakeClip) -> None:
    spoilt = clip()
    files = [spoilt.stages[2] / f"person_00{person}" / "joints_camera.npy" for person in (1, 2)]
    np.save(files[0], np.load(files[0]) * 9)
    problem = load_problem(*spoilt.stages)
    assert problem.person_ids == (2,)
    assert any("person 1 is" in line and "left out" in line for line in problem.warnings)
    np.save(files[1], np.load(files[1]) / 9)
    with pytest.raises(UserError, match=r"person 1 is .* m tall, 0\.3 to 2\.6 m are expected"):
        load_problem(*spoilt.stages)


@pytest.mark.parametrize("beta", [np.nan, np.inf, 1e30])
def test_betas_that_are_no_shape_are_the_mean_shapes(clip: MakeClip, beta: float) -> None:
    spoilt = clip()
    spoilt.rewrite("3_pose_estimation/person_001/smpl_params_camera.npz", betas=np.full(10, beta))
    problem = load_problem(*spoilt.stages)
    assert not problem.bodies.betas.any()
    assert ["person_001" in line and "no shape; the mean shape is taken" in line for line in problem.warnings] == [True]


@pytest.mark.parametrize("fps", [0.01, 1e9])
def test_a_rate_that_no_clip_has_is_refused(clip: MakeClip, fps: float) -> None:
    with pytest.raises(UserError, match="frames a second; 1 to 1000 are expected"):
        load_problem(*clip().stages, LoadOptions(fps=fps))


def test_a_stature_is_that_of_the_bones_whatever_the_pose(clips: dict[str, Clip]) -> None:
    joints = clips["released"].joints
    assert 1.4 < stature(joints[0]) < 2.0
    assert stature(joints[1]) == pytest.approx(0.94 * stature(joints[0]))


@pytest.mark.parametrize("ratio", [1000.0, 100.0, 1 / 1000])
def test_depth_in_another_unit_than_the_cameras_is_brought_into_theirs(clip: MakeClip, sound: Problem, ratio: float) -> None:
    spoilt = clip()
    change_depth(spoilt, lambda depth: depth * ratio)
    problem = load_problem(*spoilt.stages)
    assert len(problem.warnings) == 1
    assert re.search("the depth maps contradict the camera's path by", problem.warnings[0])
    np.testing.assert_allclose(problem.start.alpha0, sound.start.alpha0, rtol=0.01)


def test_a_unit_that_cameras_and_depth_share_is_no_fault(clip: MakeClip, sound: Problem) -> None:
    spoilt = clip()
    poses = dict(np.load(spoilt.stages[0] / "cameras.npz"))["poses"]
    poses[:, :3, 3] *= 100
    spoilt.rewrite("1_camera_estimation/cameras.npz", poses=poses)
    change_depth(spoilt, lambda depth: depth * 100)
    problem = load_problem(*spoilt.stages[:3], None)
    assert problem.warnings == ()
    assert problem.start.alpha0 == pytest.approx(sound.start.alpha0 / 100, rel=1e-3)


def test_depth_as_pictures_of_16_bits_is_read_and_of_8_bits_named(clip: MakeClip, sound: Problem) -> None:
    spoilt = clip()
    folder = spoilt.stages[0] / "depth_maps"
    for path in sorted(folder.glob("*.npy")):
        Image.fromarray((np.load(path).clip(0, 65) * 1000).astype(np.uint16)).save(path.with_suffix(".png"))
        path.unlink()
    problem = load_problem(*spoilt.stages)
    same_start(problem, sound)
    assert [".png is taken to be in thousandths" in line for line in problem.warnings] == [True]
    for path in sorted(folder.glob("*.png")):
        Image.fromarray(np.full((9, 16), 100, np.uint8)).save(path)
    assert any("8 bits" in line for line in load_problem(*spoilt.stages).warnings)


@pytest.mark.parametrize("per_metre", [5000, 256])
@pytest.mark.parametrize("moves", [True, False])
def test_depth_pictures_of_other_sensors_are_told_by_the_still_scene(per_metre: int, moves: bool, clip: MakeClip, sound: Problem) -> None:
    """TUM's and KITTI's; before a camera that stands still nothing but the scale is in the maps' unit, and the scale takes it up."""
    spoilt = clip()
    if not moves:
        poses = dict(np.load(spoilt.stages[0] / "cameras.npz"))["poses"]
        spoilt.rewrite("1_camera_estimation/cameras.npz", poses=np.tile(poses[:1], (len(poses), 1, 1)))
        sound = load_problem(*spoilt.stages[:3], None)
    for path in sorted((spoilt.stages[0] / "depth_maps").glob("*.npy")):
        Image.fromarray((np.load(path).clip(0, 65535 / per_metre) * per_metre).astype(np.uint16)).save(path.with_suffix(".png"))
        path.unlink()
    problem = load_problem(*spoilt.stages[:3], None)
    ratio = 1 if moves else 1000 / per_metre
    assert problem.start.alpha0 == pytest.approx(sound.start.alpha0 * ratio, rel=0.02)
    told = [line for line in problem.warnings if "the depth maps contradict the camera's path" in line]
    assert len(told) == moves
    assert not moves or f"in a unit of {1000 / per_metre:.4g} of the path's" in told[0]


def test_depth_of_nothing_and_beyond_everything_is_no_depth(clip: MakeClip, sound: Problem) -> None:
    spoilt = clip()

    def spoil(depth: np.ndarray) -> np.ndarray:
        depth[:5] = 1e30
        return depth

    change_depth(spoilt, spoil)
    assert load_problem(*spoilt.stages).start.alpha0 == pytest.approx(sound.start.alpha0, rel=0.01)
    change_depth(spoilt, lambda depth: np.full_like(depth, 1e30))
    assert any("no depth between" in line for line in load_problem(*spoilt.stages).warnings)


def count_from(clip: Clip, first: int, stages: str) -> None:
    """Renames the files of depth, masks, tracks and people."""
    if "depth" in stages:
        rename(clip.stages[0] / "depth_maps", first)
    if "masks" in stages:
        rename(clip.stages[1] / "masks", first)
    if "tracks" in stages:
        rename(clip.stages[1] / "detections", first)
        tracks = dict(np.load(clip.stages[1] / "tracks.npz"))
        np.savez(clip.stages[1] / "tracks.npz", **{k: v + first if k.endswith("frames") else v for k, v in tracks.items()})
    if "people" in stages:
        for path in clip.stages[2].glob("person_*/metadata.json"):
            about = json.loads(path.read_text())
            path.write_text(json.dumps({"frames": [frame + first for frame in about["frames"]]}))


def rename(folder: Path, first: int) -> None:
    for path in sorted(folder.iterdir(), reverse=True):
        path.rename(path.with_name(re.sub(r"\d{6}", lambda m: f"{int(m[0]) + first:06d}", path.name)))


@pytest.mark.parametrize("first", [1, 100])
def test_cameras_without_numbers_take_those_of_the_others(clip: MakeClip, sound: Problem, first: int) -> None:
    spoilt = clip()
    count_from(spoilt, first, "depth masks tracks people")
    problem = load_problem(*spoilt.stages)
    same_start(problem, sound, 1e-9)
    assert problem.frame_ids == tuple(range(first, first + 12))
    assert [f"count from {first} to {first + 11}" in line for line in problem.warnings] == [True]


@pytest.mark.parametrize("stages", ["depth", "masks", "tracks", "people"])
def test_one_stage_that_counts_from_one_is_taken_for_the_cameras_frames(clip: MakeClip, sound: Problem, stages: str) -> None:
    spoilt = clip()
    count_from(spoilt, 1, stages)
    problem = load_problem(*spoilt.stages)
    same_start(problem, sound, 1e-9)
    assert problem.frame_ids == sound.frame_ids
    assert [line for line in problem.warnings if "count from 1, the cameras' from 0" not in line] == []


def test_cameras_that_end_early_are_not_counted_from_one(clip: MakeClip) -> None:
    spoilt = clip()
    arrays = dict(np.load(spoilt.stages[0] / "cameras.npz"))
    np.savez(spoilt.stages[0] / "cameras.npz", **{name: value[:-1] for name, value in arrays.items()})
    (spoilt.stages[1] / "detections" / "frame_000000.pkl").unlink()
    problem = load_problem(*spoilt.stages)
    assert problem.frame_ids == tuple(range(11))
    assert not any("count from" in line for line in problem.warnings)


@pytest.mark.parametrize("fault", ["empty", "elsewhere"])
def test_masks_that_do_not_show_their_person_are_left_aside(clip: MakeClip, sound: Problem, fault: str) -> None:
    spoilt = clip()
    for path in (spoilt.stages[1] / "masks").glob("*person_001.npy"):
        mask = np.zeros_like(np.load(path))
        mask[:3, :3] = fault == "elsewhere"
        np.save(path, mask)
    problem = load_problem(*spoilt.stages)
    told = "are empty" if fault == "empty" else "lie outside"
    assert [told in line and "person 1" in line for line in problem.warnings] == [True]
    assert (problem.observations.joint_depth_confidence[0] > 0).any()


def test_masks_of_all_people_in_one_picture_are_those_of_each(clip: MakeClip, sound: Problem) -> None:
    spoilt = clip()
    folder, together = spoilt.stages[1] / "masks", dict[str, np.ndarray]()
    for path in sorted(folder.iterdir()):
        mask = np.load(path).astype(np.uint8) * int(path.stem[-3:])
        together[path.stem[:12]] = together.get(path.stem[:12], 0) + mask
        path.unlink()
    for name, mask in together.items():
        Image.fromarray(mask).save(folder / f"{name}.png")
    problem = load_problem(*spoilt.stages)
    assert problem.warnings == ()
    np.testing.assert_array_equal(problem.observations.joint_depth, sound.observations.joint_depth)


def test_depth_that_is_turned_against_the_image_is_told(tmp_path: Path) -> None:
    turned = make_clip(tmp_path / "clip", num_frames=4)
    change_depth(turned, lambda depth: np.rot90(depth).copy())
    problem = load_problem(*turned.stages)
    assert any("left aside; is one of them turned" in line for line in problem.warnings)
    assert not problem.observations.joint_depth_confidence.any()
