"""What built-in motions are made of: ramps and noise, angles of feet, wrists that go where they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from synthetic_cases import WRISTS, generator

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import PARENTS, index_of
from pose_priors.datamodules.synthetic.arms_ik import ARM_JOINTS, shoulders, wrists_to
from pose_priors.datamodules.synthetic.legs_ik import foot_angles, foot_rotations
from pose_priors.datamodules.synthetic.poses import within_limits
from pose_priors.datamodules.synthetic.timing import pulse, ramp, wander


def test_ramps_and_pulses() -> None:
    at = torch.linspace(-1, 3, 401, dtype=torch.float64, requires_grad=True)
    value = ramp(at, 0.5, 1.5)
    (slope,) = torch.autograd.grad(value.sum(), at)
    assert value[0] == 0
    assert value[-1] == 1
    assert value[200].item() == pytest.approx(0.5)
    assert slope.max().item() == pytest.approx(1.875)
    # the quintic has the least jerk of all curves with these ends: a disturbance that keeps them adds to it
    s = np.linspace(0, 1, 2001)

    def jerk(curve: np.ndarray) -> float:
        return float((np.diff(curve, 3) ** 2).sum() * 2000**5)

    least = ramp(torch.from_numpy(s), 0, 1).numpy()
    assert jerk(least) == pytest.approx(720, rel=0.01)
    assert jerk(least + 0.02 * s**3 * (1 - s) ** 3) > jerk(least)
    bump = pulse(at.detach(), 0.0, 2.0)
    assert bump.max().item() == pytest.approx(1)
    assert bump[[0, -1]].abs().max() == 0
    noise = wander(generator(), 4000, 5.0, 3)
    assert noise.std(0).numpy() == pytest.approx([1, 1, 1], abs=0.12)
    assert noise.diff(dim=0).abs().max() < 1


def test_angles_of_a_foot_make_its_rotation() -> None:
    yaw, pitch = torch.meshgrid(torch.linspace(-3, 3, 9).double(), torch.linspace(-0.6, 1.5, 9).double(), indexing="ij")
    back = foot_angles(foot_rotations(yaw, pitch))
    torch.testing.assert_close(back, (yaw, pitch))


def test_wrists_go_to_places_within_reach_and_only_the_arms_move() -> None:
    drawn = generator(4)
    pose = within_limits(0.2 * torch.randn(200, 22, 3, generator=drawn, dtype=torch.float64))
    away = torch.nn.functional.normalize(torch.randn(200, 2, 3, generator=drawn, dtype=torch.float64), dim=-1)
    away[..., 2] = away[..., 2].abs()  # behind, the shoulder girdle would leave it
    distance = 0.3 + 0.15 * torch.rand(200, 2, 1, generator=drawn, dtype=torch.float64)
    target = shoulders(pose, 1.7) + distance * away
    moved = wrists_to(pose, 1.7, target, torch.zeros(200, 2, dtype=torch.float64))
    joints, _ = forward_kinematics(moved, rest_joints(1.7)[:22], PARENTS[:22])
    assert (joints[:, WRISTS] - target).norm(dim=-1).max() < 5e-3
    others = [joint for joint in range(22) if joint not in ARM_JOINTS]
    assert torch.equal(moved[:, others], pose[:, others])
    # elbows bend one way: left ones about -y, right ones about +y
    elbows = moved[:, [index_of("left_elbow"), index_of("right_elbow")], 1]
    assert (elbows[:, 0] < 0).all()
    assert (elbows[:, 1] > 0).all()
