"""Paths that are too short for the strides along them, and glides: what is told of them, and what becomes of the path."""

from __future__ import annotations

import numpy as np
import pytest
from walking_files import WALKER_FPS, walker

from pose_priors.body.builtin import rest_joints
from pose_priors.datamodules.clips import SMPL_STATURE
from pose_priors.refinement.motions.faults.shortness import lacking
from pose_priors.refinement.motions.faults.support import find_support
from pose_priors.refinement.motions.motion import Motion, quat_of
from pose_priors.refinement.motions.restore import restore

REST = rest_joints(SMPL_STATURE)[:22].numpy()
POSE, PATH = walker(4.0)


def motion_of(path: np.ndarray, pose: np.ndarray = POSE) -> Motion:
    return Motion(quat_of(pose[:, :22]), path, REST, SMPL_STATURE, WALKER_FPS, np.ones(len(path), dtype=bool))


def shorter(share: float) -> np.ndarray:
    return PATH[0] + (PATH - PATH[0]) * [share, share, 1]


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_a_short_path_is_as_long_as_the_strides(share: float) -> None:
    """Feet that stand at rest, which real ones do not, are drawn out by the share by which real ones roll."""
    motion = motion_of(shorter(share))
    found = restore(motion)
    assert found.marked["shortened"].mean() > 0.9
    assert not found.marked["sliding"].any()
    assert np.array_equal(found.motion.pelvis[0], motion.pelvis[0])
    assert np.array_equal(found.motion.pelvis[:, 2], motion.pelvis[:, 2])
    length = np.linalg.norm(found.motion.pelvis[-1] - found.motion.pelvis[0]) / np.linalg.norm(PATH[-1] - PATH[0])
    assert 0.95 < length < 1.06
    # what it lacked is told by frame, in metres a second over 0.15
    lacked = (1 - share) * np.gradient(PATH[:, 0]).mean() * WALKER_FPS
    assert np.median(found.path["shortened"]) == pytest.approx(lacked / 0.15, rel=0.35)


def test_what_lacks_is_asked_of_soles_that_stand() -> None:
    motion = motion_of(shorter(0.5))
    sure, lacks = lacking(motion, find_support(motion, ~motion.known))
    assert 0.7 < sure <= lacks < 1.1
    sure, lacks = lacking(motion_of(PATH), find_support(motion_of(PATH), ~motion.known))
    assert abs(sure) < 0.05
    still = motion_of(np.repeat(PATH[:1], len(PATH), 0))
    assert all(np.isnan(lacking(still, find_support(still, ~motion.known))))


def test_a_path_that_is_short_for_a_part_of_the_way_is_not_drawn_out_as_a_whole() -> None:
    path = PATH.copy()
    step = np.diff(PATH[:, 0], prepend=0)
    step[: len(step) // 2] *= 0.5
    path[:, 0] = np.cumsum(step)
    found = restore(motion_of(path))
    assert not found.marked["shortened"].any()
    assert found.marked["sliding"][: len(step) // 2].mean() > 0.8


def test_a_glide_is_followed_to_where_it_ends() -> None:
    """Beyond the frames that are marked as sliding, whose median of a second says less at the ends."""
    gliding = np.zeros(len(PATH))
    gliding[70:150] = 0.5
    glided = PATH + np.cumsum(gliding)[:, None] / WALKER_FPS * np.array([0, 1.0, 0])
    found = restore(motion_of(glided))
    assert found.marked["sliding"].any()
    assert np.abs(found.motion.pelvis[-1] - PATH[-1]).max() < 0.06
    assert np.abs(found.motion.pelvis[:40] - PATH[:40]).max() == 0


def test_glides_this_way_and_that_are_told_and_left() -> None:
    turn = 2 * np.pi * np.arange(len(PATH)) / WALKER_FPS / 1.6
    glided = PATH + np.cumsum(np.stack([0 * turn, np.cos(turn), 0 * turn], 1) * 0.8, 0) / WALKER_FPS
    found = restore(motion_of(glided))
    assert np.array_equal(found.motion.pelvis, glided)


def test_a_glide_of_somebody_who_sways_is_taken_out_and_the_swaying_stays() -> None:
    pose, pelvis = walker(8.0)
    time = np.arange(len(pelvis)) / WALKER_FPS
    sways = pelvis + np.outer(0.15 * 1.2 / (2 * np.pi) * np.sin(2 * np.pi * time / 1.2), [1, 0, 0])
    glides = sways + np.outer(np.clip(time - 2, 0, 2.5) * 0.4, [0, 1, 0])
    found = restore(motion_of(glides, pose))
    assert not found.left["sliding"]
    assert np.linalg.norm(found.motion.pelvis - sways, axis=-1).mean() < 0.15 * np.linalg.norm(glides - sways, axis=-1).mean()
