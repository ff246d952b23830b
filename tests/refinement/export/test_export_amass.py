"""AMASS files, posed by smplx itself: the joints that come out are those that went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
from export_results import FPS, LIVES, TOLERANCE_M, Result, every_body, exported

from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.datamodules.clips import read_clip
from pose_priors.datamodules.formats import read_poses


class JointsAlone(torch.nn.Module):
    """In place of smplx's selector of vertices by number."""

    def forward(self, vertices: torch.Tensor, joints: torch.Tensor) -> torch.Tensor:
        return joints


def test_amass_posed_by_smplx_itself_gives_the_joints(results: dict[int, Result], tmp_path: Path) -> None:
    result = results[55]
    files = exported(result, "amass", tmp_path)
    assert [path.name for path in files] == [f"clip_person_{person:03d}.npz" for person in LIVES]
    for path, (person, truth) in zip(files, result.joints.items(), strict=True):
        data = np.load(path, allow_pickle=False)
        shapes = {"poses": 165, "root_orient": 3, "pose_body": 63, "pose_hand": 90, "pose_jaw": 3, "pose_eye": 6, "trans": 3}
        assert {name: data[name].shape for name in shapes} == {name: (len(truth), width) for name, width in shapes.items()}
        assert (str(data["gender"]), str(data["surface_model_type"])) == ("neutral", "smplx")
        assert float(data["mocap_frame_rate"]) == float(data["mocap_framerate"]) == FPS
        assert float(data["mocap_time_length"]) == pytest.approx(len(truth) / FPS)
        assert int(data["num_betas"]) == len(data["betas"]) == 10
        np.testing.assert_array_equal(data["frame_ids"], 100 + np.arange(*LIVES[person]))
        np.testing.assert_array_equal(np.flatnonzero(~data["visible"]), [5, 6, 7, 8])
        model = smplx.create(str(result.model), "smplx", use_pca=False, flat_hand_mean=True, num_betas=10, batch_size=len(truth), ext="npz")
        model.vertex_joint_selector = JointsAlone()
        given = {name: torch.from_numpy(data[key]) for name, key in (("global_orient", "root_orient"), ("body_pose", "pose_body"))}
        given |= {
            "left_hand_pose": torch.from_numpy(data["pose_hand"][:, :45]),
            "right_hand_pose": torch.from_numpy(data["pose_hand"][:, 45:]),
        }
        given |= {"jaw_pose": torch.from_numpy(data["pose_jaw"]), "transl": torch.from_numpy(data["trans"])}
        given |= {"leye_pose": torch.from_numpy(data["pose_eye"][:, :3]), "reye_pose": torch.from_numpy(data["pose_eye"][:, 3:])}
        betas = torch.from_numpy(data["betas"]).expand(len(truth), -1)
        with torch.no_grad():
            posed = model(betas=betas, **given).joints[:, :NUM_JOINTS].numpy()
        assert np.abs(posed - truth).max() < TOLERANCE_M


@every_body
def test_amass_is_read_by_the_readers_of_this_project(results: dict[int, Result], tmp_path: Path, num_joints: int) -> None:
    result = results[num_joints]
    for path, (person, truth) in zip(exported(result, "amass", tmp_path), result.joints.items(), strict=True):
        file = read_poses(path)
        assert (file.fps, file.is_sequence, len(file.poses)) == (FPS, True, len(truth))
        # the result's bones turned by the file's poses; SMPL's bodies have no fingers to compare
        rest = np.zeros((NUM_JOINTS, 3))
        rest[:22] = result.rest[person][:22] - result.rest[person][0]
        posed, _ = forward_kinematics(torch.from_numpy(file.poses).double(), torch.from_numpy(rest))
        with np.load(path) as data:
            root = (truth[:, 0] - data["trans"]).mean(0)
            is_mean_shape = not data["betas"].any()
            posed = posed[:, :22].numpy() + data["trans"][:, None] + root
        assert np.abs(posed - truth[:, :22]).max() < TOLERANCE_M
        assert is_mean_shape == (num_joints == 24)
        if is_mean_shape:
            np.testing.assert_allclose(root, [0.003, -0.351, 0.012], atol=TOLERANCE_M)  # the root joint of SMPL-X, not SMPL's
        clip = read_clip(path, up_axis="z")
        assert len(clip) == int((len(truth) - 1) * 30 / FPS + 1e-6) + 1
