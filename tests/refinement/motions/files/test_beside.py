"""What files hold beside the 22 joints is finite where frames were filled, between what it was on both sides, and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp
from walking_files import WALKER_FPS, walker, write_motion

from pose_priors.clean import main as clean
from pose_priors.refinement.motions import cleaning
from pose_priors.refinement.motions.files.beside import Beside, completed

POSE, PELVIS = walker(1.0)
POSE[:, 22:] = np.random.default_rng(0).normal(0, 0.5, (1, 33, 3)) + 0.3 * np.sin(np.arange(len(POSE)) / 7)[:, None, None]
LOST = slice(20, 26)
FEW = {"smpl": 24, "smplh": 52, "smplx": 55, "array": 24}


def cleaned(source: Path, tmp_path: Path) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    clean([str(source), "--output", str(tmp_path / "out")])
    report = json.loads((tmp_path / f"out/{source.name}.report.json").read_text())
    content = np.load(tmp_path / "out" / source.name)
    arrays = {"array": content} if isinstance(content, np.ndarray) else {name: content[name] for name in content.files}
    return arrays, report["people"][0]["beside"]


def between(rotvec: np.ndarray) -> np.ndarray:
    """(6, J, 3) by scipy's slerp between the frames before and behind those that are lost."""
    ends = [LOST.start - 1, LOST.stop]
    at = np.arange(LOST.start, LOST.stop)
    return np.stack([Slerp(ends, Rotation.from_rotvec(joint[ends]))(at).as_rotvec() for joint in rotvec.transpose(1, 0, 2)], 1)


@pytest.mark.parametrize("layout", FEW)
def test_hands_and_fingers_of_frames_that_were_filled(layout: str, tmp_path: Path) -> None:
    pose = POSE.copy()
    pose[LOST] = np.nan
    source = write_motion(tmp_path / f"clip.{'npy' if layout == 'array' else 'npz'}", pose, PELVIS, layout)
    arrays, told = cleaned(source, tmp_path)
    name = "array" if layout == "array" else "poses"
    poses = arrays[name].reshape(len(POSE), FEW[layout], 3)
    assert np.isfinite(poses).all()
    whole = POSE[:, [*range(22), *range(25, 55)]] if layout == "smplh" else POSE[:, : FEW[layout]]
    kept = np.delete(np.arange(len(POSE)), LOST)
    assert np.array_equal(poses[kept], whole[kept].astype(poses.dtype))
    np.testing.assert_allclose(poses[LOST, 22:], between(whole[:, 22:]), atol=1e-6)
    assert [told[0][key] for key in ("array", "filled", "by", "left")] == [name, [[20, 25]], "slerp", []]
    assert told[0]["numbers"] == [66, 3 * FEW[layout] - 1]


def test_arrays_of_their_own_and_joints_that_are_lost_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    parts = {"pose_hand": POSE[:, 25:].reshape(len(POSE), -1).copy(), "jaw_pose": POSE[:, 22].copy()}
    values = {"betas": rng.normal(size=(len(POSE), 10)), "left_hand_pose": rng.normal(size=(len(POSE), 12))}
    values["notes"] = np.full((len(POSE), 2), np.nan)
    parts["pose_hand"][LOST, :6] = np.nan  # of one frame's body all else is there
    parts["jaw_pose"][:] = np.nan
    values["betas"][LOST, 3] = np.nan
    values["left_hand_pose"][LOST] = np.inf
    source = tmp_path / "clip.npz"
    body = {"root_orient": POSE[:, 0], "pose_body": POSE[:, 1:22].reshape(len(POSE), -1), "trans": PELVIS, "fps": np.array(WALKER_FPS)}
    np.savez(source, **body, **parts, **values)
    arrays, told = cleaned(source, tmp_path)
    ends = LOST.start - 1, LOST.stop
    share = (np.arange(LOST.start, LOST.stop) - ends[0])[:, None] / (ends[1] - ends[0])
    fingers = arrays["pose_hand"].reshape(len(POSE), 30, 3)
    np.testing.assert_allclose(fingers[LOST, :2], between(POSE[:, 25:27]), atol=1e-6)
    assert np.array_equal(fingers[:, 2:], POSE[:, 27:])
    for name, lost in (("betas", [3]), ("left_hand_pose", range(12))):
        found, before = arrays[name], values[name]
        np.testing.assert_allclose(found[LOST][:, lost], (before[ends[0]] * (1 - share) + before[ends[1]] * share)[:, lost])
        assert np.array_equal(found[np.isfinite(before)], before[np.isfinite(before)])
    for name, array in body.items():
        assert np.array_equal(arrays[name], array)
    assert np.isnan(arrays["jaw_pose"]).all()
    assert np.isnan(arrays["notes"]).all()
    by = {part["array"]: (part["by"], part["filled"], part["left"]) for part in told}
    filled = [[20, 25]]
    assert by == {
        "pose_hand": ("slerp", filled, []),
        "jaw_pose": ("slerp", [], [{"stretches": [[0, len(POSE) - 1]], "why": "no frame has it"}]),
        "betas": ("lerp", filled, []),
        "left_hand_pose": ("lerp", filled, []),
    }


