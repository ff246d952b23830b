"""Files for retargeters, read as GMR's and holosoma's loaders read them: keys, shapes, rates, folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smplx
import torch
from export_results import FPS, LIVES, TOLERANCE_M, Result, exported
from test_export_amass import JointsAlone

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.configs.base import UserError
from pose_priors.refinement.result.write import RESULTS


def as_holosoma_finds(root: Path) -> list[Path]:
    """`rglob("*_stageii.npz")`; the output is named by the three last parts of the path."""
    return sorted(root.rglob("*_stageii.npz"))


def as_holosoma_reads(path: Path) -> dict[str, np.ndarray]:
    """Every int(rate / 30)-th frame of these keys; the pose of 55 joints, the neutral model with 16 betas."""
    data = np.load(path)
    step = int(data["mocap_frame_rate"] / 30)
    found = {key: data[key][::step] for key in ("trans", "poses", "root_orient", "pose_body", "pose_hand", "pose_jaw", "pose_eye")}
    assert found["poses"].reshape(-1, 55, 3)[:, :52].shape[1:] == (52, 3)
    assert torch.from_numpy(data["betas"]).float()[None].shape == (1, 16)
    assert int(data["num_betas"]) == 16
    assert np.asarray([data["gender"]]).tolist() == ["neutral"]
    assert (path.parts[-3], path.parts[-2], path.name) == ("clip", path.parts[-2], f"clip_{path.parts[-2]}_stageii.npz")
    return found | {"betas": data["betas"]}


def as_gmr_reads(path: Path, model: Any) -> tuple[np.ndarray, float]:
    """Joints that its script goes through, and their rate: of all frames but the first. The stand-in for the model has 10 betas."""
    data = np.load(path, allow_pickle=True)
    assert "left_hand_pose" not in data  # would be taken for SMPL-H
    num_frames = data["pose_body"].shape[0]
    assert str(data["gender"]) == "neutral"
    given = {"global_orient": "root_orient", "body_pose": "pose_body", "transl": "trans"}
    tensors = {name: torch.tensor(data[key]).float() for name, key in given.items()}
    zeros = {name: torch.zeros(num_frames, 45) for name in ("left_hand_pose", "right_hand_pose")}
    zeros |= {name: torch.zeros(num_frames, 3) for name in ("jaw_pose", "leye_pose", "reye_pose")}
    betas = torch.tensor(data["betas"]).float().view(1, -1)
    assert betas.shape == (1, 16)
    assert not betas[:, 10:].any()
    with torch.no_grad():
        posed = model(betas=betas[:, :10], **tensors, **zeros, expression=torch.zeros(num_frames, 10)).joints[:, :22].numpy()
    src_fps = data["mocap_frame_rate"].item()
    assert int(src_fps / 30) == 1  # below, its frame_skip is 0
    assert not src_fps > 30  # else it interpolates, at a rate that is none
    return posed[1:], src_fps


@pytest.fixture(scope="module")
def written(results: dict[int, Result], tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Path]]:
    """The files of bodies of SMPL-X and of SMPL."""
    return {joints: exported(results[joints], "retarget", tmp_path_factory.mktemp("out")) for joints in (55, 24)}


def test_they_lie_where_holosoma_looks_and_hold_what_it_reads(written: dict[int, list[Path]]) -> None:
    for files in written.values():
        assert as_holosoma_finds(files[0].parents[2]) == sorted(files)
        assert [file.parts[-2] for file in files] == [f"person_{person:03d}" for person in LIVES]
        for path, (begin, end) in zip(files, LIVES.values(), strict=True):
            found = as_holosoma_reads(path)
            seconds = (end - 1 - begin) / FPS
            assert len(found["trans"]) == pytest.approx(1 + 1 + seconds * 30, abs=2)  # the first frame is there twice
            for part in ("trans", "poses"):
                np.testing.assert_array_equal(found[part][0], found[part][1])
            np.testing.assert_array_equal(found["poses"][:, 3:66], found["pose_body"])


def test_gmr_goes_through_the_whole_motion_in_time(results: dict[int, Result], written: dict[int, list[Path]]) -> None:
    result = results[55]
    model = smplx.create(str(result.model), "smplx", gender="neutral", use_pca=False, flat_hand_mean=True, num_betas=10, ext="npz")
    model.vertex_joint_selector = JointsAlone()
    for path, (person, truth) in zip(written[55], result.joints.items(), strict=True):
        joints, fps = as_gmr_reads(path, model)
        assert fps == 30
        begin = LIVES[person][0]
        first = int(np.ceil((100 + begin) * 30 / FPS - 1e-9))  # numbers of frames at the new rate
        at = (first + np.arange(len(joints))) * FPS / 30 - (100 + begin)
        exact = np.flatnonzero(np.abs(at - np.rint(at)) < 1e-6)
        assert len(exact) > 5
        assert np.abs(joints[exact] - truth[np.rint(at[exact]).astype(int), :22]).max() < TOLERANCE_M
        assert at[-1] > len(truth) - 1 - FPS / 30


def test_feet_of_smpl_stay_where_they_stood(results: dict[int, Result], written: dict[int, list[Path]]) -> None:
    """Bodies become SMPL-X's mean shape; their lowest joint of the feet is as high as it was, by the median."""
    for path, truth in zip(written[24], results[24].joints.values(), strict=True):
        with np.load(path) as data:
            rest = rest_joints()
            posed, _ = forward_kinematics(torch.from_numpy(data["poses"].reshape(-1, 55, 3)).double(), rest - rest[0])
            # the root joint of SMPL-X's mean shape
            height = posed.numpy()[:, [7, 8, 10, 11], 2] + (data["trans"][:, 2] + root_height(data))[:, None]
        lowest = truth[:, [7, 8, 10, 11], 2].min(1)
        assert np.median(height.min(1)) == pytest.approx(np.median(lowest), abs=0.02)


def root_height(data: Any) -> float:
    """Of the root joint above `trans`, which does not turn with the body."""
    from pose_priors.refinement.formats.bodies import TEMPLATE_ROOT

    return float(TEMPLATE_ROOT[55][2])


def test_a_clip_of_ntsc_keeps_its_frames_and_other_rates_are_refused(results: dict[int, Result], tmp_path: Path) -> None:
    shutil.copytree(results[55].folder, tmp_path / "clip")
    (tmp_path / "clip" / RESULTS).write_text(json.dumps({"fps": 30000 / 1001}))
    result = Result(tmp_path / "clip", results[55].joints, results[55].rest, results[55].model)
    for path, (begin, end) in zip(exported(result, "retarget", tmp_path / "out"), LIVES.values(), strict=True):
        with np.load(path) as data:
            assert float(data["mocap_frame_rate"]) == 30
            assert len(data["poses"]) == end - begin + 1
    with pytest.raises(UserError, match="retargeters take 30 frames a second"):
        exported(result, "retarget", tmp_path / "out", "--fps", "60")
