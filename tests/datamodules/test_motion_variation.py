"""Windows as other makers might have recorded them: what varies, and what may not."""

from __future__ import annotations

import numpy as np
import pytest
import roma
import torch
from motion_files import smooth_motion
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import chained
from pose_priors.body.motion import MotionWindows, posed_joints
from pose_priors.body.motion_state import CONTACT_JOINTS, NUM_JOINTS
from pose_priors.body.skeleton import PARENTS
from pose_priors.datamodules.clips import Clip, make_clip
from pose_priors.datamodules.motion_data import MotionDataConfig, MotionDataModule
from pose_priors.datamodules.motion_loader import MotionLoader, WindowArrays
from pose_priors.datamodules.motion_variation import CARRIED, with_other_axes

FRAMES = 20
LEGS = [joint for joint in range(NUM_JOINTS) if joint not in CARRIED]


@pytest.fixture(scope="module")
def arrays() -> WindowArrays:
    return WindowArrays([make_clip(f"clip_{n}", *smooth_motion(frames, 30, n), 1.7) for n, frames in enumerate((60, 45, 24))], FRAMES)


def joints_of(windows: MotionWindows) -> Tensor:
    return posed_joints(windows.pose, windows.pelvis, windows.rest[:, None])


def turned(windows: MotionWindows) -> Tensor:
    """(B, T, 22, 3, 3) in the world."""
    local = roma.rotvec_to_rotmat(windows.pose)
    found: Tensor = chained(local, torch.zeros_like(local[..., 0]), PARENTS[:NUM_JOINTS])[1]
    return found


def bones_of(windows: MotionWindows) -> Tensor:
    return windows.rest[:, 1:] - windows.rest[:, list(PARENTS[1:NUM_JOINTS])]


def test_joints_with_other_axes_stay_and_are_told_in_these(arrays: WindowArrays) -> None:
    plain = arrays.gather(np.arange(0, len(arrays), 7))
    turns = 0.3 * torch.randn(len(plain), NUM_JOINTS, 3, generator=torch.Generator().manual_seed(0))
    turns[:, 0] = 0
    carried = torch.arange(len(plain)) % 2 == 0
    other = with_other_axes(plain, turns, carried)
    assert torch.allclose(turned(other), turned(plain) @ roma.rotvec_to_rotmat(turns)[:, None], atol=1e-5)
    moved = torch.linalg.vector_norm(joints_of(other) - joints_of(plain), dim=-1)
    assert moved[~carried].max() < 1e-5
    assert moved[carried][..., LEGS].max() < 1e-5  # so feet that stand go on standing
    assert (moved[carried][..., CARRIED].mean((0, 1)) > 1e-3).sum() == len(CARRIED) - 1  # the lowest of the trunk hangs at the pelvis
    assert torch.allclose(bones_of(other).norm(dim=-1), bones_of(plain).norm(dim=-1), atol=1e-6)
    assert torch.equal(bones_of(other)[carried][:, np.array(CARRIED) - 1], bones_of(plain)[carried][:, np.array(CARRIED) - 1])
    assert torch.equal(other.contacts, plain.contacts)
    assert torch.equal(other.pelvis, plain.pelvis)


