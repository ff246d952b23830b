"""The whole way from folders to the problem."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scenes import Clip, make_clip
from scipy.spatial.transform import Rotation

from pose_priors.configs.base import UserError
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.problem import Problem

MakeClip = Callable[..., Clip]
PERSON = "3_pose_estimation/person_001/smpl_params_camera.npz"


def start_joints(problem: Problem) -> np.ndarray:
    return problem.start.joints(problem.bodies).numpy()


def tensors(value: object, prefix: str = "") -> dict[str, torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return {prefix: value}
    if hasattr(value, "__dataclass_fields__"):
        return {k: v for f in fields(value) for k, v in tensors(getattr(value, f.name), f"{prefix}.{f.name}").items()}
    return {}


@pytest.mark.parametrize("naming", ["released", "readme"])
def test_the_start_is_the_truth_of_a_perfect_clip(clips: dict[str, Clip], naming: str) -> None:
    clip = clips[naming]
    problem = load_problem(*clip.stages)
    assert problem.person_ids == (1, 2)
    assert problem.frame_ids == tuple(range(12))
    assert problem.fps == 25
    np.testing.assert_array_equal(problem.visible, clip.seen)
    assert problem.alive.all()
    assert problem.start.alpha0 == pytest.approx(clip.alpha, rel=0.005)
    assert np.abs(start_joints(problem) - clip.joints)[clip.seen].max() < 0.005
    # the second person walks on while hidden: the pelvis nearly straight, the legs in arcs that no interpolation knows
    hidden = np.linalg.norm(start_joints(problem) - clip.joints, axis=-1)[~clip.seen]
    assert hidden[:, 0].max() < 0.03
    assert hidden.mean() < 0.06
    np.testing.assert_allclose(problem.start.ground_plane, clip.plane, atol=0.01)
    np.testing.assert_allclose(problem.bodies.rest_joints, clip.rest, atol=1e-6)
    assert all(value.isfinite().all() for name, value in tensors(problem).items() if name not in (".bodies.height", ".bodies.thickness"))
    assert {v.dtype for v in tensors(problem).values()} == {torch.float64, torch.bool}


def test_both_layouts_are_the_same_problem(clips: dict[str, Clip]) -> None:
    released, readme = (tensors(load_problem(*clips[n].stages)) for n in ("released", "readme"))
    for name, value in released.items():
        if name == ".observations.floor_points":
            continue
        # one layout stores depth in half precision
        by_depth = (".start.pelvis", ".start.ground_plane", ".observations.surface_points")
        tolerance = 0.004 if "depth" in name or name in by_depth else 1e-6
        torch.testing.assert_close(readme[name], value, atol=tolerance, rtol=0, equal_nan=True)


@pytest.mark.parametrize("alpha", [0.3, 2.6])
def test_any_scale_is_found(tmp_path: Path, alpha: float) -> None:
    clip = make_clip(tmp_path / "clip", alpha=alpha)
    assert load_problem(*clip.stages).start.alpha0 == pytest.approx(alpha, rel=0.005)


@pytest.mark.parametrize("depth", [False, True])
def test_a_unit_that_nothing_tells_is_told_as_an_assumption_without_keypoints_too(tmp_path: Path, depth: bool) -> None:
    clip = make_clip(tmp_path / "clip", "readme", depth=depth)
    for file in (tmp_path / "clip").rglob("detections/*.pkl"):
        without = [{name: value for name, value in entry.items() if name != "keypoints_2d"} for entry in pickle.loads(file.read_bytes())]
        file.write_bytes(pickle.dumps(without))
    problem = load_problem(*clip.stages)
    assert problem.scale_known
    assert any("so the scale stays where it starts" in line for line in problem.warnings)
    assert any("stage 1's unit, taken for 1 m, which nothing tells" in line for line in problem.broken) != depth


def test_joint_depth_is_read_on_the_persons_own_skin(clips: dict[str, Clip]) -> None:
    clip = clips["released"]
    observed = load_problem(*clip.stages).observations
    there = np.einsum("tij,ptkj->ptki", clip.w2c[:, :3, :3], clip.joints) + clip.w2c[:, None, :3, 3]
    sure = observed.joint_depth_confidence.numpy() > 0
    assert sure.mean() > 0.6
    assert not sure[~clip.seen].any()
    ahead = there[..., 2] - clip.alpha * observed.joint_depth.numpy()
    assert np.quantile(ahead[sure], 0.02) > 0
    assert np.quantile(ahead[sure], 0.98) < 0.2


def test_keypoints_lie_at_their_joints(clips: dict[str, Clip]) -> None:
    clip = clips["readme"]
    problem = load_problem(*clip.stages)
    seen = problem.observations.keypoint_confidence.numpy() > 0
    np.testing.assert_array_equal(seen.all(-1), clip.seen)
    for k, joints in enumerate(problem.observations.keypoint_joints):
        there = clip.joints[:, :, list(joints)].mean(2) @ np.eye(3)
        there = np.einsum("tij,ptj->pti", clip.w2c[:, :3, :3], there) + clip.w2c[:, :3, 3]
        pixels = there @ clip.intrinsics.T
        np.testing.assert_allclose(
            problem.observations.keypoints[:, :, k].numpy()[clip.seen], (pixels[..., :2] / pixels[..., 2:])[clip.seen]
        )


def test_dropout_takes_the_share_it_says_from_each_frame_and_is_seeded(clips: dict[str, Clip]) -> None:
    clip = clips["released"]
    half, again, other = (load_problem(*clip.stages, LoadOptions(keypoint_dropout=0.5, seed=seed)) for seed in (0, 0, 1))
    kept = (half.observations.keypoint_confidence > 0).sum(-1).numpy()
    np.testing.assert_array_equal(kept, np.where(clip.seen, 12, 0))
    torch.testing.assert_close(half.observations.keypoint_confidence, again.observations.keypoint_confidence, rtol=0, atol=0)
    assert (half.observations.keypoint_confidence != other.observations.keypoint_confidence).any()


def test_the_same_input_gives_the_same_problem(clips: dict[str, Clip]) -> None:
    first, second = (tensors(load_problem(*clips["released"].stages)) for _ in range(2))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0, equal_nan=True)


def test_options(clips: dict[str, Clip]) -> None:
    clip = clips["released"]
    short = load_problem(*clip.stages, LoadOptions(fps=50, max_frames=6))
    assert short.fps == 50
    assert short.visible.shape == (2, 6)
    np.testing.assert_array_equal(short.visible, clip.seen[:, :6])
    np.testing.assert_array_equal(short.alive[1], [1, 1, 1, 1, 1, 0])
    assert short.warnings == ()
    alone = load_problem(*clip.stages[:3], None)
    np.testing.assert_allclose(alone.start.pelvis, load_problem(*clip.stages).start.pelvis, atol=1e-6)


def test_a_frame_whose_camera_is_not_trusted_says_nothing(clip: MakeClip) -> None:
    doubtful = clip()
    trusted = load_problem(*doubtful.stages)
    doubtful.rewrite("1_camera_estimation/cameras.npz", confidence=np.where(np.arange(12) == 3, 0, 0.5))
    doubted = load_problem(*doubtful.stages)
    assert (doubted.observations.keypoint_confidence[:, 3] == 0).all()
    assert (doubted.observations.joint_depth_confidence[:, 3] == 0).all()
    torch.testing.assert_close(doubted.observations.keypoint_confidence[:, 4:], trusted.observations.keypoint_confidence[:, 4:])


def test_a_sound_stage_4_is_where_the_refinement_starts(clip: MakeClip) -> None:
    spoilt = clip()
    path = "4_world_space/person_001/smpl_params_world.npz"
    pose = np.load(spoilt.folder / path)["poses"]
    pose[:, 14] = [0, 0.3, 0]  # an upstream stage that bent the head
    spoilt.rewrite(path, poses=pose)
    problem = load_problem(*spoilt.stages)
    np.testing.assert_allclose(problem.start.body_pose[0, :, 14], np.tile([0, 0.3, 0], (12, 1)), atol=1e-9)
    assert problem.warnings == ()


def test_without_depth_maps_stage_1_is_metric(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip", alpha=1.0, depth=False)
    problem = load_problem(*clip.stages)
    assert problem.start.alpha0 == 1
    assert np.abs(start_joints(problem) - clip.joints)[clip.seen].max() < 1e-5
    told = " ".join(problem.warnings)
    assert "no depth maps" in told
    assert "no masks" in told
    assert "taken to be metric" in told
    assert problem.start.ground_plane.isfinite().all()


def test_missing_depth_masks_and_people_are_told_and_survived(clip: MakeClip) -> None:
    spoilt = clip()
    for t in (9, 10, 11):
        (spoilt.stages[0] / "depth_maps" / f"depth_{t:06d}.npy").unlink()
    for mask in spoilt.stages[1].glob("masks/*_person_002.npy"):
        mask.unlink()
    body = dict(np.load(spoilt.folder / PERSON))
    body["poses"][3] = np.nan
    spoilt.rewrite(PERSON, poses=body["poses"])
    shutil.copytree(spoilt.stages[2] / "person_002", spoilt.stages[2] / "person_005")
    (spoilt.stages[2] / "person_005" / "smpl_params_camera.npz").write_bytes(b"damaged")
    problem = load_problem(*spoilt.stages)
    assert problem.person_ids == (1, 2)
    assert not problem.visible[0, 3]
    assert problem.alive[0, 3]
    assert not (problem.observations.joint_depth_confidence[:, 9:] > 0).any()
    assert problem.start.alpha0 == pytest.approx(spoilt.alpha, rel=0.01)
    told = " ".join(problem.warnings)
    assert all(words in told for words in ("9 depth maps for 12 cameras", "9, 10, 11", "person 5", "not finite", "frames 3"))


def test_people_on_one_frame_and_of_other_bodies_share_the_clip(clip: MakeClip) -> None:
    spoilt = clip()
    arrays = dict(np.load(spoilt.folder / PERSON))
    np.savez(
        spoilt.folder / PERSON,
        body_pose=arrays["poses"][4:5, :21].reshape(1, 63),
        left_hand_pose=np.full((1, 45), 0.1),
        frame_ids=[4],
        **{key: arrays[key][4:5] for key in ("global_orient", "transl")},
    )
    joints = spoilt.stages[2] / "person_001" / "joints_camera.npy"
    np.save(joints, np.load(joints)[4:5, :22])
    problem = load_problem(*spoilt.stages[:3], None)
    assert len(problem.bodies.parents) == 55
    assert problem.alive[0].sum() == 1
    assert (problem.start.body_pose[0, 4, 24:39] == 0.1).all()
    assert (problem.start.body_pose[1, :, 21:] == 0).all()
    assert any("one frame only" in line for line in problem.warnings)


@pytest.mark.parametrize("stage", range(4))
def test_a_missing_stage_is_an_error_that_names_it(clip: MakeClip, stage: int) -> None:
    spoilt = clip()
    shutil.rmtree(spoilt.stages[stage])
    with pytest.raises(UserError, match=rf"{spoilt.stages[stage].name}: no such folder"):
        load_problem(*spoilt.stages)


def test_a_clip_without_readable_people_is_an_error(clip: MakeClip) -> None:
    spoilt = clip()
    for person in (1, 2):
        spoilt.rewrite(PERSON.replace("001", f"{person:03d}"), global_orient=None)
    with pytest.raises(UserError, match=r"no person could be read; .*global_orient"):
        load_problem(*spoilt.stages)


def test_a_body_that_turns_past_pi_is_the_same_body(clip: MakeClip) -> None:
    spoilt = clip()
    orient = np.load(spoilt.folder / PERSON)["global_orient"]
    angle = np.linalg.norm(orient, axis=1, keepdims=True)
    spoilt.rewrite(PERSON, global_orient=orient * (1 - 2 * np.pi / angle))
    problem = load_problem(*spoilt.stages[:3], None)
    np.testing.assert_allclose(start_joints(problem)[0], spoilt.joints[0], atol=0.01)
    turned = Rotation.from_rotvec(problem.start.global_orient[0].numpy()).inv() * Rotation.from_rotvec(spoilt.pose[0, :, 0])
    assert turned.magnitude().max() < 1e-6
    assert any("longer than pi" in line for line in problem.warnings)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_frames": 0}, "max_frames is 0; at least 1 is expected"),
        ({"keypoint_dropout": 1.0}, "keypoint_dropout is 1.0; a share"),
        ({"keypoint_dropout": float("nan")}, "keypoint_dropout is nan; a share"),
    ],
)
def test_options_that_mean_nothing_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        LoadOptions(**given)
