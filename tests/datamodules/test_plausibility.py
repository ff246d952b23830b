"""Clips that cannot be what they say: frame rates that are none or of other types, units other than metres, speeds of nobody."""

from __future__ import annotations

import logging
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from motion_files import smooth_motion, write_amass

from pose_priors.body.motion import posed_joints
from pose_priors.body.motion_state import FPS
from pose_priors.configs.base import UserError
from pose_priors.datamodules.base import DataConfig, load_poses
from pose_priors.datamodules.cache.conversion import Conversion
from pose_priors.datamodules.cache.store import open_poses
from pose_priors.datamodules.clips import UnusableClipError, make_clip, read_clip, y_up_to_z_up
from pose_priors.datamodules.files import find_files
from pose_priors.datamodules.formats import read_poses
from pose_priors.datamodules.motion_data import MotionDataConfig, load_clips
from pose_priors.datamodules.plausibility import UNITS, find_unit, is_too_fast
from pose_priors.datamodules.synthetic.motions import synthetic_motions

RATES = {
    "uint8": np.uint8(120),
    "float16": np.float16(120),
    "int64": np.int64(120),
    "bytes": np.array(b"120.0"),
    "text": np.array(" 120 "),
    "object": np.array(120.0, dtype=object),
    "text in an object": np.array("120", dtype=object),
    "one of a list": np.array([[120]]),
}
NO_RATES = {
    "zero": 0.0,
    "negative": -120.0,
    "nan": np.nan,
    "infinite": np.inf,
    "too high": 1001.0,
    "too low": 0.5,
    "words": np.array("fast"),
    "huge": np.array(2**70, dtype=object),
    "truth": np.array(True),
    "several": np.array([120.0, 120.0]),
    "none": np.array([]),
    "object": np.array(None, dtype=object),
    "complex": np.array(120 + 0j),
    "bytes": np.array(b"\xff"),
}


@pytest.mark.parametrize("rate", RATES)
def test_a_frame_rate_of_any_type_is_read(rate: str, tmp_path: Path) -> None:
    pose, pelvis = smooth_motion(360, 120)
    path = write_amass(tmp_path / "a.npz", pose, pelvis, None, mocap_framerate=np.asarray(RATES[rate]))
    assert read_poses(path).fps == 120
    assert len(read_clip(path, fps=30.0)) == 90  # what the file says counts


@pytest.mark.parametrize("rate", NO_RATES)
def test_what_is_no_frame_rate_is_named(rate: str, tmp_path: Path) -> None:
    pose, pelvis = smooth_motion(360, 120)
    path = write_amass(tmp_path / "a.npz", pose, pelvis, None, mocap_framerate=np.asarray(NO_RATES[rate]))
    for fps in (None, 30.0):
        with pytest.raises(UserError, match=r"a\.npz: mocap_framerate is .*; a frame rate is a number from 1 to 1000"):
            read_clip(path, fps=fps)
    assert read_poses(path).fps is None  # poses are of use without


def test_frame_rates_that_differ(tmp_path: Path) -> None:
    pose, pelvis = smooth_motion(360, 120)
    both = write_amass(tmp_path / "a.npz", pose, pelvis, 120.0, mocap_frame_rate=np.array(30))
    with pytest.raises(UserError, match="mocap_framerate 120, mocap_frame_rate 30"):
        read_clip(both)
    assert len(read_clip(write_amass(tmp_path / "b.npz", pose, pelvis, 120.0, mocap_frame_rate=np.array(120)))) == 90


def test_a_frame_rate_in_a_pickle_may_be_a_list_or_text(tmp_path: Path) -> None:
    pose, pelvis = smooth_motion(360, 120)
    poses = np.zeros((360, 72))
    poses[:, :66] = pose.flatten(1)
    for number, (rate, works) in enumerate({"120": True, 120: True, (120, 120): False, 2**70: False}.items()):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(pickle.dumps({"poses": poses, "trans": pelvis.numpy(), "fps": rate}))
        if works:
            assert len(read_clip(path)) == 90
        else:
            with pytest.raises(UserError, match="fps is "):
                read_clip(path)


def test_subsampling_names_a_rate_that_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_amass(tmp_path / "a.npz", *smooth_motion(60, 30), None, mocap_framerate=np.array(0))
    assert len(open_poses([path], Conversion(subsample_fps=10)).poses) == 60
    assert "mocap_framerate is 0;" in caplog.text


@pytest.mark.parametrize("fps", [0, 0.5, 1001, -1, float("nan"), float("inf"), "30"])
def test_bounds_of_the_rates_that_a_config_gives(fps: Any) -> None:
    with pytest.raises(ValueError, match="fps"):
        MotionDataConfig(fps=fps)
    if fps != 0.5:
        with pytest.raises(ValueError, match="subsample_fps"):
            DataConfig(subsample_fps=fps)


def test_clips_without_frames_are_counted(tmp_path: Path) -> None:
    empty = {"poses": np.zeros((0, 156)), "trans": np.zeros((0, 3)), "mocap_framerate": 30.0}
    np.savez(tmp_path / "a.npz", **empty)
    with pytest.raises(UserError, match="files 1, dropped without frames 1"):
        load_clips(str(tmp_path))
    with pytest.raises(UserError, match="holds no poses"):
        load_poses(str(tmp_path))
    for num_frames in (1, 2):
        with pytest.raises(UnusableClipError, match="shorter than a second"):
            read_clip(write_amass(tmp_path / "b.npz", *smooth_motion(num_frames, 30), 30.0), trim=True, up_axis="z")
    write_amass(tmp_path / "b.npz", *smooth_motion(60, 30), 30.0)
    assert len(load_clips(str(tmp_path))) == 1


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_of_translations_is_found_by_planted_feet(unit: str) -> None:
    for motion in synthetic_motions(24, FPS, 3):
        pose, pelvis = y_up_to_z_up(motion.pose, motion.pelvis)
        joints = posed_joints(pose, torch.zeros_like(pelvis), make_clip("a", pose, pelvis, motion.stature).rest.double())
        for noise in (0.0, 0.0005) if unit != "metres" else (0.0, 0.0005, 0.01):
            generator = torch.Generator().manual_seed(0)
            noisy = pelvis + noise * torch.randn(pelvis.shape, generator=generator, dtype=torch.float64)
            found = find_unit(joints, noisy / UNITS[unit])
            # who stands and reaches may hardly move the pelvis, which says nothing of its unit then
            assert found == unit or (motion.kind == "reaching" and found == "metres"), motion.kind


