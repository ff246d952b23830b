"""Forward kinematics against a slow walk along each joint's chain, and the built-in skeleton against its anthropometry."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from torch import Tensor

from pose_priors.body.builtin import ANKLE_HEIGHT, STATURE, rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import JOINT_NAMES, MIRROR, NUM_JOINTS, PARENTS, SMPLH_TO_SMPLX, index_of

SMPLH_PARENTS = tuple(SMPLH_TO_SMPLX.index(PARENTS[i]) if PARENTS[i] >= 0 else -1 for i in SMPLH_TO_SMPLX)
TREES = {22: PARENTS[:22], 24: (*PARENTS[:22], 20, 21), 52: SMPLH_PARENTS, 55: PARENTS}


def _reference(rotvec: Tensor, rest: Tensor, parents: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """4x4 transforms multiplied along the chain from the root to each joint of one pose."""
    joints, rotations = [], []
    for joint in range(len(parents)):
        chain = [joint]
        while parents[chain[0]] >= 0:
            chain.insert(0, parents[chain[0]])
        transform = torch.eye(4, dtype=rotvec.dtype)
        for link in chain:
            step = torch.eye(4, dtype=rotvec.dtype)
            step[:3, :3] = torch.linalg.matrix_exp(_cross(rotvec[link]))
            step[:3, 3] = rest[link] - (rest[parents[link]] if parents[link] >= 0 else 0)
            transform = transform @ step
        joints.append(transform[:3, 3])
        rotations.append(transform[:3, :3])
    return torch.stack(joints), torch.stack(rotations)


def _cross(vector: Tensor) -> Tensor:
    x, y, z = vector.tolist()
    return torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=vector.dtype)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("num_joints", TREES)
def test_equals_the_chain_of_every_joint(num_joints: int, generator: torch.Generator) -> None:
    parents = TREES[num_joints]
    rotvec = 3 * torch.randn(2, 2, num_joints, 3, generator=generator, dtype=torch.float64)
    rest = torch.randn(num_joints, 3, generator=generator, dtype=torch.float64)
    joints, rotations = forward_kinematics(rotvec, rest, parents)
    for i in range(2):
        for k in range(2):
            expected_joints, expected_rotations = _reference(rotvec[i, k], rest, parents)
            torch.testing.assert_close(joints[i, k], expected_joints, rtol=0, atol=1e-12)
            torch.testing.assert_close(rotations[i, k], expected_rotations, rtol=0, atol=1e-12)


def test_float32(generator: torch.Generator) -> None:
    rotvec, rest = torch.randn(5, NUM_JOINTS, 3, generator=generator), rest_joints()
    joints, rotations = forward_kinematics(rotvec, rest.float())
    assert joints.dtype == rotations.dtype == torch.float32
    torch.testing.assert_close(joints.double(), forward_kinematics(rotvec.double(), rest)[0], rtol=0, atol=2e-6)


def test_every_body_has_its_own_rest_joints(generator: torch.Generator) -> None:
    rotvec = torch.randn(3, 4, NUM_JOINTS, 3, generator=generator, dtype=torch.float64)
    rest = rest_joints() * torch.tensor([0.9, 1.0, 1.1], dtype=torch.float64)[:, None, None, None]
    joints, rotations = forward_kinematics(rotvec, rest)
    assert joints.shape == (3, 4, NUM_JOINTS, 3)
    assert rotations.shape == (3, 4, NUM_JOINTS, 3, 3)
    for i in range(3):
        torch.testing.assert_close(joints[i], forward_kinematics(rotvec[i], rest[i, 0])[0], rtol=0, atol=1e-12)


def test_one_pose_on_many_bodies_and_no_batch(generator: torch.Generator) -> None:
    rotvec = torch.randn(NUM_JOINTS, 3, generator=generator, dtype=torch.float64)
    rest = torch.stack([rest_joints(1.5), rest_joints(1.9)])
    joints, rotations = forward_kinematics(rotvec, rest)
    assert joints.shape == (2, NUM_JOINTS, 3)
    assert rotations.shape == (2, NUM_JOINTS, 3, 3)
    single, _ = forward_kinematics(rotvec, rest[1])
    torch.testing.assert_close(joints[1], single, rtol=0, atol=1e-12)
    empty, _ = forward_kinematics(rotvec.new_zeros(0, NUM_JOINTS, 3), rest[0])
    assert empty.shape == (0, NUM_JOINTS, 3)


@pytest.mark.parametrize("angle", [0.0, 1e-3, math.pi - 1e-4, math.pi, math.pi + 1e-4, 2 * math.pi, 7.0])
def test_gradients_at_special_angles(angle: float, generator: torch.Generator) -> None:
    parents = (-1, 0, 1, 1, 2, 0)
    axes = torch.nn.functional.normalize(torch.randn(2, 6, 3, generator=generator, dtype=torch.float64), dim=-1)
    rotvec = (axes * angle).requires_grad_()
    rest = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w, j: forward_kinematics(w, j, parents), (rotvec, rest))


def test_root_turns_about_its_own_rest_position(generator: torch.Generator) -> None:
    """As in smplx: a rotation of the root leaves the root where it is."""
    rotvec = torch.zeros(1, NUM_JOINTS, 3, dtype=torch.float64)
    rotvec[0, 0] = torch.tensor([0.3, 1.0, -0.4])
    rest = rest_joints() + torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    joints, _ = forward_kinematics(rotvec, rest)
    turned = (roma.rotvec_to_rotmat(rotvec[0, 0]) @ (rest - rest[0]).T).T + rest[0]
    torch.testing.assert_close(joints[0], turned, rtol=0, atol=1e-12)


def test_bad_shapes_and_trees() -> None:
    rest = rest_joints()
    with pytest.raises(ValueError, match="22 joints"):
        forward_kinematics(torch.zeros(NUM_JOINTS, 3), rest, PARENTS[:22])
    with pytest.raises(ValueError, match="parents must start with one root"):
        forward_kinematics(torch.zeros(3, 3), torch.zeros(3, 3), (-1, 2, 0))
    with pytest.raises(ValueError, match="parents must start with one root"):
        forward_kinematics(torch.zeros(2, 3), torch.zeros(2, 3), (-1, -1))


def test_builtin_skeleton_stands_in_symmetric_t_pose() -> None:
    rest = rest_joints()
    assert torch.equal(rest[0], torch.zeros(3, dtype=torch.float64))
    flipped = rest[list(MIRROR)] * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(flipped, rest, rtol=0, atol=0)
    at = {name: rest[i] for i, name in enumerate(JOINT_NAMES)}
    assert at["left_wrist"][0] > at["left_elbow"][0] > at["left_shoulder"][0] > at["left_collar"][0] > 0
    assert abs(at["left_wrist"][1] - at["left_shoulder"][1]) < 0.05
    assert at["left_thumb3"][2] > at["left_index1"][2] > at["left_middle1"][2] > at["left_ring1"][2] > at["left_pinky1"][2]
    assert at["left_foot"][2] > at["left_ankle"][2] + 0.08
    assert at["head"][1] > at["neck"][1] > at["spine3"][1] > at["spine2"][1] > at["spine1"][1] > at["pelvis"][1] > at["left_hip"][1]
    assert at["left_eye_smplhf"][2] > at["jaw"][2] > at["neck"][2]


# Bones from parent to joint in SMPL-X's mean rest pose, to half a centimetre, left and right averaged: x left, y up, z forward.
SMPLX_MEAN_CM = {
    "left_hip": (6.5, -10.0, -2.0),
    "spine1": (0.0, 11.0, -3.0),
    "spine2": (0.0, 13.0, -0.5),
    "spine3": (0.0, 5.0, 3.0),
    "left_knee": (5.0, -37.0, -1.0),
    "left_ankle": (-3.0, -41.0, -2.5),
    "left_foot": (4.0, -6.0, 12.0),
    "neck": (0.0, 16.5, -3.0),
    "head": (0.0, 16.0, 2.0),
    "left_collar": (4.5, 8.5, -1.0),
    "left_shoulder": (11.0, 6.0, -1.5),
    "left_elbow": (26.0, -5.0, -3.0),
    "left_wrist": (25.0, 1.0, -1.0),
}


def test_builtin_skeleton_stands_as_smplx_does_on_average() -> None:
    rest, places = rest_joints()[:22], torch.zeros(22, 3, dtype=torch.float64)
    for joint in range(1, 22):
        name = JOINT_NAMES[joint]
        bone = torch.tensor(SMPLX_MEAN_CM[name.replace("right", "left")], dtype=torch.float64) / 100
        bone = bone * torch.tensor([-1.0 if name.startswith("right") else 1.0, 1.0, 1.0], dtype=torch.float64)
        places[joint] = places[PARENTS[joint]] + bone
        own = rest[joint] - rest[PARENTS[joint]]
        angle = torch.atan2(torch.linalg.cross(own, bone).norm(), own @ bone)
        assert angle.rad2deg() < 8, name
    off = (rest - places).norm(dim=-1)
    assert off.mean() < 0.015
    assert off.max() < 0.03


def test_builtin_heights_add_up_to_the_stature() -> None:
    """From the sole to the eyes by Drillis & Contini's 0.936, and the middle finger within the hand's 0.108."""
    rest = rest_joints()
    sole = rest[index_of("left_ankle"), 1] - ANKLE_HEIGHT * STATURE
    assert (rest[index_of("left_eye_smplhf"), 1] - sole).item() == pytest.approx(0.936 * STATURE, abs=1e-9)
    last_joint = (rest[index_of("left_middle3")] - rest[index_of("left_wrist")]).norm().item()
    tip = last_joint * (1 + 21.35 / (64.60 + 44.63 + 26.33))  # the last phalanx by Buryanov & Kotiuk, less the carpus
    assert 0.95 * 0.108 * STATURE < tip < 1.05 * 0.108 * STATURE
    torch.testing.assert_close(rest_joints(2 * STATURE), 2 * rest, rtol=1e-12, atol=1e-12)