def test_clips_are_played_slower_and_faster() -> None:
    at = torch.arange(80) / 30
    pose = torch.zeros(80, NUM_JOINTS, 3)
    pose[:, 0, 2] = 3.0 + 0.9 * at  # about the vertical, past half a turn
    pose[:, 0] = roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(pose[:, 0]))
    pelvis = torch.stack([1.2 * at, -0.3 * at, 1 + 0.2 * at.square()], 1)
    contacts = (torch.arange(80)[:, None] // 10 % 2 == 0).expand(80, len(CONTACT_JOINTS))
    arrays = WindowArrays([Clip("clip", pose, pelvis, rest_joints(1.7)[:NUM_JOINTS].float(), contacts)], FRAMES)
    rows = np.array([30, 30, 30, 0, 60, 12])
    speeds = torch.tensor([0.5, 1.0, 1.6, 2.0, 0.7, 100.0])
    windows = arrays.played(rows, speeds)
    lasting = speeds.clamp_max(79 / 19)  # the last one sees the whole clip
    first = (torch.from_numpy(rows) + 19 * (1 - lasting) / 2).clamp_min(0).minimum(79 - 19 * lasting)
    time = (first[:, None] + lasting[:, None] * torch.arange(FRAMES)) / 30
    assert torch.allclose(windows.pelvis, torch.stack([1.2 * time, -0.3 * time, 1 + 0.2 * time.square()], -1), atol=1e-3)
    inner = windows.pelvis[:5, 2:-2]
    assert torch.allclose(torch.diff(inner[..., 0], dim=1) * 30, 1.2 * lasting[:5, None].expand(-1, FRAMES - 5), atol=1e-4)
    heading = roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, 1.0]) * (3.0 + 0.9 * time[..., None])))
    apart = roma.rotmat_geodesic_distance(roma.rotvec_to_rotmat(heading), roma.rotvec_to_rotmat(windows.pose[:, :, 0]))
    assert apart.max() < 2e-3
    nearest = (time * 30).round().long()
    sure = ((time * 30 - nearest).abs() < 0.49)[..., None]
    assert torch.equal(windows.contacts & sure, contacts[nearest] & sure)
    plain = arrays.gather(rows[:2])
    assert torch.allclose(windows.pose[1], plain.pose[1], atol=1e-6)
    assert torch.allclose(windows.pelvis[1], plain.pelvis[1], atol=1e-6)


def test_windows_get_trunks_of_others_and_keep_their_legs(arrays: WindowArrays) -> None:
    plain = arrays.gather(np.arange(len(arrays)))
    batch = next(iter(MotionLoader(arrays, len(arrays), mix_bodies=0.4, seed=1)))
    assert torch.equal(batch.pose[:, :, LEGS], plain.pose[:, :, LEGS])
    assert torch.equal(batch.pelvis, plain.pelvis)
    other = (batch.pose != plain.pose).flatten(1).any(1)
    assert 0.3 < other.float().mean() < 0.5
    theirs = (batch.pose[other][:, None, :, CARRIED] == plain.pose[None, :, :, CARRIED]).flatten(2).all(-1)
    assert theirs.any(1).all()


def test_variations_depend_on_seed_and_epoch_and_statistics_see_clips_at_their_own_speed(arrays: WindowArrays) -> None:
    def drawn(seed: int, epoch: int, **options: float) -> MotionWindows:
        loader = MotionLoader(arrays, len(arrays), seed=seed, mirror=True, vary_skeleton=0.03, **options)
        loader.set_epoch(epoch)
        windows: MotionWindows = next(iter(loader))
        return windows

    options = {"vary_axes": 0.3, "vary_speed": 1.25, "mix_bodies": 0.3}
    one, again = drawn(1, 2, **options), drawn(1, 2, **options)
    assert torch.equal(one.pose, again.pose)
    assert torch.equal(one.rest, again.rest)
    for other in (drawn(1, 3, **options), drawn(2, 2, **options)):
        assert not torch.equal(one.pose, other.pose)
    assert torch.equal(drawn(1, 2).rest, drawn(1, 2, mix_bodies=0.3, vary_speed=1.25).rest)  # what was drawn before is as it was

    module = MotionDataModule(MotionDataConfig(num_clips=8, **options), 16, 0, FRAMES)
    module.setup()
    pelvis = {float(z) for clip in module.train_clips for z in clip.pelvis[:, 2]}
    assert {float(z) for z in module.training_sample(50).pelvis[..., 2].flatten()} <= pelvis
    assert not {float(z) for z in next(iter(module.train_dataloader())).pelvis[..., 2].flatten()} <= pelvis
