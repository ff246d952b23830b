"""Stage 4 on its own: from the camera's axes to the world and, through stage 5's reader, back to the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import Clip, make_clip, stage1_cameras

from pose_priors.body.layout import layout
from pose_priors.body.model import forward_kinematics
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.bodies import read_bodies
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.people import PersonSelection
from pose_priors.refinement.result.world import to_world_space
from refine import main


def carry(clip: Clip, output: Path, **options: object) -> dict[str, object]:
    cameras, tracking, bodies, _ = clip.stages
    return to_world_space(cameras, bodies, output, stage2_dir=tracking, **options)


def posed(folder: Path, clip: Clip, person: int) -> np.ndarray:
    """The joints (n, 24, 3) that a person's parameters of stage 4 imply, by kinematics on the true skeleton."""
    with np.load(folder / f"person_{person:03d}" / "smpl_params_world.npz") as arrays:
        pose = np.concatenate([arrays["global_orient"][:, None], arrays["poses"]], 1)
        transl = arrays["transl"]
    joints, _ = forward_kinematics(torch.from_numpy(pose), torch.from_numpy(clip.rest[person - 1]), layout(24).parents)
    root = np.array([0.0, -0.22, 0.03]) * clip.rest[person - 1, 4, 1] / clip.rest[0, 4, 1]
    return joints.numpy() + (transl + root)[:, None]


