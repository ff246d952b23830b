"""Known frames that jump beside missing ones are told and mended, and gaps are filled as without them; what is fast there stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from walking_files import WALKER_FPS, walker

from pose_priors.body.builtin import rest_joints
from pose_priors.datamodules.clips import SMPL_STATURE
from pose_priors.refinement.motions.motion import Motion, quat_of
from pose_priors.refinement.motions.repair.edges import jumping_edges
from pose_priors.refinement.motions.restore import BRIDGED, BRIDGED_S, restore

REST = rest_joints(SMPL_STATURE)[:22].numpy()
POSE, PELVIS = (part[:, :22] if part.ndim == 3 else part for part in walker(2.0))
NUM = len(POSE)
BEGIN, END = 60, 75
ROOT, KNEE, ELBOW = 0, 4, 18


def motion_of(pose: np.ndarray, pelvis: np.ndarray, lost: np.ndarray | list[int], fps: float = WALKER_FPS) -> Motion:
    """With missing frames held, as read."""
    known = ~np.isin(np.arange(len(pose)), lost)
    at = np.flatnonzero(known)
    nearest = at[np.searchsorted(at, np.arange(len(pose))).clip(max=len(at) - 1)]
    return Motion(quat_of(pose[nearest]), pelvis[nearest], REST, SMPL_STATURE, fps, known)


def jumping(frames: tuple[int, ...], kind: str) -> tuple[np.ndarray, np.ndarray]:
    pose, pelvis = POSE.copy(), PELVIS.copy()
    for frame in frames:
        if kind == "path":
            pelvis[frame] += [0.1, 0.2, 0.1]
        else:
            pose[frame, {"joints": [KNEE, ELBOW], "root": [ROOT]}[kind], 0] += 1.0
    return pose, pelvis


def errors(motion: Motion) -> np.ndarray:
    truth = motion_of(POSE, PELVIS, [])
    found: np.ndarray = np.linalg.norm(motion.joints - truth.joints, axis=-1).mean(1)
    return found


ONE_GAP = np.arange(BEGIN, END)


@pytest.mark.parametrize("kind", ["path", "joints", "root"])
@pytest.mark.parametrize(
    ("frames", "lost"),
    [
        ((BEGIN - 1,), ONE_GAP),
        ((END,), ONE_GAP),
        ((BEGIN - 2,), ONE_GAP),
        ((END + 1,), ONE_GAP),
        ((BEGIN - 1, END), ONE_GAP),
        ((END + 1,), [END, END + 2]),  # the only one between two that are missing
        ((END + 1,), [*range(END - 2, END), *range(END + 2, END + 5)]),
        ((END + 2,), [*range(END - 2, END), *range(END + 3, END + 5)]),
        ((END + 3,), [*range(END - 2, END), *range(END + 5, END + 9)]),
    ],
)
def test_a_gap_beside_a_jump_is_filled_as_without_it(kind: str, frames: tuple[int, ...], lost: np.ndarray | list[int]) -> None:
    without = errors(restore(motion_of(POSE, PELVIS, lost)).motion)
    found = restore(motion_of(*jumping(frames, kind), lost))
    after = errors(found.motion)
    assert np.flatnonzero(found.marked["pop"]).tolist() == sorted(frames)
    assert after[lost].mean() < 1.2 * without[lost].mean() + 0.006
    assert after[list(frames)].max() < 0.02
    others = ~np.isin(np.arange(NUM), [*lost, *frames])
    assert after[others].max() < 1e-9


@pytest.mark.parametrize("kind", ["path", "joints", "root"])
@pytest.mark.parametrize("jumps", [BEGIN, BEGIN + 1, BEGIN + 2])
@pytest.mark.parametrize("num", [2, 3])
def test_one_of_two_or_three_known_frames_amid_long_gaps_is_told_by_the_others(kind: str, jumps: int, num: int) -> None:
    """A body that turns fast, so that the curve through what is far away tells nothing."""
    lost = np.setdiff1d(np.arange(BEGIN - 15, BEGIN + 15 + num), np.arange(BEGIN, BEGIN + num))
    frames = (jumps,) if jumps < BEGIN + num else ()
    swing = np.sin(2 * np.pi * 2 * np.arange(NUM) / WALKER_FPS)[:, None]
    pose, pelvis = jumping(frames, kind)
    pose[:, [ROOT, KNEE, ELBOW], 0] += 0.6 * swing
    pelvis += 0.1 * swing
    joints, path = jumping_edges(motion_of(pose, pelvis, lost))
    told = np.flatnonzero((joints.max(1) > 1) | (path > 1)).tolist()
    assert told == list(frames)


@pytest.mark.parametrize(("num", "hertz"), [(1, 3), (2, 5)])
def test_known_frames_amid_long_gaps_are_not_farther_off_than_real_ones(num: int, hertz: float) -> None:
    """However fast the elbow turns farther away."""
    lost = np.setdiff1d(np.arange(BEGIN - 12, BEGIN + 13), np.arange(BEGIN, BEGIN + num))
    pose = POSE.copy()
    pose[:, ELBOW, 0] += 0.5 * np.cos(2 * np.pi * hertz * (np.arange(NUM) - BEGIN) / WALKER_FPS)
    assert jumping_edges(motion_of(pose, PELVIS, lost))[0].max() < 1
    pose[BEGIN, ELBOW, 0] += 1.5
    joints, _ = jumping_edges(motion_of(pose, PELVIS, lost))
    assert np.argwhere(joints > 1).tolist() == [[BEGIN, ELBOW]]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_leg_that_leaves_being_straight_beside_a_gap_does_not_jump(backwards: bool) -> None:
    """Its knee's angle is the root of a length that shrinks steadily, so that its first step is its longest: as fast as it came there."""
    time = np.arange(NUM) / WALKER_FPS
    pose = POSE.copy()
    pose[:, KNEE, 0] = np.sqrt(np.maximum(np.maximum(0.4 - time, time - 0.9), 0) * 1.2)
    lost = np.arange(56, 75)  # it bends again from frame 55 on
    if backwards:
        pose, lost = pose[::-1].copy(), NUM - 1 - lost
    joints, path = jumping_edges(motion_of(pose, PELVIS, lost))
    assert max(joints.max(), path.max()) < 1


