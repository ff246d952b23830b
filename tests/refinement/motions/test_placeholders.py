"""Rows that a tool fills itself, and says so, are no poses of anybody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from walking_files import walker

from pose_priors.clean import main as clean
from pose_priors.configs.base import UserError
from pose_priors.refinement.motions.files.read import read_motions

LOST = slice(20, 26)


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
