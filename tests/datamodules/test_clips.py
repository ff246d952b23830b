"""Files of motions as clips: their frame rate, up-axis, floor and length, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from motion_files import smooth_motion, write_amass
from scipy.spatial.transform import Rotation, Slerp

from pose_priors.body.builtin import BALL_HEIGHT, rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.rotations import geodesic_angle
from pose_priors.body.skeleton import PARENTS
from pose_priors.configs.base import UserError
from pose_priors.datamodules.clips import SMPL_STATURE, UnusableClipError, make_clip, read_clip, y_up_to_z_up
from pose_priors.datamodules.synthetic.motions import synthetic_motions

UP = {
    "x": [0, -np.pi / 2, 0],
    "-x": [0, np.pi / 2, 0],
    "y": [np.pi / 2, 0, 0],
    "-y": [-np.pi / 2, 0, 0],
    "z": [0, 0, 0],
    "-z": [np.pi, 0, 0],
}
"""By which rotation vector each axis comes to z."""


@pytest.mark.parametrize("rate", ["mocap_framerate", "mocap_frame_rate"])
@pytest.mark.parametrize("fps", [120.0, 100.0, 30.0, 29.97, 25.0])
def test_frames_are_resampled_by_slerp(fps: float, rate: str, tmp_path: Path) -> None:
    pose, pelvis = smooth_motion(round(2.3 * fps), fps, seed=3)
    clip = read_clip(write_amass(tmp_path / "a.npz", pose, pelvis, fps, rate), up_axis="z")
    times = np.arange(len(pose)) / fps
    at = np.arange(0, times[-1] + 1e-9, 1 / 30)
    assert len(clip) == len(at)
    for joint in range(22):
        expected = Slerp(times, Rotation.from_rotvec(pose[:, joint].numpy()))(at)
        difference = (Rotation.from_rotvec(clip.pose[:, joint].double().numpy()).inv() * expected).magnitude()
        assert difference.max() < 2e-5
    expected = np.stack([np.interp(at, times, pelvis[:, i].numpy()) for i in range(3)], 1)
    moved = clip.pelvis.double().numpy() - expected
    assert np.abs(moved[:, :2]).max() < 1e-6
    assert np.ptp(moved[:, 2]) < 1e-6  # put on the floor


def test_slerp_takes_the_short_way_when_rotation_vectors_jump_at_pi(tmp_path: Path) -> None:
    pose, pelvis = smooth_motion(121, 120)
    turn = torch.linspace(3.0, 3.4, 121, dtype=torch.float64)
    pose[:, 16] = torch.tensor([0, 1.0, 0], dtype=torch.float64) * torch.where(turn > torch.pi, turn - 2 * torch.pi, turn)[:, None]
    clip = read_clip(write_amass(tmp_path / "a.npz", pose, pelvis, 100.0), up_axis="z")
    expected = torch.stack(
        [torch.zeros(len(clip)), torch.from_numpy(np.interp(np.arange(len(clip)) / 30, np.arange(121) / 100, turn)).float()]
    )
    expected = torch.stack([expected[0], expected[1], expected[0]], 1)
    angle = geodesic_angle(roma.rotvec_to_rotmat(clip.pose[:, 16].double()), roma.rotvec_to_rotmat(expected.double()))
    assert angle.max() < 1e-4


@pytest.mark.parametrize("axis", UP)
def test_the_axis_that_is_up_is_found(axis: str, tmp_path: Path) -> None:
    pose, pelvis = smooth_motion(60, 30)
    upright = read_clip(write_amass(tmp_path / "z.npz", pose, pelvis, 30.0))
    turn = roma.rotvec_to_rotmat(torch.tensor(UP[axis], dtype=torch.float64)).T
    pose[:, 0] = roma.rotmat_to_rotvec(turn @ roma.rotvec_to_rotmat(pose[:, 0]))
    path = write_amass(tmp_path / "a.npz", pose, pelvis @ turn.T, 30.0)
    found, stated = read_clip(path), read_clip(path, up_axis=axis)
    assert torch.equal(found.pose, stated.pose)
    assert torch.allclose(found.joints[..., 2], upright.joints[..., 2], atol=1e-5)
    lengths = [torch.linalg.vector_norm(torch.diff(clip.pelvis, dim=0), dim=-1) for clip in (found, upright)]
    assert torch.allclose(*lengths, atol=1e-5)


def test_a_body_that_lies_has_to_be_told_what_is_up(tmp_path: Path) -> None:
    pose, pelvis = smooth_motion(60, 30)
    pose[:, 0] = torch.tensor([0.0, 0, 0], dtype=torch.float64)
    pose[30:, 0, 0] = torch.pi  # on the belly, then on the back: y and -y
    path = write_amass(tmp_path / "a.npz", pose, pelvis, 30.0)
    with pytest.raises(UserError, match=r"no axis is clearly up.*data\.up_axis") as caught:
        read_clip(path)
    assert "\n" not in str(caught.value)
    assert len(read_clip(path, up_axis="z")) == 60


@pytest.mark.parametrize("lifted", [-0.8, 0.0, 0.37])
def test_the_floor_is_found_under_feet_that_stand(lifted: float) -> None:
    for motion in synthetic_motions(8, 30.0, 5):
        pose, pelvis = y_up_to_z_up(motion.pose, motion.pelvis)
        clip = make_clip("a", pose, pelvis + pelvis.new_tensor([0, 0, lifted]), motion.stature)
        # the built-in motions stand at height zero
        assert torch.allclose(clip.pelvis.double(), pelvis, atol=0.012), motion.kind
        assert clip.joints[:, [10, 11], 2].min() > BALL_HEIGHT * motion.stature - 0.012


def test_joints_are_those_of_the_skeleton_of_the_stature(tmp_path: Path) -> None:
    path = write_amass(tmp_path / "a.npz", *smooth_motion(40, 30), 30.0)
    for clip, stature in ((read_clip(path), SMPL_STATURE), (read_clip(path, stature=1.9), 1.9)):
        rest = rest_joints(stature)[:22]
        joints, _ = forward_kinematics(clip.pose.double(), rest, PARENTS[:22])
        joints = joints - joints[:, :1] + clip.pelvis[:, None].double()
        assert torch.allclose(clip.joints.double(), joints, atol=1e-5)
    assert clip.as_window().states().shape == (1, 38, 339)


def test_only_the_middle_is_kept(tmp_path: Path) -> None:
    path = write_amass(tmp_path / "a.npz", *smooth_motion(200, 30), 30.0)
    whole, middle = read_clip(path), read_clip(path, trim=True)
    assert len(middle) == 160
    assert torch.allclose(middle.pose, whole.pose[20:180], atol=1e-6)


def test_what_a_file_does_not_say_is_asked_for(tmp_path: Path) -> None:
    path = write_amass(tmp_path / "a.npz", *smooth_motion(120, 60), None)
    with pytest.raises(UserError, match=r"mocap_framerate, mocap_frame_rate or fps.*data\.fps"):
        read_clip(path)
    assert len(read_clip(path, fps=60.0)) == 60
    stated = write_amass(tmp_path / "b.npz", *smooth_motion(120, 30), 30.0)
    assert len(read_clip(stated, fps=60.0)) == 120


@pytest.mark.parametrize("poison", ["poses", "trans"])
def test_not_a_number_anywhere_drops_the_clip(poison: str, tmp_path: Path) -> None:
    pose, pelvis = smooth_motion(60, 30)
    (pose if poison == "poses" else pelvis)[17, 0] = float("nan")
    with pytest.raises(UnusableClipError, match="with NaN"):
        read_clip(write_amass(tmp_path / "a.npz", pose, pelvis, 30.0))


@pytest.mark.parametrize(
    ("num_frames", "fps", "long_enough"), [(119, 120.0, True), (113, 120.0, False), (30, 30.0, True), (29, 30.0, False)]
)
def test_clips_under_a_second_are_dropped(num_frames: int, fps: float, long_enough: bool, tmp_path: Path) -> None:
    path = write_amass(tmp_path / "a.npz", *smooth_motion(num_frames, fps), fps)
    if long_enough:
        assert len(read_clip(path)) == 30
    else:
        with pytest.raises(UnusableClipError, match="shorter than a second"):
            read_clip(path)


def test_poses_without_a_translation_are_no_motion(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", poses=np.zeros((50, 72)), fps=30.0)
    with pytest.raises(UserError, match=r"no trans or transl.*poses \(50, 72\)"):
        read_clip(tmp_path / "a.npz")
    pose, pelvis = smooth_motion(50, 30)
    with pytest.raises(UserError, match=r"trans is \(49, 3\), not \(50, 3\)"):
        read_clip(write_amass(tmp_path / "b.npz", pose, pelvis[:-1], 30.0))
