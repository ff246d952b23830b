"""Motions as tools nest them, cleaned and scored as the same motion in AMASS's layout is."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from walking_files import WALKER_FPS, walker, write_motion

from clean import main as clean
from pose_priors.configs.base import UserError
from score import main as score

POSE, PELVIS = walker(2.5)
POPPED = POSE.copy()
POPPED[70, 17] += [0, 1.0, 0]
SMPL = np.concatenate([POPPED[:, :22].reshape(len(POPPED), 66), np.zeros((len(POPPED), 6))], 1)


def aist(path: Path) -> Path:
    content = {"smpl_poses": SMPL, "smpl_trans": 90 * PELVIS, "smpl_scaling": np.array([90.0])}
    (file := path.with_name("dance.pkl")).write_bytes(pickle.dumps(content))
    return file


def wham(path: Path, people: int = 1) -> Path:
    person = {"pose_world": SMPL, "trans_world": PELVIS}
    (file := path.with_name("wham_output.pkl")).write_bytes(pickle.dumps(dict.fromkeys(range(people), person)))
    return file


def gvhmr(path: Path, name: str = "hmr4d_results.pt") -> Path:
    numbers = torch.from_numpy(SMPL).float()
    params = {"global_orient": numbers[:, :3], "body_pose": numbers[:, 3:66], "transl": torch.from_numpy(PELVIS).float()}
    torch.save({"smpl_params_global": params, "K_fullimg": torch.eye(3)}, path.with_name(name))
    return path.with_name(name)


def phc(path: Path) -> Path:
    clip = {"pose_aa": SMPL.reshape(-1, 24, 3), "trans_orig": PELVIS, "fps": 60}
    (file := path.with_name("phc.pkl")).write_bytes(pickle.dumps({"walk": clip}))
    return file


def flat(path: Path) -> Path:
    content = {
        "global_orient": SMPL[:, :3],
        "body_pose": SMPL[:, 3:],
        "transl": PELVIS,
        "betas": np.arange(10.0),
        "fps": 60,
        "file": 7,
        "of": {},
    }
    (file := path.with_name("flat.pkl")).write_bytes(pickle.dumps(content))
    return file


@pytest.mark.parametrize(("write", "fps"), [(aist, 60.0), (wham, None), (gvhmr, None), (phc, 60.0), (flat, None)])
def test_a_motion_of_a_tool_is_cleaned_as_the_same_motion_of_amass(
    write: Callable[[Path], Path], fps: float | None, tmp_path: Path
) -> None:
    rate = 30.0 if write is gvhmr else WALKER_FPS  # of GVHMR's files, which do not say
    source = write(tmp_path / "file")
    usual = write_motion(tmp_path / "usual.npz", POPPED, PELVIS, "smpl", rate)
    for file in (source, usual):
        clean([str(file), "--output", str(tmp_path / "out"), "--override", f"fps={rate}"])
    with np.load(tmp_path / "out" / source.with_suffix(".npz").name) as found, np.load(tmp_path / "out/usual.npz") as expected:
        poses = found["poses"] if "poses" in found else np.concatenate([found["global_orient"], found["body_pose"]], 1)
        np.testing.assert_allclose(poses[:, :66], expected["poses"][:, :66], atol=1e-5)
        np.testing.assert_allclose(found["trans" if "trans" in found else "transl"], expected["trans"], atol=1e-5)
        assert (np.abs(poses[70, 51:54] - POSE[70, 17]) < 0.02).all()
        assert float(found["fps" if write is flat else "mocap_framerate"]) == rate
        if write is flat:
            assert set(found.files) == {"global_orient", "body_pose", "transl", "betas", "fps", "file"}
            assert found["betas"].tolist() == list(range(10))
        if fps is not None:
            assert float(found["mocap_framerate"]) == fps
    (row,) = score([str(source), "--output", str(tmp_path / "scores")])
    assert (row["file"], row["num_frames"]) == (source.name, len(POSE))


def test_people_or_clips_one_after_the_other_are_no_motion(tmp_path: Path) -> None:
    for script in (clean, score):
        with pytest.raises(UserError, match=r"wham_output\.pkl: poses without a path, .*; a motion of one person is expected:"):
            script([str(wham(tmp_path / "file", people=2)), "--output", str(tmp_path / "out")])
    assert not list((tmp_path / "out").glob("*.npz"))


def test_of_torchs_files_in_a_folder_those_of_motions_are_looked_for(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    gvhmr(folder / "file")
    torch.save({"bbx_xyxy": torch.zeros(5, 4)}, folder / "bbx.pt")
    assert [outcome.status for outcome in clean([str(folder), "--output", str(tmp_path / "out")])] == ["success"]
    assert (tmp_path / "out/hmr4d_results.npz").is_file()
    other = gvhmr(tmp_path / "file", "mine.pt")
    assert [outcome.status for outcome in clean([str(other), "--output", str(tmp_path / "out")])] == ["success"]
    with pytest.raises(UserError, match=r"bbx\.pt: no motion of a layout that is read; it holds bbx_xyxy"):
        clean([str(folder / "bbx.pt"), "--output", str(tmp_path / "out")])
