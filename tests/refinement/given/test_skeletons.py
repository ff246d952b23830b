from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import write_model
from scipy.spatial.transform import Rotation

from pose_priors.body.anthropometry import heights, stature, thickness
from pose_priors.body.builtin import ANKLE_HEIGHT, STATURE, rest_joints
from pose_priors.body.layout import layout
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import index_of
from pose_priors.body.smplx_files import load_joint_model
from pose_priors.refinement.formats.bodies import BodyTrack, with_joints
from pose_priors.refinement.given.skeletons import assemble, bone_offsets, recover

NUM = 9
ROOT = np.array([0.01, -0.21, 0.02])


def rest_of(num_joints: int, size: float = 1.0) -> np.ndarray:
    built_in = rest_joints().numpy() * size
    return np.concatenate([built_in[:22], built_in[[28, 43]]]) if num_joints == 24 else built_in[:num_joints]


def track(num_pose: int, num_shown: int, rest: np.ndarray, angle: float = 1.0) -> BodyTrack:
    """A person whose `num_shown` joints are those of `rest`, posed at random."""
    rng = np.random.default_rng(num_pose)
    pose = Rotation.random(NUM * num_pose, rng=rng).as_rotvec().reshape(NUM, num_pose, 3) * angle
    transl = rng.normal(size=(NUM, 3))
    of = layout(len(rest))
    joints, _ = forward_kinematics(torch.from_numpy(with_joints(pose, len(rest))), torch.from_numpy(rest), of.parents)
    shown = joints.numpy()[:, :num_shown] + (transl + ROOT)[:, None]
    return BodyTrack(1, "person_001", np.arange(NUM), pose, np.zeros(10), transl, shown)


@pytest.mark.parametrize("num_joints", [22, 24, 55])
@pytest.mark.parametrize("angle", [0.0, 1e-9, 1.0])
def test_bones_follow_exactly_from_posed_joints(num_joints: int, angle: float) -> None:
    rest = rest_of(num_joints, 1.07) + np.random.default_rng(0).normal(0, 0.01, (num_joints, 3))
    rest -= rest[0]
    warnings: list[str] = []
    found = recover(track(num_joints, num_joints, rest, angle), layout(num_joints), None, warnings)
    np.testing.assert_allclose(found.rest, rest, atol=1e-9)
    np.testing.assert_allclose(found.root, ROOT, atol=1e-9)
    assert not warnings


def test_missing_joints_are_the_built_in_ones_at_the_persons_size() -> None:
    rest = rest_of(55, 1.1)
    found = recover(track(55, 22, rest), layout(55), None, [])
    np.testing.assert_allclose(found.rest, rest, atol=1e-9)
    stubs = recover(track(24, 22, rest_of(24, 1.1)), layout(24), None, [])
    np.testing.assert_allclose(stubs.rest, rest_of(24, 1.1), atol=1e-9)


def test_hands_of_smpl_do_not_pass_for_the_face_of_smplx() -> None:
    found = recover(replace(track(24, 24, rest_of(24)), pose=np.zeros((NUM, 55, 3))), layout(55), None, [])
    offsets, _ = bone_offsets(replace(track(24, 24, rest_of(24)), pose=np.zeros((NUM, 55, 3))), layout(55))
    assert np.isnan(offsets[22:]).all()
    assert found.rest.shape == (55, 3)


def test_outlier_frames_do_not_move_the_bones_and_alien_joints_are_told() -> None:
    body = track(24, 24, rest_of(24))
    spoilt = body.joints.copy()
    spoilt[:3] += np.random.default_rng(0).normal(0, 0.1, (3, 24, 3))
    warnings: list[str] = []
    np.testing.assert_allclose(recover(replace(body, joints=spoilt), layout(24), None, warnings).rest, rest_of(24), atol=0.02)
    assert not warnings
    recover(replace(body, pose=track(24, 24, rest_of(24), 0.5).pose), layout(24), None, warnings)
    assert "do not follow from its poses" in warnings[0]


def test_without_joints_or_model_the_built_in_body_is_used_and_told() -> None:
    warnings: list[str] = []
    found = recover(replace(track(24, 24, rest_of(24)), joints=None), layout(24), None, warnings)
    np.testing.assert_allclose(found.rest, rest_of(24), atol=1e-12)
    assert "built-in skeleton" in warnings[0]


@pytest.mark.parametrize(("kind", "num_joints"), [("smpl", 24), ("smplx", 55), ("smplx", 24), ("smpl", 55), ("smplx", 22)])
def test_model_files_give_joints_linear_in_betas(tmp_path: Path, kind: str, num_joints: int) -> None:
    path, joints, directions = write_model(tmp_path, kind)
    betas = np.linspace(-1, 1, 10)
    shaped = joints + directions @ betas
    body = replace(track(num_joints, num_joints, rest_of(num_joints)), joints=None, betas=betas)
    found = recover(body, layout(num_joints), load_joint_model(path, 10), [])
    np.testing.assert_allclose(found.rest[:22], shaped[:22] - shaped[0], atol=1e-6)
    np.testing.assert_allclose(found.root, shaped[0], atol=1e-6)
    np.testing.assert_allclose(found.directions[:22], directions[:22] - directions[0], atol=1e-6)
    np.testing.assert_allclose(found.root_directions, directions[0], atol=1e-6)
    if kind == "smplx" and num_joints == 24:
        np.testing.assert_allclose(found.rest[22:], shaped[[28, 43]] - shaped[0], atol=1e-6)
    bodies = assemble([found], [betas], layout(num_joints))
    assert bodies.shape_directions.shape == (1, num_joints, 3, 10)
    assert bodies.rest_joints.dtype == torch.float64


def test_another_models_joints_are_told(tmp_path: Path) -> None:
    path, _, _ = write_model(tmp_path, "smpl")
    warnings: list[str] = []
    recover(track(24, 24, rest_of(24, 1.2)), layout(24), load_joint_model(path, 10), warnings)
    assert "differ from those of body_model.path" in warnings[0]


def test_anthropometry_scales_with_the_person() -> None:
    for size in (0.8, 1.0, 1.2):
        rest = rest_of(24, size)
        assert stature(rest) == pytest.approx(STATURE * size)
        np.testing.assert_allclose(thickness(rest), size * thickness(rest_of(24)))
        ankle, foot = index_of("left_ankle"), index_of("left_foot")
        height = heights(rest, None)
        assert height[ankle] == pytest.approx(ANKLE_HEIGHT * STATURE * size)
        assert height[ankle] - height[foot] == pytest.approx(rest[ankle, 1] - rest[foot, 1])
        assert np.isfinite(height).sum() == 4
    assert heights(rest, -1.0)[foot] == pytest.approx(rest[foot, 1] + 1)
    # a trunk is some 24 cm deep, a wrist some 5 cm thick
    assert 2 * thickness(rest_of(24))[index_of("spine3")] == pytest.approx(0.25, abs=0.03)
    assert 2 * thickness(rest_of(24))[index_of("left_wrist")] == pytest.approx(0.053, abs=0.01)
    assert np.isnan(thickness(rest_of(55))[22:]).all()