@pytest.mark.parametrize("naming", ["released", "readme"])
def test_joints_are_those_of_the_truth(naming: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip", naming, alpha=1.0, double_inverted=True)
    about = carry(clip, tmp_path / "out")
    assert about["people"] == [1, 2]
    for p, person in enumerate((1, 2)):
        truth, folder = clip.joints[p, clip.seen[p]], tmp_path / "out" / f"person_{person:03d}"
        np.testing.assert_allclose(np.load(folder / "joints_world.npy"), truth, atol=1e-9)
        np.testing.assert_allclose(posed(tmp_path / "out", clip, person), truth, atol=1e-9)
        np.testing.assert_allclose(np.load(folder / "trajectory_world.npy"), truth[:, 0], atol=1e-9)
        # what the released code writes is somewhere else altogether
        with np.load(clip.stages[3] / f"person_{person:03d}" / "smpl_params_world.npz") as faulty:
            assert np.abs(faulty["transl"] - np.load(folder / "trajectory_world.npy")).max() > 0.3


@pytest.mark.parametrize("naming", ["released", "readme"])
def test_stage_5_reads_it_and_finds_nothing_to_mend(naming: str, tmp_path: Path) -> None:
    """Bodies are metric and cameras in stage 1's unit: each frame's camera has people where stage 3 has them."""
    clip = make_clip(tmp_path / "clip", naming, alpha=1.3, double_inverted=True)
    cameras, tracking, bodies, faulty = clip.stages
    carry(clip, tmp_path / "out")
    found = load_problem(cameras, tracking, bodies, tmp_path / "out")
    assert not [line for line in found.warnings if "stage 4" in line.lower()]
    assert [line for line in load_problem(cameras, tracking, bodies, faulty).warnings if "Stage 4 is rebuilt" in line]
    w2c = stage1_cameras(clip)
    there = clip.joints @ clip.w2c[:, :3, :3].transpose(0, 2, 1) + clip.w2c[:, None, :3, 3]
    for p, person in enumerate((1, 2)):
        joints, seen = np.load(tmp_path / "out" / f"person_{person:03d}" / "joints_world.npy"), clip.seen[p]
        back = joints @ w2c[seen, :3, :3].transpose(0, 2, 1) + w2c[seen, None, :3, 3]
        np.testing.assert_allclose(back, there[p, seen], atol=1e-9)
    # and the refinement starts from it at the truth, at the scale that it finds
    np.testing.assert_allclose(found.start.alpha0, 1.3, rtol=0.02)


def test_rows_and_pose_are_those_of_stage_3(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip", "released")
    carry(clip, tmp_path / "out")
    frames = np.arange(clip.seen.shape[1])
    before, _ = read_bodies(clip.stages[2], "camera", frames, [], {})
    after, _ = read_bodies(tmp_path / "out", "world", frames, faults := [], {})
    assert not faults
    for person in (1, 2):
        np.testing.assert_array_equal(after[person].frames, before[person].frames)
        np.testing.assert_allclose(after[person].pose[:, 1:], before[person].pose[:, 1:], atol=1e-12)
        np.testing.assert_array_equal(after[person].betas, before[person].betas)


def test_all_people_and_cameras_together_need_no_pickle(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip", "released", alpha=1.0)
    carry(clip, tmp_path / "out")
    with np.load(tmp_path / "out" / "all_people_world.npz", allow_pickle=False) as together:
        np.testing.assert_array_equal(together["person_ids"], [1, 2])
        np.testing.assert_array_equal(together["visible"], clip.seen)
        with np.load(tmp_path / "out" / "person_002" / "smpl_params_world.npz") as person:
            np.testing.assert_array_equal(together["trans"][1, clip.seen[1]], person["transl"])
            np.testing.assert_array_equal(together["pose_body"][1, clip.seen[1]], person["poses"].reshape(-1, 69))
        assert not together["trans"][1, ~clip.seen[1]].any()
    with np.load(tmp_path / "out" / "cameras_world.npz") as cameras:
        np.testing.assert_allclose(cameras["c2w"] @ clip.w2c, np.tile(np.eye(4), (len(clip.w2c), 1, 1)), atol=1e-12)


def test_a_body_without_joints_turns_about_the_pelvis_of_its_model(tmp_path: Path) -> None:
    """The pelvis is not where the truth has it, as J0 is an average adult's; but it turns about itself as in the camera."""
    clip = make_clip(tmp_path / "clip", "released", alpha=1.0)
    (clip.stages[2] / "person_001" / "joints_camera.npy").unlink()
    about = carry(clip, tmp_path / "out", options=LoadOptions(who=PersonSelection(person_ids=[1])))
    assert about["people"] == [1]
    assert any("built-in skeleton" in line for line in about["warnings"])
    with np.load(clip.stages[2] / "person_001" / "smpl_params_camera.npz") as camera:
        transl = camera["transl"]
    pelvis = np.load(tmp_path / "out" / "person_001" / "trajectory_world.npy")
    with np.load(tmp_path / "out" / "person_001" / "smpl_params_world.npz") as world:
        root = pelvis - world["transl"]
    assert np.ptp(root, axis=0).max() < 1e-12
    there = (transl + root - clip.w2c[:, :3, 3])[:, None] @ clip.w2c[:, :3, :3]
    np.testing.assert_allclose(pelvis, there[:, 0], atol=1e-9)


def test_only_the_first_frames(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip", "released")
    assert carry(clip, tmp_path / "out", options=LoadOptions(max_frames=4))["num_frames"] == 4
    assert len(np.load(tmp_path / "out" / "person_002" / "joints_world.npy")) == 4


def test_cameras_of_the_wrong_direction_are_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip", "released", alpha=1.0)
    clip.rewrite("1_camera_estimation/cameras.npz", poses=np.linalg.inv(clip.w2c))
    with pytest.raises(UserError, match="camera to world where world to camera is expected"):
        carry(clip, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_script_writes_stage_4_and_both_stages(clip: Callable[[str], Clip], tmp_path: Path) -> None:
    folder = clip("released").folder
    before = (folder / "4_world_space" / "person_001" / "smpl_params_world.npz").read_bytes()
    out = tmp_path / "out"
    quiet = "trainer.enable_progress_bar=false"
    results = main(["--config", "refinement", "--override", f"input.path={folder}", f"output.path={out}", "stages=[4]", quiet])
    assert json.loads((out / "4_world_space" / "metadata.json").read_text()) == results[folder.name]
    assert (folder / "4_world_space" / "person_001" / "smpl_params_world.npz").read_bytes() == before
    assert not (out / "refinement_results.json").exists()

    short = ["refinement.max_total_iterations=2"]
    main(["--config", "refinement", "--override", f"input.path={folder}", "stages=[4,5]", quiet, *short])
    assert (folder / "5_refinement" / "refinement_results.json").is_file()
    after = folder / "4_world_space"
    assert json.loads((after / "metadata.json").read_text())["digest"]
    assert not list(folder.glob(".writing-*"))
    # made again from the same input: the same bytes
    made = {path.name: path.read_bytes() for path in after.rglob("*") if path.is_file()}
    main(["--config", "refinement", "--override", f"input.path={folder}", "stages=[4]", quiet, *short])
    assert {path.name: path.read_bytes() for path in after.rglob("*") if path.is_file()} == made
