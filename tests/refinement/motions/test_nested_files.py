"""Motions as tools nest them, cleaned and scored as the same motion in AMASS's layout is."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from walking_files import WALKER_FPS, walker, write_motion

from clean import main as clean
from pose_priors.configs.base import UserError
from pose_priors.refinement.motions.files.read import read_motions
from score import main as score

POSE, PELVIS = walker(2.5)
POPPED = POSE.copy()
POPPED[70, 17] += [0, 1.0, 0]
LOST = slice(20, 26)
SMPL = np.concatenate([POPPED[:, :22].reshape(len(POPPED), 66), np.zeros((len(POPPED), 6))], 1)


def aist(path: Path) -> Path:
    content = {"smpl_poses": SMPL, "smpl_trans": 90 * PELVIS, "smpl_scaling": np.array([90.0])}
    (file := path.with_name("dance.pkl")).write_bytes(pickle.dumps(content))
    return file


def wham(path: Path) -> Path:
    person = {"pose_world": SMPL, "trans_world": PELVIS}
    (file := path.with_name("wham_output.pkl")).write_bytes(pickle.dumps({0: person}))
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


def test_people_of_a_tool_are_each_cleaned_and_scored(tmp_path: Path) -> None:
    """The second is there from the tenth frame on; on the frames before, which nobody saw, is what the first of them holds."""
    person = {"pose_world": SMPL, "trans_world": PELVIS}
    both = {3: person | {"frame_ids": np.arange(len(SMPL))}, 8: person | {"frame_ids": np.arange(len(SMPL)) + 10}}
    source = tmp_path / "wham_output.pkl"
    source.write_bytes(pickle.dumps(both))
    clean([str(source), "--output", str(tmp_path / "out"), "--override", f"fps={WALKER_FPS}"])
    usual = write_motion(tmp_path / "usual.npz", POPPED, PELVIS, "smpl", WALKER_FPS)
    clean([str(usual), "--output", str(tmp_path / "out")])
    with np.load(tmp_path / "out/wham_output.npz") as found, np.load(tmp_path / "out/usual.npz") as alone:
        assert found["poses"].shape == (2, len(SMPL) + 10, 72)
        assert found["person_ids"].tolist() == [3, 8]
        assert found["frame_ids"].tolist() == [*range(len(SMPL) + 10)]
        for person_poses, first in zip(found["poses"], (0, 10), strict=True):
            np.testing.assert_allclose(person_poses[first : first + len(SMPL), :66], alone["poses"][:, :66], atol=1e-3)
    report = json.loads((tmp_path / "out/wham_output.pkl.report.json").read_text())
    assert [sorted(person["faults"]) for person in report["people"]] == [["missing", "pop"], ["missing", "pop"]]
    assert any("a world of its own" in note for note in report["notes"])
    rows = score([str(source), "--output", str(tmp_path / "scores")])
    assert {row["clip"] for row in rows} == {"wham_output.person_0", "wham_output.person_1"}


def test_one_of_several_people_in_degrees_is_told(tmp_path: Path) -> None:
    person = {"pose_world": SMPL, "trans_world": PELVIS}
    (source := tmp_path / "wham_output.pkl").write_bytes(pickle.dumps({0: person, 1: person | {"pose_world": np.rad2deg(SMPL)}}))
    with pytest.raises(UserError, match="are these degrees"):
        clean([str(source), "--output", str(tmp_path / "out")])


def test_clips_one_after_the_other_are_no_motion(tmp_path: Path) -> None:
    clip = {"pose_aa": SMPL, "trans_orig": PELVIS, "fps": 60}
    (source := tmp_path / "phc.pkl").write_bytes(pickle.dumps({"walk": clip, "run": clip}))
    for script in (clean, score):
        with pytest.raises(UserError, match=r"phc\.pkl: poses without a path, .*; motions with their path are expected:"):
            script([str(source), "--output", str(tmp_path / "out")])
    assert not list((tmp_path / "out").glob("*.npz"))


def test_a_file_that_a_tool_would_not_write_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.pkl").write_bytes(pickle.dumps({"smpl_poses": SMPL, "smpl_trans": PELVIS, "smpl_scaling": "big"}))
    flat(folder / "flat")
    for script in (clean, score):
        with pytest.raises(SystemExit) as ended:
            script([str(folder), "--output", str(tmp_path / "out")])
        assert ended.value.code == 1
        assert "a.pkl: 'smpl_scaling' is (str); numbers are expected" in capsys.readouterr().err
    assert (tmp_path / "out/flat.npz").is_file()
    assert (tmp_path / "out/frames/flat.npz").is_file()


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


def test_what_romp_says_of_a_video_is_cleaned_into_amass(tmp_path: Path) -> None:
    """Nobody is on the eighth image; of single images there is no motion."""
    pose = np.concatenate([POSE[:, :22].reshape(len(POSE), -1), np.zeros((len(POSE), 6))], 1)
    images: dict[str, Any] = {f"{t:06d}.jpg": {"smpl_thetas": row[None], "track_ids": np.array([4])} for t, row in enumerate(pose)}
    images["000007.jpg"] = {}
    np.savez(tmp_path / "video_results.npz", results=np.array(images, object), sequence_results=np.array({}, object))
    (outcome,) = clean([str(tmp_path / "video_results.npz"), "--output", str(tmp_path / "out")])
    assert outcome.status == "success"
    with np.load(tmp_path / "out/video_results.npz") as after:
        assert after["poses"].shape == pose.shape
        np.testing.assert_allclose(np.delete(after["poses"], 7, 0), np.delete(pose, 7, 0), atol=1e-6)
        np.testing.assert_allclose(after["poses"][7, :66], pose[[6, 8], :66].mean(0), atol=0.05)
    np.savez(tmp_path / "000001.npz", results=np.array({"smpl_thetas": pose[:1]}, object))
    with pytest.raises(UserError, match="poses without a path, as of pictures"):
        clean([str(tmp_path / "000001.npz"), "--output", str(tmp_path / "image")])


def tracked(path: Path, mask: np.ndarray) -> Path:
    """SLAHMR's file of two people who walk, with placeholders where the second one was not tracked."""
    pose, pelvis = (np.stack([array, array]).astype(np.float32) for array in walker(1.5, fps=30.0))
    pelvis[1] += (0, 2, 0)
    pose[1, LOST] = pelvis[1, LOST] = 0
    arrays = {"root_orient": pose[:, :, 0], "pose_body": pose[:, :, 1:22].reshape(*pose.shape[:2], 63), "trans": pelvis, "track_mask": mask}
    np.savez(path, **arrays)
    return path


