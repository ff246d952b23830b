"""The benchmark of soles finds what a foot is rolled by, and prints a row for each person."""

from __future__ import annotations

import math

import pytest
import roma
import torch

from pose_priors.benchmarks.refined_soles import _posed, _rolls, _turns
from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import PARENTS, index_of

PARENTS22 = PARENTS[:22]


@pytest.mark.parametrize("degrees", [-30.0, 0.0, 5.0])
def test_the_roll_of_a_foot_is_found_however_the_body_stands(degrees: float) -> None:
    rest = rest_joints()[:22].double()
    bone = torch.nn.functional.normalize(rest[index_of("left_foot")] - rest[index_of("left_ankle")], dim=0)
    turn = torch.tensor([0.3, -2.0, 0.9], dtype=torch.float64)
    rotvec = torch.zeros(1, 1, 22, 3, dtype=torch.float64)
    rotvec[..., 0, :], rotvec[..., index_of("left_ankle"), :] = turn, math.radians(degrees) * bone
    turned = _turns(rotvec, PARENTS22)
    up = roma.rotvec_to_rotmat(turn)[:, 1]
    assert torch.rad2deg(_rolls(turned, rest[None], up)).flatten().tolist() == pytest.approx([degrees, 0.0], abs=1e-6)
    joints, _ = forward_kinematics(rotvec[0], rest, PARENTS22)
    bones = rest - rest[[max(parent, 0) for parent in PARENTS22]]
    assert torch.allclose(_posed(turned[0], bones, PARENTS22), joints - joints[:, :1])
