"""People of one tool before the cameras of another program: frames matched, lens exchanged, up carried over, the unit found or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import Clip, render_clip
from scipy.spatial.transform import Rotation
from upstream_checks import SINGLE, TURNED, camera_joints, world_joints
from upstream_truth import IDS, NUM_FRAMES, SIZE, Truth, make_truth
from upstream_world_writers import write_slahmr
from upstream_writers import SMPL_ROOT, rotmats, write_gvhmr, write_phalp, write_tram

from pose_priors.body.pinhole import camera_centres, project
from pose_priors.configs.base import UserError
from pose_priors.refinement.given.beside.unit import by_feet, by_own_path
from pose_priors.refinement.given.load import load_sequence
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.problem import Problem

UNIT = 0.4


def odometry(path: Path, w2c: np.ndarray, unit: float = UNIT) -> Path:
    """Camera to world in a world and a unit of its own."""
    c2w = np.linalg.inv(w2c)
    turn = Rotation.from_euler("zyx", [20, 40, -70], degrees=True)
    places = turn.apply(c2w[:, :3, 3] / unit) + np.array([3, -1, 2])
    torch.save(np.concatenate([places, (turn * Rotation.from_matrix(c2w[:, :3, :3])).as_quat()], 1), path)
    return path


def apart(problem: Problem, truth: Truth, seen: np.ndarray) -> float:
    """Metres between joints in the world and the truth, at most, once the two worlds are laid onto each other by a rigid motion."""
    a, b = world_joints(problem)[seen].reshape(-1, 3), truth.joints[seen].reshape(-1, 3)
    turn, _ = Rotation.align_vectors(b - b.mean(0), a - a.mean(0))
    return float(np.abs(turn.apply(a - a.mean(0)) + b.mean(0) - b).max())


def tells(problem: Problem, *words: str) -> None:
    for word in words:
        assert any(word in line for line in problem.told), (word, problem.told)


def test_the_unit_of_a_path_is_that_of_the_clips_own(tmp_path: Path) -> None:
    truth = make_truth().turned(TURNED)
    path = odometry(tmp_path / "slam_results.pth", truth.w2c)
    problem = load_sequence(write_tram(tmp_path / "walk", truth), LoadOptions(cameras=path))
    assert problem.start.alpha0 == pytest.approx(UNIT, rel=1e-4)
    tells(
        problem,
        "DPVO or another odometry's cameras stand in the place of",
        "is 0.4 m by the clip's own path of the camera, which it explains 100%",
    )
    assert problem.person_ids == IDS
    seen = problem.visible.numpy()
    np.testing.assert_allclose(camera_joints(problem)[seen], truth.camera_joints[seen], atol=SINGLE)
    assert apart(problem, truth, seen) < 1e-3


def test_the_unit_is_found_by_the_depth_on_the_people(clips: dict[str, Clip], tmp_path: Path) -> None:
    """Boxes are made for people of whom the tool knows none."""
    clip = clips["released"]
    depth, _ = render_clip(clip)
    folder = _tram_of(tmp_path / "tram", clip)
    stage1 = tmp_path / "stage1"
    (stage1 / "depth_maps").mkdir(parents=True)
    unit = 1.7
    c2w = np.linalg.inv(clip.w2c)
    c2w[:, :3, 3] /= unit
    np.savez(stage1 / "cameras.npz", c2w=c2w, K=clip.intrinsics, image_size=SIZE, frame_ids=np.arange(len(c2w)))
    for t, values in enumerate(depth):
        np.save(stage1 / "depth_maps" / f"depth_{t:04d}.npy", (values / unit).astype(np.float32))
    problem = load_sequence(folder, LoadOptions(cameras=stage1))
    tells(problem, "with its depth", "m by the depth maps on the people, on 12 frames")
    assert problem.start.alpha0 == pytest.approx(unit, rel=0.04)
    assert problem.observations.joint_depth_confidence.any()


def _tram_of(folder: Path, clip: Clip) -> Path:
    """Without `tracks.npy`, so without boxes."""
    (folder / "hps").mkdir(parents=True)
    eye = np.tile(np.eye(3), (len(clip.w2c), 1, 1))
    camera = {"pred_cam_R": eye, "pred_cam_T": eye[:, 0] * 0, "img_focal": clip.intrinsics[0, 0], "img_center": clip.intrinsics[:2, 2]}
    np.save(folder / "camera.npy", camera, allow_pickle=True)
    pose = clip.pose.copy()
    joints = np.einsum("tij,ptkj->ptki", clip.w2c[:, :3, :3], clip.joints) + clip.w2c[:, None, :3, 3]
    for p in range(2):
        pose[p, :, 0] = (Rotation.from_matrix(clip.w2c[:, :3, :3]) * Rotation.from_rotvec(pose[p, :, 0])).as_rotvec()
        rows = np.flatnonzero(clip.seen[p])
        hps = {
            "pred_shape": torch.zeros(len(rows), 10),
            "pred_rotmat": torch.from_numpy(rotmats(pose[p, rows])),
            "pred_trans": torch.from_numpy(joints[p, rows, 0] - SMPL_ROOT)[:, None],
            "frame": torch.from_numpy(rows),
        }
        np.save(folder / "hps" / f"hps_track_{p}.npy", hps, allow_pickle=True)
    return folder


def walker(num_frames: int, noise: float, seed: int, *, skates: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Feet (1, T, 4, 3) in the cameras of somebody who walks by, or skates, followed by a camera that is carried along; and w2c (T, 4, 4),
    30 a second."""
    rng = np.random.default_rng(seed)
    t = np.arange(num_frames) / 30
    phase = (t[:, None] / 1.1 + np.array([0, 0.5])) % 1
    swing = ((phase - 0.6) / 0.4).clip(0, 1)  # each foot stands for 60 % of the stride
    step = np.floor(t[:, None] / 1.1 + np.array([0, 0.5])) + swing**2 * (3 - 2 * swing)
    ankle = np.stack([1.4 * step, np.array([-0.1, 0.1]) + 0 * step, 0.08 + 0.1 * np.sin(np.pi * swing)], -1)
    if skates:
        push = np.pi * t[:, None] / 1.3 + np.array([0, np.pi / 2])
        ankle = np.stack([2 * t[:, None] + 0.3 * np.sin(2 * push), 0.5 * np.sin(push) + 1.5 * np.sin(t[:, None]), 0.1 + 0 * push], -1)
    feet = np.concatenate([ankle, ankle + np.array([0.13, 0, -0.06])], 1)
    centre = np.stack([1.2 * t - 0.4, -4 + 0.3 * np.sin(t), 1.5 + 0.1 * np.sin(2 * t)], 1)
    turn = Rotation.from_euler("x", -90, degrees=True) * Rotation.from_euler("yx", np.stack([5 * np.sin(t), 3 + t * 0], 1), degrees=True)
    w2c = np.tile(np.eye(4), (num_frames, 1, 1))
    w2c[:, :3, :3] = turn.inv().as_matrix()
    w2c[:, :3, 3] = -turn.inv().apply(centre)
    seen = np.einsum("tij,tkj->tki", w2c[:, :3, :3], feet) + w2c[:, None, :3, 3]
    # a body's error is common to its joints, changes slowly, and is mostly in depth
    drift = np.cumsum(rng.normal(size=(num_frames, 1, 3)) * [0.1, 0.1, 1], 0) * noise / 5
    return (seen + drift + noise * rng.normal(size=seen.shape))[None], w2c