def test_people_pass_where_they_were_not_tracked(tmp_path: Path) -> None:
    mask = np.ones((2, 45), dtype=bool)
    mask[1, LOST] = False
    source = tracked(tmp_path / "street_000300_world_results.npz", mask)
    first, second = read_motions(source).people
    assert first.known.all()
    np.testing.assert_array_equal(np.flatnonzero(~second.known), np.arange(45)[LOST])
    clean([str(source), "--output", str(tmp_path / "out")])
    before, after = np.load(source), np.load(tmp_path / "out" / source.name)
    steps = np.linalg.norm(np.diff(after["trans"][1], axis=0), axis=-1)
    assert steps.max() < 0.05  # 0.8 m/s at 30 frames a second, where placeholders jump by metres
    np.testing.assert_array_equal(after["track_mask"], before["track_mask"])


def test_marks_that_are_not_one_for_each_pose_are_refused(tmp_path: Path) -> None:
    source = tracked(tmp_path / "street_000300_world_results.npz", np.ones((2, 44), dtype=bool))
    with pytest.raises(UserError, match=r"track_mask is bool \(2, 44\); truth values \(2, 45\), one for each pose, are expected"):
        read_motions(source)


def test_a_folder_that_goes_while_it_is_looked_through_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(tmp_path / "gone"))

    monkeypatch.setattr(Path, "rglob", gone)
    with pytest.raises(UserError, match=f"^{tmp_path}: cannot be looked through .*gone"):
        clean([str(tmp_path), "--output", str(tmp_path.with_name("cleaned"))])