def test_metres_are_not_doubted_where_feet_say_nothing() -> None:
    pose, pelvis = smooth_motion(90, 30)  # carried through the air, limbs swinging
    joints = posed_joints(pose, torch.zeros_like(pelvis), make_clip("a", pose, pelvis, 1.65).rest.double())
    for speed in (0.0, 1.0, 10.0):
        carried = pelvis * torch.tensor([speed, 1.0, 1.0])
        assert find_unit(joints, carried) == "metres"
        assert find_unit(joints[:1].expand_as(joints), carried) == "metres"


def test_speeds_of_nobody() -> None:
    at = torch.arange(60, dtype=torch.float64)[:, None] / FPS * torch.tensor([0.6, 0.8, 0.0])
    assert not is_too_fast(12 * at)
    assert is_too_fast(14 * at)
    assert is_too_fast(1e200 * at)
    thrown = 2 * at
    thrown[30:] += 5.0  # one jump
    assert not is_too_fast(thrown)
    assert not is_too_fast(at[:1])
    assert is_too_fast(at * float("nan"))


def test_files_in_centimetres_are_converted_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, motion in enumerate(synthetic_motions(3, FPS, 3)):
        pose, pelvis = y_up_to_z_up(motion.pose, motion.pelvis)
        write_amass(tmp_path / f"{number}.npz", pose, pelvis * (1.0 if number == 0 else 100.0), FPS)
    clips = load_clips(str(tmp_path), MotionDataConfig(up_axis="z"))
    assert [clip.unit for clip in clips] == ["metres", "centimetres", "centimetres"]
    assert all(torch.diff(clip.pelvis, dim=0).norm(dim=1).max() * FPS < 3 for clip in clips)
    assert f"{tmp_path}: 2 of 3 files in centimetres" in caplog.text


def test_files_of_impossible_speeds_are_dropped_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pose, pelvis = smooth_motion(60, 30)
    write_amass(tmp_path / "a.npz", pose, pelvis * 30, 30.0)
    write_amass(tmp_path / "b.npz", pose, pelvis * 1e3, 30.0)
    with pytest.raises(UserError, match=r"dropped faster than people move 2.*in metres"):
        load_clips(str(tmp_path))
    assert caplog.records[0].levelno == logging.WARNING
    assert "2 of 2 files dropped faster than people move" in caplog.text


@pytest.mark.parametrize("trans", [np.full((60, 3), "a"), np.full((60, 3), None), np.zeros((60, 3), bool), np.zeros((60, 3), complex)])
def test_translations_that_are_no_numbers(trans: np.ndarray, tmp_path: Path) -> None:
    pose, pelvis = smooth_motion(60, 30)
    with pytest.raises(UserError, match=r"trans is of .*; numbers of metres are expected"):
        read_clip(write_amass(tmp_path / "a.npz", pose, pelvis, 30.0, trans=trans))


@pytest.mark.parametrize("path", ["", " ", "~nobody-of-that-name/a", "a\0b", "x" * 5000, "\x1b[2J\n"])
def test_paths_that_no_file_can_have(path: str) -> None:
    with pytest.raises(UserError) as caught:
        find_files(path)
    assert str(caught.value).isprintable()


shapes = st.sampled_from([(), (0,), (1,), (3,), (40, 72), (40, 156), (40, 3), (40, 24, 3), (40, 10), (0, 72), (39, 3), (2, 2, 2, 2)])
dtypes = st.sampled_from(["f8", "f4", "f2", "i8", "u1", "?", "c16", "S5", "U5", "O", "M8[s]", "V3", "i4,f4"])
arrays = st.tuples(shapes, dtypes, st.sampled_from([0, 1, 30, -1, 1e30, 1e300, np.nan, np.inf]))
names = st.sampled_from(
    "poses trans transl mocap_framerate mocap_frame_rate fps betas gender global_orient body_pose smplx left_valid right_valid jaw_pose "
    "lhand_pose pose_body root_orient a".split()
)


def _array(shape: tuple[int, ...], dtype: str, value: float) -> np.ndarray:
    array = np.zeros(shape, dtype)
    with np.errstate(all="ignore"), suppress(ValueError, OverflowError, TypeError):
        array[...] = value
    return array


@settings(max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, arrays, max_size=6), st.booleans())
def test_any_arrays_are_a_motion_or_one_line(tmp_path: Path, content: dict[str, Any], with_motion: bool) -> None:
    made: dict[str, Any] = {"poses": np.zeros((40, 72)), "trans": np.zeros((40, 3)), "fps": 30.0} if with_motion else {}
    np.savez(tmp_path / "a.npz", **(made | {name: _array(*about) for name, about in content.items()}))
    for read in (lambda path: read_clip(path, up_axis="z"), read_poses):
        try:
            read(tmp_path / "a.npz")
        except UserError as error:
            said = str(error)
        except UnusableClipError:
            continue
        else:
            continue
        assert said.isprintable()
