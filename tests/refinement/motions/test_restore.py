"""Faults of a motion: each is found where it was put, taken out, and nothing else is changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from walking_files import WALKER_FPS, walker

from pose_priors.benchmarks.motions.injection import INJECTIONS
from pose_priors.benchmarks.motions.trial import FAULT_OF
from pose_priors.body.builtin import rest_joints
from pose_priors.datamodules.clips import SMPL_STATURE
from pose_priors.refinement.motions.faults.frozen import frozen, repeated
from pose_priors.refinement.motions.motion import Motion, quat_of
from pose_priors.refinement.motions.repair.beside import jumps_beside
from pose_priors.refinement.motions.repair.mended import Mended
from pose_priors.refinement.motions.restore import FAULTS, _Work, restore

REST = rest_joints(SMPL_STATURE)[:22].numpy()
KNEE, ELBOW = 4, 18
BEGIN, END = 60, 90
# of the error that a fault makes, what may be left of it on average over the seeds
LEFT = {"pops": 0.05, "frozen": 0.5, "swaps": 0.02, "floating": 0.35, "sliding": 0.35, "jitter": 0.45, "shortened": 0.15}


def motion_of(pose: np.ndarray, pelvis: np.ndarray, fps: float = WALKER_FPS) -> Motion:
    return Motion(quat_of(pose[:, :22]), pelvis, REST, SMPL_STATURE, fps, np.ones(len(pose), dtype=bool))


@pytest.fixture(scope="module")
def walk() -> tuple[np.ndarray, np.ndarray]:
    pose, pelvis = walker(4.0)
    return pose[:, :22], pelvis


def test_a_walk_without_a_fault_is_the_same_to_the_last_bit(walk: tuple[np.ndarray, np.ndarray]) -> None:
    motion = motion_of(*walk)
    found = restore(motion)
    assert not any(found.marked[fault].any() for fault in FAULTS)
    assert np.array_equal(found.motion.quat, motion.quat)
    assert np.array_equal(found.motion.pelvis, motion.pelvis)


@pytest.mark.parametrize("name", INJECTIONS)
def test_what_was_put_in_is_found_and_taken_out(name: str, walk: tuple[np.ndarray, np.ndarray]) -> None:
    truth = motion_of(*walk)
    before, after, labels, scores = [], [], [], []
    for seed in range(6):
        faulty = INJECTIONS[name](*walk, WALKER_FPS, np.random.default_rng(seed))
        motion = motion_of(faulty.pose, faulty.trans)
        found = restore(motion)
        labels.append(faulty.marked)
        scores.append(found.of_frames(FAULT_OF[name]))
        before.append(np.linalg.norm(motion.joints - truth.joints, axis=-1).mean())
        after.append(np.linalg.norm(found.motion.joints - truth.joints, axis=-1).mean())
    marked, score = np.concatenate(labels), np.concatenate(scores)
    if marked.mean() < 0.9:
        assert roc_auc_score(marked, score) > 0.93
    assert (score[marked] > 1).mean() > 0.6
    assert sum(after) < LEFT[name] * sum(before)


def test_lost_frames_lie_on_the_way_between_their_neighbours(walk: tuple[np.ndarray, np.ndarray]) -> None:
    pose, pelvis = walk
    known = np.ones(len(pose), dtype=bool)
    known[50:56] = False
    held, held_at = pose.copy(), pelvis.copy()
    held[50:56], held_at[50:56] = pose[49], pelvis[49]
    motion = Motion(quat_of(held), held_at, REST, SMPL_STATURE, WALKER_FPS, known)
    found = restore(motion)
    assert found.marked["missing"].tolist() == (~known).tolist()
    wrong = np.linalg.norm(found.motion.joints - motion_of(pose, pelvis).joints, axis=-1)
    assert wrong[50:56].max() < 0.03
    assert wrong[known].max() == 0


@pytest.mark.parametrize("lost", [slice(0, 1), slice(0, 9), slice(-1, None), slice(-9, None)])
def test_frames_beside_lost_ones_at_an_end_repeat_nothing(lost: slice, walk: tuple[np.ndarray, np.ndarray]) -> None:
    """What is lost there is held, as the frame beside it has it, which stays."""
    pose, pelvis = (part.copy() for part in walk)
    known = np.ones(len(pose), dtype=bool)
    known[lost] = False
    beside = 9 if lost == slice(0, 9) else 1 if lost == slice(0, 1) else lost.start - 1
    pose[lost], pelvis[lost] = pose[beside], pelvis[beside]
    motion = replace(motion_of(pose, pelvis), known=known)
    found = restore(motion)
    assert not found.marked["frozen"].any()
    assert np.array_equal(found.motion.quat[known], motion.quat[known])
    assert np.array_equal(found.motion.pelvis[known], motion.pelvis[known])


@pytest.mark.parametrize("name", ["missing", "frozen", "pops"])
def test_what_fills_gaps_is_asked_for_what_is_lost_repeats_or_jumps(name: str, walk: tuple[np.ndarray, np.ndarray]) -> None:
    """And its answer is taken."""
    known = np.ones(len(walk[0]), dtype=bool)
    if name == "missing":
        known[50:56] = False
        motion = replace(motion_of(*walk), known=known)
    else:
        faulty = INJECTIONS[name](*walk, WALKER_FPS, np.random.default_rng(0))
        motion = motion_of(faulty.pose, faulty.trans)

    def lifted(before: Motion, joints: np.ndarray, path: np.ndarray) -> Motion:
        return before.changed(pelvis=before.pelvis + 0.01 * (joints.any(1) | path)[:, None])

    found = restore(motion, lifted)
    fault = FAULT_OF.get(name, name)
    assert found.marked[fault].any()
    np.testing.assert_allclose(found.moved[fault], 0.01 * 3**0.5 * found.marked[fault], atol=1e-12)


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 8])
def test_a_few_frames_are_enough(num: int, walk: tuple[np.ndarray, np.ndarray]) -> None:
    pose, pelvis = walk
    motion = motion_of(pose[:num], pelvis[:num])
    found = restore(motion)
    assert np.array_equal(found.motion.quat, motion.quat)


def test_fast_turns_keep_their_speed(walk: tuple[np.ndarray, np.ndarray]) -> None:
    """A kick amid a walk, with noise on all of it."""
    pose, pelvis = (part.copy() for part in walk)
    time = (np.arange(len(pose)) - 120) / WALKER_FPS
    pose[:, 1, 0] -= 1.4 * np.exp(-((time / 0.12) ** 2))
    truth = motion_of(pose, pelvis)
    peak = np.linalg.norm(np.diff(truth.joints, axis=0), axis=-1).max()
    plain = restore(truth)
    assert np.linalg.norm(np.diff(plain.motion.joints, axis=0), axis=-1).max() >= 0.999 * peak
    faulty = INJECTIONS["jitter"](pose, pelvis, WALKER_FPS, np.random.default_rng(1))
    smooth = restore(motion_of(faulty.pose, faulty.trans)).motion
    about = slice(105, 135)
    kept = np.linalg.norm(np.diff(smooth.joints[about], axis=0), axis=-1).max()
    assert 0.95 * peak < kept < 1.25 * peak


@pytest.mark.parametrize("seconds", [0.0, 1.2, 2.4])
def test_who_hangs_by_their_hands_slides_where_the_hands_do(seconds: float, walk: tuple[np.ndarray, np.ndarray]) -> None:
    pose, pelvis = (part.copy() for part in walk)
    pose[:, 16:18], pelvis[:] = pose[:1, 16:18], pelvis[0] + np.array([0, 0, 2.0])
    stretch = slice(48, 48 + round(seconds * WALKER_FPS))
    truth = pelvis.copy()
    if seconds:
        pelvis[:, 1] += np.cumsum(np.where(np.isin(np.arange(len(pose)), np.r_[stretch]), 0.6, 0)) / WALKER_FPS
    found = restore(motion_of(pose, pelvis))
    assert not found.marked["floating"].any()
    if not seconds:
        assert not found.marked["sliding"].any()
        return
    assert found.marked["sliding"][stretch].mean() > 0.8
    assert found.marked["sliding"].sum() < 1.3 * (stretch.stop - stretch.start)
    if seconds < 2:  # told, and left: what moves least among hands and soles is no sure measure
        assert np.array_equal(found.motion.pelvis, pelvis)
        assert all("hands" in why for why in found.left["sliding"])
    else:
        assert not found.left["sliding"]
        assert np.abs(found.motion.pelvis - truth).mean() < 0.15 * np.abs(pelvis - truth).mean()


def test_who_floats_is_told_by_where_they_stand_there_whatever_they_jump(walk: tuple[np.ndarray, np.ndarray]) -> None:
    """A jump of twice the height, amid a stretch that is lifted by 12 cm in a sixth of a second, from where the floor had sunk slowly."""
    pose, pelvis = (part.copy() for part in walk)
    time = np.arange(len(pose)) / WALKER_FPS
    lifted = np.clip(np.minimum(time - 0.8, 3.2 - time) / 0.17, 0, 1)
    sunk = np.where(time < 0.8, np.clip((time - 0.1) / 0.6, 0, 1), 0)
    flight = np.clip(1 - ((time - 2.0) / 0.22) ** 2, 0, None)
    truth = pelvis + 0.24 * flight[:, None] * np.array([0, 0, 1.0])
    height = np.maximum(0.12 * lifted, 0.045 * sunk)
    found = restore(motion_of(pose, truth + height[:, None] * np.array([0, 0, 1.0])))
    assert found.marked["floating"][(lifted == 1) & (flight == 0)].mean() > 0.9
    stands = (lifted == 1) & (flight == 0)
    assert np.abs(found.motion.pelvis - truth)[stands, 2].max() < 0.03


@pytest.mark.parametrize("seconds", [0.4, 0.5, 0.8])
def test_who_is_lifted_and_set_down_does_not_fly(seconds: float, walk: tuple[np.ndarray, np.ndarray]) -> None:
    """A parabola through all of it falls as things do; amid it the height is held."""
    pose, pelvis = (part.copy() for part in walk)
    time = np.arange(len(pose)) / WALKER_FPS - 1.6
    share = np.clip(3 * np.minimum(time, seconds - time) / seconds, 0, 1)
    pelvis[:, 2] += 0.15 * share * share * (3 - 2 * share)
    found = restore(motion_of(pose, pelvis))
    lifted = pelvis[:, 2] - walk[1][:, 2] > 0.06
    assert found.marked["floating"][lifted].mean() > 0.8
    assert np.abs(found.motion.pelvis - walk[1]).sum() < 0.3 * np.abs(pelvis - walk[1]).sum()


@pytest.mark.parametrize("seconds", [0.3, 0.5])
def test_who_jumps_flies(seconds: float, walk: tuple[np.ndarray, np.ndarray]) -> None:
    pose, pelvis = (part.copy() for part in walk)
    time = (np.arange(len(pose)) - 120) / WALKER_FPS
    pelvis[:, 2] += np.maximum(9.81 / 2 * ((seconds / 2) ** 2 - time**2), 0)
    found = restore(motion_of(pose, pelvis))
    assert not found.marked["floating"].any()
    assert np.array_equal(found.motion.pelvis, pelvis)


def test_short_glides_are_found_where_they_are(walk: tuple[np.ndarray, np.ndarray]) -> None:
    pose, pelvis = (part.copy() for part in walk)
    glides = (np.arange(len(pose)) >= 100) & (np.arange(len(pose)) < 160)
    pelvis[:, 1] += np.cumsum(0.8 * glides) / WALKER_FPS
    found = restore(motion_of(pose, pelvis))
    assert found.marked["sliding"][110:150].all()
    assert not found.marked["sliding"][:80].any()
    assert not found.marked["sliding"][180:].any()
    assert np.abs(found.motion.pelvis - walk[1])[-1].max() < 0.15 * np.abs(pelvis - walk[1])[-1].max()


def test_a_fault_that_is_taken_out_in_two_ways_is_told_once(walk: tuple[np.ndarray, np.ndarray]) -> None:
    work = _Work(motion_of(*walk))
    first, second = (np.isin(np.arange(len(walk[0])), frames) * times for frames, times in ((range(10, 30), 2.0), (range(20, 60), 3.0)))

    def raised(motion: Motion, _: np.ndarray, marked: np.ndarray) -> Mended:
        return Mended(motion.changed(pelvis=motion.pelvis + marked[:, None] * [0, 0, 0.1]), {"high": leaves & marked})

    leaves = first > 0  # what an earlier way leaves, a later one may move
    for path in (first, second, 0 * first):
        work.mend("floating", raised, 0 * work.joints["floating"], path)
        leaves = np.zeros_like(leaves)
    assert np.array_equal(work.path["floating"], np.maximum(first, second))
    assert np.flatnonzero(work.marked["floating"]).tolist() == list(range(10, 60))
    np.testing.assert_allclose(work.moved["floating"], 0.1 * ((first > 0) + 1.0 * (second > 0)), atol=1e-12)
    assert np.flatnonzero(work.left["floating"]["high"]).tolist() == list(range(10, 20))


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
    without = restore(replace(motion_of(pose, pelvis), known=known))
    for frame in (BEGIN - 3, END + 2):
        found = restore(replace(motion_of(jumping(pose, frame), pelvis), known=known))
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
