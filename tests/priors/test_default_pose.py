"""What joints that no prior has learnt come out as: a mean rotation, and a root that stands upright."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from prior_cases import JOINTS, cases, conditioned_on_root, make_poses
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.rotations import mean_rotation
from pose_priors.body.skeleton import NUM_JOINTS, index_of
from pose_priors.figures.drawing import draw_poses
from pose_priors.priors.default_pose import default_pose
from pose_priors.priors.evaluation.report import as_drawn

CASES = dict(cases())
Z_UP = torch.tensor([math.pi / 2, 0, 0])
DRAWN_ROOTS = [name for name, config in CASES.items() if conditioned_on_root(config.build(JOINTS))]


def z_up_poses(num: int, seed: int = 0) -> Tensor:
    """Poses (num, 55, 3) of people who stand on z = 0 and face anywhere."""
    poses = make_poses(num, seed)
    heading = torch.zeros(num, 3)
    heading[:, 2] = 2 * math.pi * torch.rand(num, generator=torch.Generator().manual_seed(seed)) - math.pi
    upright = roma.rotvec_to_rotmat(heading) @ roma.rotvec_to_rotmat(Z_UP)
    poses[:, 0] = roma.rotmat_to_rotvec(upright)
    return poses


def _mean_chordal(rotvec: Tensor, to: Tensor) -> Tensor:
    return (roma.rotvec_to_rotmat(rotvec) - roma.rotvec_to_rotmat(to)).square().sum((-1, -2)).mean(0)


def test_the_mean_of_rotations_near_half_a_turn_is_near_half_a_turn() -> None:
    """About x by 175 and 185 degrees: the second is written as -175, and components average to none at all."""
    generator = torch.Generator().manual_seed(0)
    angle = math.pi + 0.2 * torch.randn(400, 1, generator=generator, dtype=torch.float64)
    angle = torch.cat([angle, 2 * math.pi - angle])  # symmetric about pi
    rotvec = torch.cat([angle, torch.zeros_like(angle), torch.zeros_like(angle)], 1)
    canonical = torch.where(rotvec[:, :1] > math.pi, rotvec - 2 * math.pi * torch.tensor([1.0, 0, 0]), rotvec)
    mean = mean_rotation(canonical)
    assert float(roma.rotvec_geodesic_distance(mean, torch.tensor([math.pi, 0, 0]).double())) < 1e-5
    assert float(canonical.mean(0).norm()) < 1  # what the mean of the components is


def test_no_rotation_is_closer_than_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(200, 4, 3, generator=generator, dtype=torch.float64)
    rotvec = torch.tensor([0.0, 2.0, 3.0, 3.1]).double()[:, None] * torch.nn.functional.normalize(spread[:1], dim=-1) + 0.6 * spread
    mean = mean_rotation(rotvec)
    least = _mean_chordal(rotvec, mean)
    for _ in range(50):
        step = 0.1 * torch.randn(4, 3, generator=generator, dtype=torch.float64)
        moved = roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(mean) @ roma.rotvec_to_rotmat(step))
        assert (_mean_chordal(rotvec, moved) > least).all()


@pytest.mark.parametrize("poses", [z_up_poses(500), make_poses(500)], ids=["z up", "y up"])
def test_a_root_that_is_not_learnt_is_the_identity(poses: Tensor) -> None:
    found = default_pose(poses, JOINTS)
    assert found.shape == (NUM_JOINTS, 3)
    assert found.dtype == poses.dtype
    assert torch.equal(found[0], torch.zeros(3))
    torch.testing.assert_close(found[1:], mean_rotation(poses[:, 1:].double()).float())
    learnt = default_pose(poses, (0, *JOINTS))
    torch.testing.assert_close(learnt[0], mean_rotation(poses[:, 0].double()).float())


def test_joints_that_never_move_stay_where_they_are() -> None:
    poses = make_poses(50)
    poses[:, 1:] = torch.tensor([0.3, -0.2, 3.0])
    poses[:, [22, 23, 24]] = 0
    found = default_pose(poses, (0,))
    torch.testing.assert_close(found[1:], poses[0, 1:], rtol=0, atol=1e-6)
    assert torch.equal(found[22], torch.zeros(3))


@pytest.mark.parametrize("name", [name for name in CASES if name not in DRAWN_ROOTS])
def test_samples_of_a_prior_of_z_up_data_stand(name: str) -> None:
    torch.manual_seed(0)
    prior = CASES[name].build(JOINTS)
    prior.fit_statistics(z_up_poses(300))
    drawn = prior.eval().sample(4, torch.Generator().manual_seed(0))
    assert torch.equal(drawn[:, 0], torch.zeros(4, 3))
    joints, _ = forward_kinematics(drawn.double(), rest_joints())
    head, feet = joints[:, index_of("head"), 1], joints[:, [index_of("left_foot"), index_of("right_foot")], 1]
    assert (head > feet.amax(1) + 0.5).all()


def test_on_the_picture_heads_are_above_feet() -> None:
    torch.manual_seed(0)
    prior = CASES[next(name for name in CASES if name.startswith("gaussian"))].build(JOINTS)
    prior.fit_statistics(z_up_poses(300))
    figure = draw_poses(prior.sample(3, torch.Generator().manual_seed(0)))
    assert len(figure.axes) == 3
    for axes in figure.axes:
        assert not axes.yaxis_inverted()
        (bones,) = axes.collections
        ends = [bone[1][1] for bone in bones.get_segments()]  # a line for each joint but the root, from its parent
        head, *feet = (ends[index_of(name) - 1] for name in ("head", "left_foot", "right_foot"))
        assert head > max(feet) + 0.5


def test_data_are_drawn_as_upright_as_samples() -> None:
    poses = z_up_poses(5)
    upright, turned = torch.zeros(2, NUM_JOINTS, 3), torch.ones(2, NUM_JOINTS, 3)
    shown = as_drawn(poses, [upright])
    assert torch.equal(shown[:, 0], torch.zeros(5, 3))
    assert torch.equal(shown[:, 1:], poses[:, 1:])
    assert torch.equal(as_drawn(poses, [upright, turned]), poses)