@pytest.mark.parametrize("unit", [0.03, 1.0, 40.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_feet_that_stand_tell_the_unit(unit: float, seed: int) -> None:
    feet, w2c = walker(150, 0.01, seed)
    w2c[:, :3, 3] /= unit
    found = by_feet(feet, np.ones((1, 150), bool), w2c, 30)
    assert found is not None
    assert found.alpha == pytest.approx(unit, rel=0.04)


def test_feet_do_not_tell_what_they_cannot() -> None:
    seen = np.ones((1, 150), bool)
    feet, w2c = walker(150, 0.005, 0, skates=True)
    assert by_feet(feet, seen, w2c, 30) is None
    feet, w2c = walker(150, 0.005, 0)
    still = np.tile(w2c[:1], (150, 1, 1))
    assert by_feet(feet, seen, still, 30) is None
    assert by_feet(feet, seen & False, w2c, 30) is None
    assert by_feet(feet[:, :5], seen[:, :5], w2c[:5], 30) is None
    back = np.linalg.inv(w2c)  # read the wrong way round
    assert by_feet(feet, seen, back, 30) is None


def test_another_path_tells_nothing_of_a_path_that_goes_elsewhere() -> None:
    truth = make_truth()
    other = truth.w2c.copy()
    other[:, :3, 3] = np.random.default_rng(0).normal(size=(NUM_FRAMES, 3))
    assert by_own_path(truth.w2c, other) is None
    found = by_own_path(truth.w2c, truth.w2c)
    assert found is not None
    assert found.alpha == pytest.approx(1)


def test_a_path_of_a_free_unit_that_nothing_tells_is_refused(tmp_path: Path) -> None:
    """PHALP knows no path, two people turn on their heels, and there is no depth."""
    truth = make_truth(focal=500.0)
    path = odometry(tmp_path / "slam_results.pth", truth.w2c)
    with pytest.raises(UserError, match=r"nothing tells how many metres the unit of .* path has: there is no depth on the people"):
        load_sequence(write_phalp(tmp_path / "walk", truth), LoadOptions(cameras=path))


def vipe(folder: Path, w2c: np.ndarray, intrinsics: np.ndarray, frames: np.ndarray | None = None) -> Path:
    for name in ("pose", "intrinsics"):
        (folder / name).mkdir(parents=True)
    inds = np.arange(len(w2c)) if frames is None else frames
    np.savez(folder / "pose" / "walk.npz", data=np.linalg.inv(w2c), inds=inds)
    np.savez(folder / "intrinsics" / "walk.npz", data=np.tile(intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]], (len(w2c), 1)), inds=inds)
    return folder