def test_rotation_matrices_single_numbers_and_each_number_of_a_row(tmp_path: Path) -> None:
    """Only what is missing changes, and a matrix stays one."""
    waves = np.sin(np.arange(len(POSE)) / 5)
    matrices = Rotation.from_rotvec(POSE[:, 25:40].reshape(-1, 3)).as_matrix().reshape(len(POSE), 15, 3, 3)
    parts = {
        "left_hand_pose": matrices.copy(),
        "rhand_pose": matrices.reshape(len(POSE), 135).astype(np.float32),
        "expression": waves.copy(),
        "betas": np.stack([waves, waves**2], 1),
        "marker_data": np.ones((len(POSE), 4, 3)),
        "shapes": np.full(len(POSE), 0.5),  # one shape, which has as many numbers as there are frames
    }
    lost = {
        "left_hand_pose": (LOST, 2),
        "rhand_pose": (LOST, slice(0, 9)),
        "expression": LOST,
        "betas": (LOST, 1),
        "marker_data": (LOST, 3),
        "shapes": LOST,
    }
    for name, array in parts.items():
        array[lost[name]] = np.nan
    source = tmp_path / "clip.npz"
    body = {"root_orient": POSE[:, 0], "pose_body": POSE[:, 1:22].reshape(len(POSE), -1), "trans": PELVIS, "fps": np.array(WALKER_FPS)}
    np.savez(source, **body, **parts)
    arrays, told = cleaned(source, tmp_path)
    for name, array in parts.items():
        there = np.isfinite(array)
        assert np.array_equal(arrays[name][there], array[there]), name
        assert np.isfinite(arrays[name]).all() == (name not in {"marker_data", "shapes"})
    found = arrays["left_hand_pose"][LOST, 2]
    np.testing.assert_allclose(found, Rotation.from_rotvec(between(POSE[:, 27:28])[:, 0]).as_matrix(), atol=1e-6)
    found = arrays["rhand_pose"][LOST, :9].reshape(-1, 3, 3)
    np.testing.assert_allclose(found, Rotation.from_rotvec(between(POSE[:, 25:26])[:, 0]).as_matrix(), atol=1e-6)
    share = (np.arange(LOST.start, LOST.stop) - (LOST.start - 1)) / (LOST.stop - LOST.start + 1)
    for found, values in ((arrays["expression"], waves), (arrays["betas"][:, 1], waves**2)):
        np.testing.assert_allclose(found[LOST], values[LOST.start - 1] * (1 - share) + values[LOST.stop] * share)
    assert {part["array"]: part["by"] for part in told} == {
        "left_hand_pose": "slerp",
        "rhand_pose": "slerp",
        "expression": "lerp",
        "betas": "lerp",
    }
    assert all(part["filled"] == [[20, 25]] for part in told)
    notes = json.loads((tmp_path / "out/clip.npz.report.json").read_text())["notes"]
    assert [f"marker_data is not finite on 6 of {len(POSE)} frames" in note for note in notes] == [True]


def test_what_is_beside_is_completed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(cleaning, "completed", lambda part, *rows: asked.append(part.name) or completed(part, *rows))
    cleaned(write_motion(tmp_path / "clip.npz", POSE, PELVIS, "smplx"), tmp_path)
    assert asked == ["poses", "dmpls"]


def test_the_ends_are_held() -> None:
    rows = np.arange(18.0).reshape(6, 3) / 20
    rows[:2] = rows[5] = np.nan
    done = completed(Beside("jaw_pose", 0, "vectors"), rows)
    assert np.array_equal(done.rows, rows[[2, 2, 2, 3, 4, 4]])
    assert done.filled.tolist() == [True, True, False, False, False, True]
    assert not done.left.any()


def test_what_people_share_and_what_is_complex_is_told(tmp_path: Path) -> None:
    poses = np.stack([POSE.reshape(len(POSE), -1)] * 2)
    others = {"stamps": np.ones(len(POSE)), "expression": np.ones((len(POSE), 10)), "spectrum": np.ones((2, len(POSE), 3), complex)}
    others["stamps"][:2] = others["expression"][3:5, 1] = others["spectrum"][:, 5:8] = np.nan
    source = tmp_path / "clip.npz"
    np.savez(source, poses=poses, trans=np.stack([PELVIS, PELVIS + 1]), fps=np.array(WALKER_FPS), betas=np.full((2, 10), np.nan), **others)
    arrays, told = cleaned(source, tmp_path)
    assert told == []
    assert all(np.array_equal(arrays[name], array, equal_nan=True) for name, array in others.items())
    notes = json.loads((tmp_path / "out/clip.npz.report.json").read_text())["notes"]
    found = sorted(note.split(":")[0] for note in notes if "is not finite on" in note)
    frames = len(POSE)
    assert found == sorted(
        f"{name} is not finite on {number} of {num} frames"
        for name, number, num in (("stamps", 2, frames), ("expression", 2, frames), ("spectrum", 6, 2 * frames))
    )