@pytest.mark.parametrize("kind", ["path", "root"])
def test_a_jump_one_frame_behind_a_gap_is_none_from_what_is_held(kind: str) -> None:
    """Of every other frame, whose speeds are told by two: what is held there repeats nothing."""
    lost = [29, 30, 31]
    truth = motion_of(POSE[::2], PELVIS[::2], [], WALKER_FPS / 2)
    pose, pelvis = jumping((66,), kind)
    found = restore(motion_of(pose[::2], pelvis[::2], lost, WALKER_FPS / 2))
    assert np.linalg.norm(found.motion.joints - truth.joints, axis=-1).mean(1)[lost].mean() < 0.02
    assert np.flatnonzero(found.marked["pop"]).tolist() == [33]


@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize("kind", ["path", "joints", "root"])
def test_a_jump_beside_what_is_missing_at_an_end_is_not_held(kind: str, at_the_end: bool) -> None:
    lost = np.arange(NUM - 9, NUM) if at_the_end else np.arange(9)
    beside = lost[0] - 1 if at_the_end else lost[-1] + 1
    found = restore(motion_of(*jumping((beside,), kind), lost))
    assert np.flatnonzero(found.marked["pop"]).tolist() == [beside]
    held = errors(restore(motion_of(POSE, PELVIS, lost)).motion)
    assert errors(found.motion)[lost].max() < held[lost].max() + 0.03
    (told,) = found.left["missing"].values()
    assert np.flatnonzero(told).tolist() == lost.tolist()
    assert not found.mended("missing").any()


@pytest.mark.parametrize("before", [3, 1, 0, -2])
def test_a_kick_beside_a_gap_is_none(before: int) -> None:
    """The fastest moment of a kick is so many frames before the gap: within a tenth of a second the hip turns by 1.4 radians."""
    pose = POSE.copy()
    time = (np.arange(NUM) - (BEGIN - before)) / WALKER_FPS
    pose[:, 1, 0] -= 0.7 * (1 + np.tanh(time / 0.05)) * np.exp(-(np.maximum(time - 0.1, 0) ** 2) / 0.02)
    motion = motion_of(pose, PELVIS, ONE_GAP)
    joints, path = jumping_edges(motion)
    assert max(joints.max(), path.max()) < 1
    found = restore(motion)
    assert not found.marked["pop"].any()
    assert np.array_equal(found.motion.quat[motion.known], motion.quat[motion.known])


def test_nothing_is_told_of_what_has_no_others() -> None:
    """A first or last frame alone, beyond missing ones, and frames that are all alone."""
    for lost in (np.arange(1, 60), np.setdiff1d(np.arange(NUM), [4, 40, 90])):
        joints, path = jumping_edges(motion_of(POSE, PELVIS, lost))
        assert joints.max() == path.max() == 0


@pytest.mark.parametrize("frozen", [False, True])
def test_long_gaps_are_bridged_and_told(frozen: bool) -> None:
    fps = 20.0
    pose, pelvis = (part[:, :22] if part.ndim == 3 else part for part in walker(8.0, fps))
    long = np.arange(40, 40 + round(BRIDGED_S * fps))
    for lost, told in ((long[:-1], False), (long, True)):
        motion = motion_of(pose, pelvis, [] if frozen else lost, fps)
        if frozen:
            held = motion_of(pose, pelvis, [], fps)
            quat, path = held.quat.copy(), held.pelvis.copy()
            quat[lost], path[lost] = quat[39], path[39]
            motion = replace(held, quat=quat, pelvis=path)
        found = restore(motion)
        fault = "frozen" if frozen else "missing"
        assert list(found.left[fault]) == ([BRIDGED] if told else [])
        assert found.mended(fault).any() != told
        assert found.moved[fault][lost].max() > 0.1
