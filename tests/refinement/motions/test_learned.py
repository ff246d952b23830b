"""Priors in clean and score: gaps filled by what clips are like, frames, joints and poses judged by it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from learned_cases import WINDOW, saved, small_motion_prior, small_pose_prior
from walking_files import walker, write_motion

from clean import main as clean
from pose_priors.body.builtin import rest_joints
from pose_priors.body.motion import posed_joints
from pose_priors.body.motion_state import make_states
from pose_priors.configs.base import UserError
from pose_priors.datamodules.clips import SMPL_STATURE
from pose_priors.refinement.motions.learned import surprisal as judging
from pose_priors.refinement.motions.learned.fill import FilledByPrior, _carried
from pose_priors.refinement.motions.learned.poses import PoseReference
from pose_priors.refinement.motions.learned.surprisal import surprisal
from pose_priors.refinement.motions.motion import Motion, angles, quat_of
from pose_priors.refinement.motions.repair.fill import filled
from score import main as score

REST = rest_joints(SMPL_STATURE)[:22].numpy()


def walk(fps: float, seconds: float = 4.0) -> Motion:
    pose, pelvis = walker(seconds, fps, 0.75)
    return Motion(quat_of(pose[:, :22]), pelvis, REST, SMPL_STATURE, fps, np.ones(len(pose), dtype=bool))


def spoilt(motion: Motion, lost: np.ndarray) -> Motion:
    """With what stands before a gap held in it."""
    at = np.maximum.accumulate(np.where(lost, 0, np.arange(len(motion))))
    return motion.changed(motion.quat[at], motion.pelvis[at])


def wrong(motion: Motion, truth: Motion, frames: np.ndarray) -> float:
    return float(np.linalg.norm(motion.joints - truth.joints, axis=-1)[frames].mean())


@pytest.mark.parametrize("fps", [30.0, 60.0, 50.0])
def test_a_gap_is_filled_as_people_walk_and_the_rest_stays(fps: float) -> None:
    truth = walk(fps)
    lost = np.zeros(len(truth), dtype=bool)
    lost[round(1.5 * fps) : round(2.1 * fps)] = True
    joints = np.repeat(lost[:, None], 22, 1)
    before = spoilt(truth, lost)
    by_curves, by_prior = filled(before, joints, lost), FilledByPrior(small_motion_prior())(before, joints, lost)
    assert wrong(by_prior, truth, lost) < 0.6 * wrong(by_curves, truth, lost)
    assert angles(by_prior.quat, before.quat)[~lost].max() < 1e-7
    assert np.array_equal(by_prior.pelvis[~lost], before.pelvis[~lost])
    steps, true = (np.linalg.norm(np.diff(m.joints, axis=0), axis=-1).max() for m in (by_prior, truth))
    assert steps < 1.4 * true


def test_what_the_prior_changes_fades_to_nothing_where_a_gap_ends() -> None:
    marked = np.zeros(60, dtype=bool)
    marked[11:50] = True
    at = np.arange(0, 60, 4.0)
    shift = _carried(np.ones((len(at), 3)), at, marked, np.zeros(3))
    assert not shift[~marked].any()
    assert ((shift[[11, 49]] > 0) & (shift[[11, 49]] < 1)).all()
    np.testing.assert_allclose(shift[12:49], 1)
    # a turn of 0.2 rad, by either of its two quaternions
    turn = np.array([0.0, 0.0, np.sin(0.1), np.cos(0.1)])
    for sign in (1, -1):
        by = _carried(np.tile(sign * turn, (len(at), 1)), at, marked, np.array([0, 0, 0, 1.0]))
        angle = 2 * np.arctan2(by[:, 2], by[:, 3])
        angle = (angle + np.pi) % (2 * np.pi) - np.pi
        assert ((angle[[11, 49]] > 0) & (angle[[11, 49]] < 0.2)).all()
        np.testing.assert_allclose(angle[12:49], 0.2)


def test_only_joints_that_are_marked_are_filled() -> None:
    truth = walk(30.0)
    lost = np.zeros(len(truth), dtype=bool)
    lost[50:65] = True
    joints = np.zeros((len(truth), 22), dtype=bool)
    joints[lost, 4] = True
    quat = truth.quat.copy()
    quat[lost, 4] = truth.quat[49, 4]
    before = truth.changed(quat)
    nothing = np.zeros(len(truth), dtype=bool)
    after = FilledByPrior(small_motion_prior())(before, joints, nothing)
    assert np.array_equal(after.pelvis, before.pelvis)
    others = [joint for joint in range(22) if joint != 4]
    assert angles(after.quat, before.quat)[:, others].max() < 1e-7
    assert wrong(after, truth, lost) < 0.5 * wrong(filled(before, joints, nothing), truth, lost)


def test_short_gaps_long_ones_and_motions_without_a_path_are_left_to_curves() -> None:
    truth, fill = walk(30.0), FilledByPrior(small_motion_prior())
    for begin, end, has_path in ((50, 52, True), (20, 20 + WINDOW, True), (50, 62, False), (0, WINDOW // 2 + 2, True)):
        lost = np.zeros(len(truth), dtype=bool)
        lost[begin:end] = True
        before = spoilt(truth, lost)
        before = Motion(before.quat, before.pelvis, REST, SMPL_STATURE, 30.0, truth.known, has_path)
        joints = np.repeat(lost[:, None], 22, 1)
        after, expected = fill(before, joints, lost), filled(before, joints, lost)
        assert angles(after.quat, expected.quat).max() < 1e-7
        assert np.array_equal(after.pelvis, expected.pelvis)


def test_clean_fills_by_a_checkpoint_and_another_one_begins_anew(tmp_path: Path) -> None:
    pose, pelvis = walker(4.0, 30.0, 0.75)
    broken, lost = pose.copy(), slice(50, 66)
    broken[lost] = np.nan
    source = write_motion(tmp_path / "clip.npz", broken, pelvis, fps=30.0)
    checkpoint = saved(small_motion_prior(), tmp_path / "best.ckpt")
    errors = []
    for name, options in (("plain", []), ("prior", ["--prior", str(checkpoint)])):
        clean([str(source), "--output", str(tmp_path / name), *options])
        with np.load(tmp_path / name / "clip.npz") as after:
            poses = after["poses"].reshape(len(pose), 52, 3)[:, :22]
        errors.append(np.abs(poses[lost] - pose[lost, :22]).mean())
        rest = np.r_[0:50, 66 : len(pose)]
        assert np.array_equal(poses[rest], pose[rest, :22])
    assert errors[1] < 0.6 * errors[0]
    folder = tmp_path / "clips"
    folder.mkdir()
    source.rename(folder / "clip.npz")
    again = [str(folder), "--output", str(tmp_path / "out"), "--prior", str(checkpoint)]
    assert [outcome.status for outcome in clean(again) + clean(again)] == ["success", "skipped"]
    with np.load(tmp_path / "out/clip.npz") as of_folder, np.load(tmp_path / "prior/clip.npz") as of_file:
        assert np.array_equal(of_folder["poses"], of_file["poses"], equal_nan=True)
        assert np.array_equal(of_folder["trans"], of_file["trans"])
    saved(small_motion_prior(2), checkpoint)
    assert [outcome.status for outcome in clean(again)] == ["success"]


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    source = write_motion(tmp_path / "clip.npz", *walker(1.0, 30.0), fps=30.0)
    of_poses, of_motions = saved(small_pose_prior(), tmp_path / "poses.ckpt"), saved(small_motion_prior(), tmp_path / "motion.ckpt")
    output = ["--output", str(tmp_path / "out")]
    for script, flag, path, said in (
        (clean, "--prior", of_poses, r"prior\.motion=.*motion_flow"),
        (score, "--prior", of_poses, r"prior\.motion=.*motion_flow"),
        (score, "--pose-prior", of_motions, r"prior\.body=.*MotionFlow"),
        (score, "--prior", tmp_path / "none.ckpt", "none.ckpt"),
    ):
        with pytest.raises(UserError, match=said):
            script([str(source), *output, flag, str(path)])


def test_score_tells_which_frame_and_joint_surprise_the_priors(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    pose, pelvis = walker(4.0, 30.0)
    write_motion(folder / "good.npz", pose, pelvis, fps=30.0)
    bad = pose.copy()
    bad[70, 17] += [0, 1.2, 0.5]
    write_motion(folder / "bad.npz", bad, pelvis, fps=30.0)
    motion, body = saved(small_motion_prior(), tmp_path / "motion.ckpt"), saved(small_pose_prior(), tmp_path / "poses.ckpt")
    plain = {row["clip"]: row for row in score([str(folder), "--output", str(tmp_path / "plain")])}
    score([str(folder), "--output", str(tmp_path / "out"), "--prior", str(motion), "--pose-prior", str(body)])
    with (tmp_path / "out/scores.csv").open() as stream:
        rows = {row["clip"]: row for row in csv.DictReader(stream)}
    for column in ("prior_motion_energy_nats", "prior_motion_energy_nats_worst", "prior_pose_energy_percentile_worst"):
        assert float(rows["bad"][column]) > float(rows["good"][column])
        assert column not in plain["bad"]
    # badness is calibrated without a prior, and stays
    assert all(float(rows[clip]["badness"]) == plain[clip]["badness"] for clip in rows)
    with np.load(tmp_path / "out/frames/bad.npz") as frames, np.load(tmp_path / "out/frames/good.npz") as usual:
        more = frames["prior_joint_surprisal_nats"] - usual["prior_joint_surprisal_nats"]
        assert more.shape == (len(pose), 22)
        frame, joint = np.unravel_index(more.argmax(), more.shape)
        assert (frame, frames["joints"][joint]) in [(70, f"right_{name}") for name in ("shoulder", "elbow", "wrist")]
        np.testing.assert_allclose(
            frames["prior_motion_energy_nats"], frames["prior_joint_surprisal_nats"].sum(1, dtype=np.float64), rtol=1e-3, atol=1e-3
        )
        percentiles = frames["prior_pose_energy_percentile"] - usual["prior_pose_energy_percentile"]
        assert percentiles[70] > 5
        assert np.flatnonzero(percentiles).tolist() == [70]


def test_surprisal_is_the_priors_energy_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, motion = small_motion_prior(), walk(30.0)
    joints = posed_joints(torch.from_numpy(walker(4.0, 30.0, 0.75)[0][:, :22]), torch.from_numpy(motion.pelvis), torch.from_numpy(REST))
    states = make_states(torch.from_numpy(walker(4.0, 30.0, 0.75)[0][:, :22]), joints).float()
    expected = prior.frame_energies(states[None])[0].numpy()
    whole = surprisal(prior, motion)
    np.testing.assert_allclose(whole, expected, rtol=1e-3, atol=2e-3)
    fast = surprisal(prior, walk(120.0))
    np.testing.assert_allclose(fast[::4], whole[: len(fast[::4])], rtol=1e-3, atol=2e-3)
    monkeypatch.setattr(judging, "_BLOCK", 30)
    pieces = surprisal(prior, motion)
    assert np.abs(pieces - whole).mean() < 0.1 * whole.std()
    short = Motion(motion.quat[:1], motion.pelvis[:1], REST, SMPL_STATURE, 30.0, motion.known[:1])
    assert np.isnan(surprisal(prior, short)).all()


def test_percentiles_of_the_priors_own_poses_are_even() -> None:
    prior = small_pose_prior()
    reference = PoseReference.of(prior)
    drawn = prior.sample(600, torch.Generator().manual_seed(5))[:, :22].double().numpy()
    percentiles = reference.percentiles(Motion(quat_of(drawn), np.zeros((600, 3)), REST, SMPL_STATURE, 30.0, np.ones(600, dtype=bool)))
    assert np.abs(np.quantile(percentiles, [0.1, 0.5, 0.9]) - [10, 50, 90]).max() < 6
    bent = drawn.copy()
    bent[:, [4, 5, 16, 17, 18, 19]] += 1.5
    there = Motion(quat_of(bent), np.zeros((600, 3)), REST, SMPL_STATURE, 30.0, np.ones(600, dtype=bool))
    assert reference.percentiles(there).min() == 100
    turned = drawn.copy()
    turned[:, 0] = [0.3, 2.0, -1.0]
    there = Motion(quat_of(turned), np.zeros((600, 3)), REST, SMPL_STATURE, 30.0, np.ones(600, dtype=bool))
    np.testing.assert_allclose(reference.percentiles(there), percentiles, atol=0.1)
