"""Ranges of motion: signs, symmetry, and the distance outside."""

from __future__ import annotations

import math

import pytest
import torch

from pose_priors.body.limits import JOINT_LIMITS, limit_violations
from pose_priors.body.rotations import canonicalize, mirror_pose
from pose_priors.body.skeleton import NUM_JOINTS, index_of

# joint, component of its rotation vector, a possible angle and an impossible one, in degrees
MOVEMENTS = [
    ("left_knee", 0, 120, -40),
    ("right_knee", 0, 120, -40),
    ("left_hip", 0, -110, 70),
    ("left_elbow", 1, -130, 40),
    ("right_elbow", 1, 130, -40),
    ("left_shoulder", 2, -80, 150),
    ("right_shoulder", 2, 80, -150),
    ("left_index2", 2, -95, 60),
    ("right_index2", 2, 95, -60),
    ("left_middle3", 2, -60, 50),
    ("jaw", 0, 20, -30),
    ("head", 1, 40, 100),
    ("left_foot", 0, -50, 80),
    ("spine1", 0, 40, -60),
]


@pytest.mark.parametrize(("name", "axis", "possible", "impossible"), MOVEMENTS)
def test_joints_bend_one_way(name: str, axis: int, possible: float, impossible: float) -> None:
    pose = torch.zeros(2, NUM_JOINTS, 3, dtype=torch.float64)
    pose[:, index_of(name), axis] = torch.tensor([possible, impossible], dtype=torch.float64).deg2rad()
    violations = limit_violations(pose)
    assert (violations[0] == 0).all()
    assert violations[1].argmax() == index_of(name)
    assert (violations[1] > 0).sum() == 1


def test_violation_is_the_distance_to_the_box() -> None:
    generator = torch.Generator().manual_seed(0)
    pose = canonicalize(3 * torch.randn(2, 50, NUM_JOINTS, 3, generator=generator, dtype=torch.float64))
    nearest = torch.maximum(torch.minimum(pose, JOINT_LIMITS[..., 1]), JOINT_LIMITS[..., 0])
    torch.testing.assert_close(limit_violations(pose), (pose - nearest).norm(dim=-1), rtol=0, atol=1e-12)
    assert limit_violations(pose).max() > 1


def test_t_pose_and_any_heading_are_possible() -> None:
    pose = torch.zeros(3, NUM_JOINTS, 3)
    pose[1, 0, 1], pose[2, 0, 0] = math.pi, -math.pi
    assert (limit_violations(pose) < 1e-6).all()


def test_limits_are_symmetric() -> None:
    generator = torch.Generator().manual_seed(0)
    pose = canonicalize(2 * torch.randn(50, NUM_JOINTS, 3, generator=generator, dtype=torch.float64))
    torch.testing.assert_close(limit_violations(mirror_pose(pose)).sum(-1), limit_violations(pose).sum(-1), rtol=0, atol=1e-12)
    assert (JOINT_LIMITS[..., 0] < 0).all()
    assert (JOINT_LIMITS[..., 1] > 0).all()
