"""Motions into splits and batches of windows: nothing leaks, nothing is drawn twice, and a run goes on where it was."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from motion_files import smooth_motion, write_amass
from pydantic import ValidationError
from torch import Tensor

from pose_priors.body.motion import MotionWindows
from pose_priors.body.skeleton import JOINT_NAMES, MIRROR, PARENTS
from pose_priors.configs.base import UserError
from pose_priors.datamodules.clips import SMPL_STATURE
from pose_priors.datamodules.motion_data import MotionDataConfig, MotionDataModule, load_clips
from pose_priors.datamodules.motion_loader import MotionLoader, WindowArrays

FRAMES = 13


def ready(batch_size: int = 64, seed: int = 0, **data: Any) -> MotionDataModule:
    module = MotionDataModule(MotionDataConfig(**data), batch_size, seed, FRAMES)
    module.setup()
    return module


@pytest.fixture(scope="module")
def built_in() -> MotionDataModule:
    return ready(num_clips=24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve motions at 120 fps, y up, in both spellings of the frame rate; one of them twice; and four files of no use."""
    path = tmp_path_factory.mktemp("amass")
    for number in range(12):
        pose, pelvis = smooth_motion(180 + 12 * number, 120, number)
        pose, pelvis = turned_y_up(pose, pelvis)
        write_amass(path / f"walk_{number:02d}.npz", pose, pelvis, 120.0, ("mocap_framerate", "mocap_frame_rate")[number % 2])
    (path / "again").mkdir()
    shutil.copy(path / "walk_03.npz", path / "again" / "walk_03_again.npz")
    pose, pelvis = turned_y_up(*smooth_motion(100, 120, 50))
    write_amass(path / "short.npz", pose, pelvis, 120.0)
    pose[3, 5] = float("nan")
    write_amass(path / "nan.npz", pose, pelvis, 120.0)
    np.savez(path / "no_motion.npz", poses=np.zeros((200, 156)), mocap_framerate=120.0)
    np.savez(path / "something.npz", a=np.zeros(3), b=np.ones(2))
    return path