def test_with_another_lens_people_stay_in_the_image(tmp_path: Path) -> None:
    """PHALP's focal length is (W + H) / 2 = 500; the true one is 900, so its people come 1.8 times as far away, where they are."""
    truth = make_truth(focal=900.0)
    # PHALP, whose people are as large in the image: nearer
    guessed = replace(truth, intrinsics=make_truth().intrinsics)
    near = _phalp_before(tmp_path / "walk", truth, guessed)
    problem = load_sequence(near, LoadOptions(cameras=vipe(tmp_path / "vipe", truth.w2c, truth.intrinsics)))
    assert problem.start.alpha0 == 1
    tells(problem, "its focal length is 1.8 times that of", "1 m by what ViPE says; nothing else tells it")
    found, true = camera_joints(problem)[truth.seen], truth.camera_joints[truth.seen]
    np.testing.assert_allclose(found[:, 0], true[:, 0], atol=5e-4)
    assert np.abs(found - true).max() < 0.02
    np.testing.assert_allclose(project(found, truth.intrinsics[None]), project(true, truth.intrinsics[None]), atol=3.0)
    assert apart(problem, truth, truth.seen) < 0.02


def _phalp_before(folder: Path, truth: Truth, guessed: Truth) -> Path:
    """What PHALP says of the people of the truth: seen from the same side, in the same place of the image, by its focal length."""
    pelvis = truth.camera_pelvis
    ratio = guessed.intrinsics[0, 0] / truth.intrinsics[0, 0]
    depth = pelvis[..., 2:] * ratio
    there = np.concatenate([pelvis[..., :2] / pelvis[..., 2:] / ratio * depth, depth], -1)
    pose = truth.camera_pose
    for p in range(2):
        a, b = (v[p] / np.linalg.norm(v[p], axis=-1, keepdims=True) for v in (pelvis, there))
        axis = np.cross(a, b)
        sine = np.linalg.norm(axis, axis=-1, keepdims=True)
        turn = Rotation.from_rotvec(axis / sine * np.arcsin(sine))
        pose[p, :, 0] = (turn * Rotation.from_rotvec(pose[p, :, 0])).as_rotvec()
    eye = np.tile(np.eye(4), (NUM_FRAMES, 1, 1))
    return write_phalp(folder, replace(guessed, pose=pose, pelvis=there, w2c=eye))


def test_up_is_carried_over_and_doubted_where_cameras_turn_otherwise(tmp_path: Path) -> None:
    truth = make_truth()
    path = write_gvhmr(tmp_path / "walk", truth, slam=None)
    problem = load_sequence(path, LoadOptions(cameras=odometry(tmp_path / "slam_results.pth", truth.w2c)))
    up = problem.start.ground_plane[:3].numpy()
    carried = Rotation.from_matrix(problem.cameras.w2c[:, :3, :3].numpy()).inv() * Rotation.from_matrix(truth.w2c[:, :3, :3])
    np.testing.assert_allclose(carried.apply(truth.up), np.tile(up, (NUM_FRAMES, 1)), atol=0.1)
    elsewhere = truth.w2c.copy()
    elsewhere[:, :3, :3] = Rotation.from_rotvec(np.linspace(0, 5, NUM_FRAMES)[:, None] * [1.0, 0, 0]).as_matrix()
    problem = load_sequence(path, LoadOptions(cameras=vipe(tmp_path / "vipe", elsewhere, truth.intrinsics)))
    assert any("its cameras turn otherwise than those of" in line for line in problem.warnings)


