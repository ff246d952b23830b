"""The benchmark of faults of motions: each injection does what it says, and the tables come out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pose_priors.benchmarks.motions.__main__ import main
from pose_priors.benchmarks.motions.injection import INJECTIONS
from pose_priors.benchmarks.motions.recorded import faults_of_recording
from pose_priors.configs.base import UserError
from pose_priors.refinement.motions.motion import quat_of
from pose_priors.refinement.motions.sizing import sized

FPS = 30.0


def swinging(num: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """Limbs that swing, left and right against each other, on a path along x."""
    time = np.arange(num) / FPS
    pose = np.zeros((num, 22, 3))
    pose[:, 0] = [2 * np.pi / (3 * 3**0.5)] * 3  # y to z: upright
    pose[:, 1, 0], pose[:, 2, 0] = 0.5 * np.sin(6 * time), -0.5 * np.sin(6 * time)
    pose[:, 16, 2], pose[:, 17, 2] = -1.2, 1.2
    return pose, np.stack([time, 0 * time, 0.95 + 0 * time], 1)


@pytest.mark.parametrize("kind", INJECTIONS)
def test_only_marked_frames_have_a_fault_and_a_seed_gives_the_same(kind: str) -> None:
    pose, trans = swinging()
    first, again, other = (INJECTIONS[kind](pose, trans, FPS, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first.pose, again.pose)
    assert np.array_equal(first.trans, again.trans)
    assert not (np.array_equal(first.pose, other.pose) and np.array_equal(first.trans, other.trans))
    assert first.marked.any()
    assert np.array_equal(pose, swinging()[0])  # what was given stays
    changed = (np.abs(first.pose - pose).max((1, 2)) > 1e-12) | (np.abs(first.trans - trans).max(1) > 1e-12)
    assert changed[first.marked].mean() > 0.9
    if kind in ("pops", "frozen", "swaps", "jitter"):
        assert not changed[~first.marked].any()
    if kind == "frozen":
        begin = int(np.flatnonzero(first.marked)[0])
        assert np.array_equal(first.pose[begin], first.pose[begin - 1])
    if kind == "shortened":
        length = [np.linalg.norm(np.diff(path, axis=0), axis=-1).sum() for path in (first.trans, trans)]
        assert 0.4 <= length[0] / length[1] <= 0.75


def test_tables_of_what_is_found_and_cleaned(tmp_path: Path) -> None:
    pose, trans = swinging()
    (tmp_path / "data").mkdir()
    for number in range(2):
        np.savez(tmp_path / f"data/{number}.npz", poses=np.pad(pose.reshape(90, -1), ((0, 0), (0, 6))), trans=trans, fps=FPS)
    found = main(["--data", str(tmp_path / "data"), "--output", str(tmp_path / "out"), "--clips", "14"])
    assert set(found) == {"found", "cleaned"}
    rows = json.loads((tmp_path / "out/metrics.json").read_text())["tables"]["found"]["rows"]
    assert set(rows) <= {*INJECTIONS, "all"}
    assert rows["swaps"]["frames: score of the kind"] > 0.95
    with pytest.raises(UserError, match="no npz"):
        main(["--data", str(tmp_path / "out"), "--output", "x"])
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        main(["--data", str(tmp_path / "nowhere"), "--output", str(tmp_path / "other")])


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("sound", None),
        ("first frame", None),
        ("jump", "accelerated"),
        ("copies", "0.17 s of one frame"),
        ("glide", "neither foot nor hand"),
    ],
)
def test_recordings_whose_numbers_no_body_has_are_named(what: str, reason: str | None) -> None:
    pose, trans = swinging()
    trans[:, 0] *= 0.3
    if what == "first frame":
        trans[0] += 0.5
    if what == "jump":
        trans[40] += np.array([0, 0, 1.2])
    if what == "copies":
        pose[40:46], trans[40:46] = pose[40], trans[40]
    if what == "glide":
        trans[30:60, 1] += 2.0 * np.arange(30) / FPS
        trans[60:, 1] += 2.0
    motion = sized(quat_of(pose), trans, FPS, np.ones(len(pose), dtype=bool))
    told = faults_of_recording(motion)
    assert bool(told) == (reason is not None)
    if reason is not None:
        assert any(reason in line for line in told)