def turned_y_up(pose: Tensor, pelvis: Tensor) -> tuple[Tensor, Tensor]:
    """A motion with z up as a file with y up has it: turned by minus a quarter about x; its bodies stood at pi / 2 and now stand near 0."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec([-np.pi / 2, 0, 0])
    pose = pose.clone()
    pose[:, 0] = torch.from_numpy((turn * Rotation.from_rotvec(pose[:, 0].numpy())).as_rotvec())
    return pose, torch.from_numpy(turn.apply(pelvis.numpy()))


def batches_equal(a: MotionWindows, b: MotionWindows) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("pose", "pelvis", "rest", "contacts"))


def test_the_built_in_source_is_split_by_whole_clips(built_in: MotionDataModule) -> None:
    summary = built_in.summary()
    sides = [built_in.train_clips, built_in.val_clips, built_in.test_clips]
    assert [summary[f"{side}_clips"] for side in ("train", "val", "test")] == [len(side) for side in sides]
    names = [clip.name for side in sides for clip in side]
    assert len(set(names)) == len(names) == 24
    frames = [sum(map(len, side)) for side in sides]
    assert frames[0] > 0.7 * sum(frames)
    assert all(0.03 < frames[i] / sum(frames) < 0.2 for i in (1, 2))
    assert len({float(clip.rest.abs().sum()) for clip in built_in.train_clips}) > 5  # statures of their own
    assert all(clip.joints[..., 2].min() > -0.02 for clip in built_in.train_clips)


def test_the_fingerprint_is_of_the_content(built_in: MotionDataModule, folder: Path) -> None:
    assert int(built_in.fingerprint, 16) >= 0
    assert len(built_in.fingerprint) == 16
    assert ready(num_clips=24).fingerprint == built_in.fingerprint
    assert ready(num_clips=24, seed=1).fingerprint != built_in.fingerprint
    of_files = ready(path=str(folder)).fingerprint
    assert ready(path=str(folder / "**" / "*.npz")).fingerprint == of_files
    assert ready(path=str(folder), stature=1.6).fingerprint != of_files


def test_a_folder_of_files_is_read_counted_and_split(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        module = ready(path=str(folder))
    expected = {"files": 15, "skipped_files": 2, "duplicates": 1, "dropped_shorter_than_a_second": 1, "dropped_with_NaN": 1}
    assert {name: module.summary()[name] for name in expected} == expected
    assert "no_motion.npz" in caplog.text
    assert "dropped shorter than a second 1" in caplog.text
    clips = [*module.train_clips, *module.val_clips, *module.test_clips]
    numbers = sorted(int(clip.name[5:7]) for clip in clips)
    assert numbers == list(range(12))
    for clip in clips:
        number = int(clip.name[5:7])
        assert len(clip) == (180 + 12 * number - 1) // 4 + 1
        pose, pelvis = smooth_motion(len(clip), 30, number)
        assert torch.allclose(clip.pose[:, 1:].double(), pose[:, 1:], atol=1e-4)
        assert torch.allclose((clip.pelvis - clip.pelvis[:1]).double(), pelvis - pelvis[:1], atol=1e-4)
        assert torch.allclose(clip.rest, ready_rest(), atol=1e-6)


def ready_rest() -> Tensor:
    from pose_priors.body.builtin import rest_joints

    return rest_joints(SMPL_STATURE)[:22].float()


def test_splits_that_are_given_share_no_clip(folder: Path, tmp_path: Path) -> None:
    for name in ("walk_01.npz", "walk_02.npz"):
        shutil.copy(folder / name, tmp_path / f"other_{name}")
    module = ready(path=str(folder), test=str(tmp_path))
    assert sorted(clip.name for clip in module.test_clips) == ["other_walk_01", "other_walk_02"]
    assert not {"walk_01", "walk_02"} & {clip.name for clip in [*module.train_clips, *module.val_clips]}
    assert module.summary()["duplicates_across_splits"] == 2
    with pytest.raises(UserError, match=r"val split is empty: what .* gives \(2 clips\) is also in another"):
        ready(path=str(folder), val=str(tmp_path), test=str(tmp_path))


def test_mistakes_are_one_line(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "walk_00.npz", tmp_path / "only.npz")
    with pytest.raises(UserError, match=r"the (train|val|test) split is empty: .* gives 1 clip .*data\.val_fraction") as caught:
        ready(path=str(tmp_path / "only.npz"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no trans or transl"):
        ready(path=str(folder / "no_motion.npz"))
    with pytest.raises(UserError, match=r"holds no motion that can be used \(files 1, dropped shorter than a second 1"):
        load_clips(str(folder / "short.npz"))
    assert len(load_clips(str(folder))) == 12
    for wrong in ({"path": "a", "train": "b"}, {"val": "a"}, {"val_fraction": 0.6, "test_fraction": 0.5}, {"up_axis": "up"}, {"fps": 0.0}):
        with pytest.raises(ValidationError):
            MotionDataConfig(**wrong)


def test_clips_shorter_than_a_window_are_dropped_and_counted() -> None:
    long = MotionDataModule(MotionDataConfig(num_clips=24), 64, 0, 100)
    long.setup()
    clips = [*long.train_clips, *long.val_clips, *long.test_clips]
    assert min(map(len, clips)) >= 100
    assert long.summary()["dropped_shorter_than_a_window"] == 24 - len(clips) > 0
    assert next(iter(long.train_dataloader())).pose.shape == (64, 100, 22, 3)


def test_an_epoch_holds_every_window_once(built_in: MotionDataModule) -> None:
    plain = MotionLoader(WindowArrays(built_in.train_clips, FRAMES), 200, seed=1, shuffle=True)
    seen = {window.numpy().tobytes() for batch in plain for window in batch.pelvis}
    expected = {
        clip.pelvis[first : first + FRAMES].numpy().tobytes() for clip in built_in.train_clips for first in range(len(clip) - FRAMES + 1)
    }
    assert seen == expected
    assert sum(len(batch) for batch in plain) == sum(len(clip) - FRAMES + 1 for clip in built_in.train_clips) == len(plain.windows)


def test_windows_are_the_frames_of_their_clip(built_in: MotionDataModule) -> None:
    windows = WindowArrays(built_in.val_clips, FRAMES, FRAMES)
    at = 0
    for clip in built_in.val_clips:
        for first in range(0, len(clip) - FRAMES + 1, FRAMES):
            batch, frames = windows.gather(np.array([at])), slice(first, first + FRAMES)
            assert torch.equal(batch.pose[0], clip.pose[frames])
            assert torch.equal(batch.pelvis[0], clip.pelvis[frames])
            assert torch.equal(batch.contacts[0], clip.contacts[frames])
            assert torch.equal(batch.rest[0], clip.rest)
            at += 1
    assert at == len(windows)
    assert windows.clips[0].pose.untyped_storage().data_ptr() == windows.pose.untyped_storage().data_ptr()


def test_held_out_windows_are_as_they_are_and_always_the_same(built_in: MotionDataModule) -> None:
    loader = built_in.val_dataloader()
    first = list(loader)
    loader.set_epoch(3)
    assert all(batches_equal(a, b) for a, b in zip(first, loader, strict=True))
    assert torch.equal(first[0].pose[0], built_in.val_clips[0].pose[:FRAMES])
    assert sum(map(len, first)) == sum(len(clip) // FRAMES for clip in built_in.val_clips)
    assert sum(map(len, built_in.test_dataloader())) == sum(len(clip) // FRAMES for clip in built_in.test_clips)


def test_half_of_the_windows_are_mirrored(built_in: MotionDataModule) -> None:
    windows = WindowArrays(built_in.train_clips, FRAMES)
    mixed = next(iter(MotionLoader(windows, len(windows), seed=2, mirror=True)))
    plain = windows.gather(np.arange(len(windows)))
    mirrored = (mixed.pelvis == plain.mirrored().pelvis).flatten(1).all(1)
    assert 0.45 < mirrored.float().mean() < 0.55
    for value, kept, flipped in ((getattr(w, n) for w in (mixed, plain, plain.mirrored())) for n in ("pose", "pelvis", "rest", "contacts")):
        assert torch.equal(value[mirrored], flipped[mirrored])
        assert torch.equal(value[~mirrored], kept[~mirrored])


def test_skeletons_vary_but_for_the_legs_and_the_same_on_both_sides(built_in: MotionDataModule) -> None:
    windows = WindowArrays(built_in.train_clips, FRAMES)
    batch = next(iter(MotionLoader(windows, len(windows), seed=2, vary_skeleton=0.03)))
    plain = windows.gather(np.arange(len(windows)))
    bones, was = ((w.rest[:, 1:] - w.rest[:, list(PARENTS[1:22])]) for w in (batch, plain))
    factors = bones.norm(dim=-1) / was.norm(dim=-1)
    assert torch.allclose(bones, factors[..., None] * was, atol=1e-5)  # directions stay
    drawn = []
    for joint in range(1, 22):
        column = factors[:, joint - 1]
        assert torch.allclose(column, factors[:, MIRROR[joint] - 1], atol=1e-4)
        if JOINT_NAMES[joint].endswith(("hip", "knee", "ankle", "foot")):
            assert torch.allclose(column, torch.ones(()), atol=1e-4)
        elif joint <= MIRROR[joint]:
            assert abs(column.mean() - 1) < 0.005
            assert 0.024 < column.std() < 0.031  # normal, cut at two standard deviations: 0.88 of it
            assert 0.055 < (column - 1).abs().max() < 0.0602
            drawn.append(column)
    assert len(drawn) == 9
    off_diagonal = torch.corrcoef(torch.stack(drawn)) - torch.eye(9)
    assert off_diagonal.abs().max() < 0.1
    assert torch.equal(batch.pose, plain.pose)


def test_batches_depend_on_seed_and_epoch_alone(built_in: MotionDataModule) -> None:
    def epoch(seed: int, number: int) -> list[MotionWindows]:
        module = built_in if seed == 0 else ready(num_clips=24, seed=seed)
        loader = module.train_dataloader()
        loader.set_epoch(number)
        return list(loader)

    once, again, other = epoch(0, 2), epoch(0, 2), epoch(0, 3)
    assert len(once) == built_in.summary()["train_windows"] // 64
    assert all(batches_equal(a, b) for a, b in zip(once, again, strict=True))
    assert not batches_equal(once[0], other[0])


@pytest.mark.parametrize("stop", [0, 2, 5])
def test_a_state_goes_on_bit_for_bit_in_the_middle_of_an_epoch(built_in: MotionDataModule, stop: int) -> None:
    loader = built_in.train_dataloader()
    loader.sampler.set_epoch(4)
    whole = list(loader)
    batches = iter(loader)
    for _ in range(stop):
        next(batches)
    resumed = built_in.train_dataloader()
    resumed.load_state_dict(loader.state_dict() if stop else {"epoch": 4, "rows": 0})
    resumed.sampler.set_epoch(4)
    rest = list(resumed)
    assert len(rest) == len(whole) - stop
    assert all(batches_equal(a, b) for a, b in zip(rest, whole[stop:], strict=True))


def test_ranks_share_the_windows_of_an_epoch(built_in: MotionDataModule) -> None:
    windows = WindowArrays(built_in.train_clips, FRAMES)
    options = {"seed": 3, "shuffle": True, "mirror": True, "vary_skeleton": 0.03}
    alone = list(MotionLoader(windows, 60, **options))
    shared = [list(MotionLoader(windows, 20, rank=rank, world_size=3, **options)) for rank in range(3)]
    for number, batch in enumerate(alone[:-1]):
        for rank in range(3):
            assert torch.equal(shared[rank][number].pose, batch.pose[rank::3])
            assert torch.equal(shared[rank][number].rest, batch.rest[rank::3])


def test_more_processes_than_windows_are_refused(built_in: MotionDataModule) -> None:
    module = ready(num_clips=24)
    module.trainer = SimpleNamespace(global_rank=0, world_size=10_000)
    for loader in (module.train_dataloader, module.val_dataloader):
        with pytest.raises(UserError, match="windows for 10000 processes"):
            loader()


def test_the_training_sample_is_of_training_windows(built_in: MotionDataModule) -> None:
    sample = built_in.training_sample(300)
    assert sample.pose.shape == (300, FRAMES, 22, 3)
    assert batches_equal(sample, built_in.training_sample(300))
    heights = {float(z) for clip in built_in.train_clips for z in clip.pelvis[:, 2]}
    assert {float(z) for z in sample.pelvis[..., 2].flatten()} <= heights
    assert len(built_in.training_sample(10**6)) == built_in.summary()["train_windows"]
