"""What every prior promises, checked on every variant of every member of the registry."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from contract_cases import CASES, every_prior, prior_of
from prior_cases import JOINTS, conditioned_on_root, make_poses, random_rotations, shake, trained
from torch import Tensor

from pose_priors.body.skeleton import JOINT_NAMES, NUM_JOINTS
from pose_priors.configs.base import UserError
from pose_priors.priors.base import Prior
from pose_priors.priors.default_pose import default_pose


def _energy_and_gradient(prior: Prior, pose: Tensor) -> tuple[Tensor, Tensor]:
    pose = pose.clone().requires_grad_()
    energy = prior.energy(pose)
    (gradient,) = torch.autograd.grad(energy.sum(), pose)
    return energy.detach(), gradient


@every_prior
def test_it_names_the_joints_that_it_learns(name: str) -> None:
    prior = prior_of(name)
    assert set(prior.joint_indices) <= set(JOINTS)
    assert prior.joints == tuple(JOINT_NAMES[i] for i in prior.joint_indices)
    assert prior.num_joints == len(prior.joints) == len(set(prior.joints))


@every_prior
@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3)])
def test_energy_takes_any_batch_shape(name: str, batch: tuple[int, ...]) -> None:
    prior = prior_of(name)
    poses = make_poses(math.prod(batch), seed=1)
    energy = prior.energy(poses.view(*batch, NUM_JOINTS, 3))
    assert energy.shape == batch
    torch.testing.assert_close(energy.flatten(), prior.energy(poses), rtol=1e-4, atol=1e-3)


@every_prior
@pytest.mark.parametrize("shape", [(NUM_JOINTS,), (2, 54, 3), (2, NUM_JOINTS, 4), (2, NUM_JOINTS * 3)])
def test_energy_refuses_what_is_not_a_pose(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="55"):
        prior_of(name).energy(torch.zeros(shape))


@every_prior
def test_each_pose_has_its_energy_whatever_the_batch(name: str) -> None:
    prior = prior_of(name)
    poses = torch.cat([make_poses(6, seed=1), random_rotations(6)])
    together = prior.energy(poses)
    alone = torch.cat([prior.energy(pose[None]) for pose in poses])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(prior.energy(poses.flip(0)), together.flip(0), rtol=1e-4, atol=1e-3)


def _of_angle(angle: float, num: int = 32) -> Tensor:
    axis = torch.nn.functional.normalize(torch.randn(num, NUM_JOINTS, 3, generator=torch.Generator().manual_seed(2)), dim=-1)
    axis[:3] = torch.eye(3)[:, None]
    return axis * angle


@every_prior
@pytest.mark.parametrize("angle", [0.0, 1e-20, 1e-8, 1e-4, math.pi - 1e-4, math.pi, math.pi + 1e-6, 1.5 * math.pi, 2 * math.pi, 50.0])
def test_energy_and_gradient_are_finite_at_every_angle(name: str, angle: float) -> None:
    energy, gradient = _energy_and_gradient(prior_of(name), _of_angle(angle))
    assert torch.isfinite(energy).all()
    assert torch.isfinite(gradient).all()


@every_prior
def test_energy_is_finite_bounded_and_higher_than_of_data_at_random_rotations(name: str) -> None:
    prior = prior_of(name)
    energy, gradient = _energy_and_gradient(prior, random_rotations(1000))
    assert torch.isfinite(gradient).all()
    assert energy.max() < 1e4
    data = prior.energy(make_poses(200, seed=3, shift=0.1))
    assert energy.median() > data.median() + 10


@every_prior
def test_the_gradient_is_that_of_the_energy(name: str) -> None:
    prior = copy.deepcopy(prior_of(name)).double()
    pose = make_poses(8, seed=4).double()
    _, gradient = _energy_and_gradient(prior, pose)
    direction = torch.randn(pose.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-8
    slope = (prior.energy(pose + step * direction) - prior.energy(pose - step * direction)) / (2 * step)
    # all but those where a spline's knot, at which its slope has a kink, happens to lie between the two points
    assert torch.isclose((gradient * direction).sum((-1, -2)), slope, rtol=1e-3, atol=1e-3).sum() >= 7


@every_prior
def test_energy_depends_on_rotations_not_on_how_they_are_written(name: str) -> None:
    prior = prior_of(name)
    poses = torch.cat([make_poses(20, seed=5), random_rotations(20)])
    turned = poses + 2 * math.pi * torch.nn.functional.normalize(poses, dim=-1)
    torch.testing.assert_close(prior.energy(turned), prior.energy(poses), rtol=1e-3, atol=5e-2)


@every_prior
def test_joints_not_learnt_do_not_matter(name: str) -> None:
    prior = prior_of(name)
    poses, changed = make_poses(8, seed=6), make_poses(8, seed=6)
    others = [i for i in range(NUM_JOINTS) if i not in prior.joint_indices and not (i == 0 and conditioned_on_root(prior))]
    changed[:, others] = random_rotations(8)[:, others]
    assert torch.equal(prior.energy(changed), prior.energy(poses))
    _, gradient = _energy_and_gradient(prior, poses)
    assert (gradient[:, others] == 0).all()
    assert (gradient[:, list(prior.joint_indices)] != 0).any(-1).float().mean() > 0.99


@every_prior
def test_samples_are_canonical_repeatable_and_filled(name: str) -> None:
    prior = prior_of(name)
    torch.manual_seed(1)
    first = prior.sample(7, torch.Generator().manual_seed(0))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = prior.sample(7, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)
    other = prior.sample(7, torch.Generator().manual_seed(1))
    assert first.shape == (7, NUM_JOINTS, 3)
    assert torch.isfinite(first).all()
    assert not first.requires_grad
    assert first.norm(dim=-1).max() <= math.pi + 1e-5
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    others = [i for i in range(NUM_JOINTS) if i not in prior.joint_indices and not (i == 0 and conditioned_on_root(prior))]
    assert torch.equal(first[:, others], prior.default_pose[others].expand(7, -1, -1))
    assert torch.equal(prior.default_pose, default_pose(make_poses(256), prior.joint_indices))
    assert [prior.sample(num).shape for num in (0, 2)] == [(0, NUM_JOINTS, 3), (2, NUM_JOINTS, 3)]


@every_prior
def test_samples_look_better_to_the_prior_than_random_rotations(name: str) -> None:
    prior = prior_of(name)
    sampled = prior.energy(prior.sample(100, torch.Generator().manual_seed(0)))
    assert torch.isfinite(sampled).all()
    assert sampled.median() < prior.energy(random_rotations(100)).median()


@every_prior
def test_state_dict_round_trip_is_bitwise(name: str) -> None:
    prior = prior_of(name)
    again = CASES[name].build(prior.joint_indices)
    again.load_state_dict(prior.state_dict())
    poses = torch.cat([make_poses(10, seed=7), random_rotations(10)])
    assert torch.equal(again.eval().energy(poses), prior.energy(poses))
    assert torch.equal(again.sample(3, torch.Generator().manual_seed(0)), prior.sample(3, torch.Generator().manual_seed(0)))


@every_prior
def test_training_lowers_the_loss(name: str) -> None:
    poses = make_poses(128, shift=0.1)
    before = trained(CASES[name], JOINTS, 0, poses, started_on=make_poses(256))
    with torch.no_grad():
        losses = [prior.loss(poses)["loss"] for prior in (before, prior_of(name))]
    assert losses[1] < losses[0] - 0.5


@every_prior
def test_loss_is_a_finite_scalar_that_reaches_every_parameter(name: str) -> None:
    prior = shake(copy.deepcopy(prior_of(name)), 0.01).train()
    torch.manual_seed(0)
    values = prior.loss(make_poses(64, seed=8))
    assert all(value.shape == () for value in values.values())
    assert torch.isfinite(torch.stack([value.detach() for value in values.values()])).all()
    values["loss"].backward()
    for parameter_name, parameter in prior.named_parameters():
        if not parameter.requires_grad:
            continue  # a mixture beside a denoiser's networks is fitted, not trained
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


@every_prior
def test_start_is_finite_and_the_same_on_every_rank(name: str) -> None:
    torch.manual_seed(0)
    prior = CASES[name].build(JOINTS)
    ranks = [copy.deepcopy(prior) for _ in range(2)]
    for rank, on_rank in enumerate(ranks):
        torch.manual_seed(rank)
        on_rank.fit_statistics(make_poses(256))
    for (key, first), second in zip(ranks[0].state_dict().items(), ranks[1].state_dict().values(), strict=True):
        assert torch.isfinite(first).all(), key
        assert torch.equal(first, second), key


@every_prior
def test_parameters_stay_finite_and_a_broken_one_is_noticed(name: str) -> None:
    prior = copy.deepcopy(prior_of(name))
    prior.check_finite()
    next(prior.parameters()).data.view(-1)[0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        prior.check_finite()


@every_prior
def test_copies_are_independent(name: str) -> None:
    prior, poses = prior_of(name), make_poses(128, shift=0.1)[:10]  # those it was trained on
    before = prior.energy(poses)
    copied = copy.deepcopy(prior)
    assert torch.equal(copied.energy(poses), before)
    shake(copied)
    assert not torch.equal(copied.energy(poses), before)
    assert torch.equal(prior.energy(poses), before)


@every_prior
def test_reconstruction_is_a_canonical_pose(name: str) -> None:
    prior, poses = prior_of(name), make_poses(20, seed=10)
    back = prior.reconstruct(poses)
    assert back.shape == poses.shape
    assert back.norm(dim=-1).max() <= math.pi + 1e-5
    others = [i for i in range(NUM_JOINTS) if i not in prior.joint_indices]
    assert torch.equal(back[:, others], prior.default_pose[others].expand(20, -1, -1))


@every_prior
def test_a_prior_learns_what_there_is_or_says_what_it_lacks(name: str) -> None:
    if not name.startswith("hand_vae"):
        assert CASES[name].build((1, 2)).joints == ("left_hip", "right_hip")
    else:
        with pytest.raises(UserError, match="hand") as caught:
            CASES[name].build((1, 2))
        assert "\n" not in str(caught.value)