def test_turns_alone_of_steps_without_a_common_unit(tmp_path: Path) -> None:
    truth = make_truth()
    steps = truth.w2c.copy()
    steps[:, :3, 3] = np.random.default_rng(0).normal(size=(NUM_FRAMES, 3))
    torch.save(steps, tmp_path / "simple_vo.pt")
    problem = load_sequence(write_tram(tmp_path / "walk", truth), LoadOptions(cameras=tmp_path / "simple_vo.pt"))
    tells(problem, "have no common unit of length; its turns alone are taken")
    # the places are those of the clip's own
    np.testing.assert_allclose(
        np.ptp(camera_centres(problem.cameras.w2c.numpy()), axis=0), np.ptp(camera_centres(truth.w2c), axis=0), atol=1e-4
    )
    assert apart(problem, truth, problem.visible.numpy()) < 1e-3


def test_people_of_the_world_alone_are_carried_over(tmp_path: Path) -> None:
    truth = make_truth()
    path = odometry(tmp_path / "slam_results.pth", truth.w2c)
    problem = load_sequence(write_slahmr(tmp_path / "walk", truth), LoadOptions(cameras=path))
    assert problem.start.alpha0 == pytest.approx(UNIT, rel=1e-3)
    assert apart(problem, truth, problem.visible.numpy()) < 2e-3


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (np.arange(NUM_FRAMES), None),
        (np.arange(-3, NUM_FRAMES + 5) + 3, None),
        (np.array([0, 3, 6, 9, 12, 15]), "poses of 6 of the clip's 16 frames; those between are interpolated"),
        (np.arange(1, NUM_FRAMES), "poses of 15 of the clip's 16 frames"),
    ],
)
def test_frames_are_matched_by_their_numbers(frames: np.ndarray, said: str | None, tmp_path: Path) -> None:
    truth = make_truth()
    inside = frames[frames < NUM_FRAMES]
    w2c = np.concatenate([truth.w2c[inside], np.tile(np.eye(4), (len(frames) - len(inside), 1, 1))])
    path = vipe(tmp_path / "vipe", w2c, truth.intrinsics, frames)
    problem = load_sequence(write_tram(tmp_path / "walk", truth), LoadOptions(cameras=path))
    found = problem.cameras.w2c.numpy()
    np.testing.assert_allclose(found[inside], truth.w2c[inside], atol=1e-6)
    assert np.abs(camera_centres(found) - camera_centres(truth.w2c)).max() < 0.1
    assert not any("poses of" in line for line in problem.warnings) if said is None else any(said in line for line in problem.warnings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w2c: w2c[:-3], "13 poses, but the clip has 16 frames; one for each is expected, or 'frame_ids' beside them"),
        (lambda w2c: np.concatenate([w2c, w2c]), "32 poses, but the clip has 16 frames"),
    ],
)
def test_poses_that_are_merely_counted_must_be_as_many(change: Callable[[np.ndarray], np.ndarray], said: str, tmp_path: Path) -> None:
    truth = make_truth()
    path = odometry(tmp_path / "slam_results.pth", change(truth.w2c))
    walk = write_tram(tmp_path / "walk", truth)
    with pytest.raises(UserError, match=said):
        load_sequence(walk, LoadOptions(cameras=path))
    if len(change(truth.w2c)) > NUM_FRAMES:  # a clip that is cut may have a longer file
        assert load_sequence(walk, LoadOptions(cameras=path, max_frames=12)).start.alpha0 == pytest.approx(UNIT, rel=1e-3)


def test_poses_of_another_part_of_the_video_are_refused(tmp_path: Path) -> None:
    truth = make_truth()
    path = vipe(tmp_path / "vipe", truth.w2c, truth.intrinsics, np.arange(NUM_FRAMES) + 5)
    with pytest.raises(UserError, match="poses of frames 5 to 20, and the clip has 0 to 15; is it of this video"):
        load_sequence(write_tram(tmp_path / "walk", truth), LoadOptions(cameras=path))
