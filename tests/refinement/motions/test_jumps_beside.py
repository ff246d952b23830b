"""Frames that are made up beside ones that jump: the jump gives them neither its speed nor its place."""

from __future__ import annotations

import numpy as np
import pytest
from walking_files import WALKER_FPS, walker

from pose_priors.body.builtin import rest_joints
from pose_priors.datamodules.clips import SMPL_STATURE
from pose_priors.refinement.motions.faults.frozen import frozen, repeated
from pose_priors.refinement.motions.motion import Motion, quat_of
from pose_priors.refinement.motions.repair.beside import jumps_beside
from pose_priors.refinement.motions.restore import restore

REST = rest_joints(SMPL_STATURE)[:22].numpy()
KNEE, ELBOW = 4, 18
BEGIN, END = 60, 90


def motion_of(pose: np.ndarray, pelvis: np.ndarray, known: np.ndarray | None = None) -> Motion:
    known = np.ones(len(pose), dtype=bool) if known is None else known
    return Motion(quat_of(pose), pelvis, REST, SMPL_STATURE, WALKER_FPS, known)


@pytest.fixture(scope="module")
def walk() -> tuple[np.ndarray, np.ndarray]:
    pose, pelvis = walker(4.0)
    return pose[:, :22], pelvis


def jumping(pose: np.ndarray, frame: int, joints: tuple[int, ...] = (KNEE, ELBOW)) -> np.ndarray:
    pose = pose.copy()
    pose[frame, joints, 0] += 1.2
    return pose


def error(motion: Motion, truth: Motion) -> float:
    return float(np.linalg.norm(motion.joints - truth.joints, axis=-1)[BEGIN:END].mean())


@pytest.mark.parametrize("frame", [BEGIN - 3, BEGIN - 2, BEGIN + 1, (BEGIN + END) // 2, END - 3, END + 1, END + 3])
def test_a_frozen_run_beside_a_jump_is_filled_as_without_it(frame: int, walk: tuple[np.ndarray, np.ndarray]) -> None:
    truth = motion_of(*walk)
    pose, pelvis = walk[0].copy(), walk[1].copy()
    pose[BEGIN:END], pelvis[BEGIN:END] = pose[BEGIN - 1], pelvis[BEGIN - 1]
    without = restore(motion_of(pose, pelvis))
    found = restore(motion_of(jumping(pose, frame), pelvis))
    assert found.marked["frozen"].tolist() == without.marked["frozen"].tolist()
    assert error(found.motion, truth) < 1.1 * error(without.motion, truth) + 0.002


def test_lost_frames_beside_a_jump_are_filled_as_without_it(walk: tuple[np.ndarray, np.ndarray]) -> None:
    truth = motion_of(*walk)
    known = np.ones(len(walk[0]), dtype=bool)
    known[BEGIN:END] = False
    pose, pelvis = walk[0].copy(), walk[1].copy()
    pose[~known], pelvis[~known] = pose[END], pelvis[END]
    without = restore(motion_of(pose, pelvis, known))
    for frame in (BEGIN - 3, END + 2):
        found = restore(motion_of(jumping(pose, frame), pelvis, known))
        assert error(found.motion, truth) < 1.1 * error(without.motion, truth) + 0.002


def test_a_rest_on_which_something_jumps_is_not_frozen(walk: tuple[np.ndarray, np.ndarray]) -> None:
    # slows down within a third of a second, rests for half of one, goes on
    speed = np.concatenate([np.ones(80), np.linspace(1, 0, 20), np.zeros(30), np.linspace(0, 1, 20), np.ones(60)])
    at = np.concatenate([[0], np.cumsum(speed)])
    frames = np.arange(len(walk[0]))
    flat = walk[0].reshape(len(frames), -1)
    pose = np.stack([np.interp(at, frames, column) for column in flat.T], 1).reshape(len(at), 22, 3)
    pelvis = np.stack([np.interp(at, frames, column) for column in walk[1].T], 1)
    assert frozen(motion_of(pose, pelvis)).max() == 0
    jumps = motion_of(jumping(pose, 115), pelvis)
    assert repeated(jumps)[100:129].all()
    assert not jumps_beside(jumps)[101:129].any()
    found = restore(jumps)
    assert not found.marked["frozen"].any()
    assert np.flatnonzero(found.marked["pop"]).tolist() == [115]
