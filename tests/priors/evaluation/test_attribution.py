"""The full conditionals of joints against an integral over a grid of all rotations, and against a density whose joints are independent."""

from __future__ import annotations

import pytest
import torch
from prior_cases import cases, make_poses, random_rotations, trained
from torch import Tensor

from pose_priors.priors.base import Prior
from pose_priors.priors.evaluation.attribution import nll_per_joint

JOINTS = (1, 2, 16, 17)
CASES = dict(cases())
_DENSE = 100_000


def _prior(kind: str) -> Prior:
    name = next(name for name in CASES if name.startswith(kind))
    poses = make_poses(256, spread=0.35)
    return trained(CASES[name], JOINTS, 10, poses, started_on=poses)


def _by_integration(prior: Prior, pose: Tensor) -> Tensor:
    """-log p(x_j | rest), the integral as a mean over rotations that are uniform on SO(3)."""
    uniform = random_rotations(_DENSE, seed=3)
    out = torch.zeros(len(pose), prior.num_joints)
    for row, one in enumerate(pose):
        for at, joint in enumerate(prior.joint_indices):
            changed = one.expand(_DENSE, -1, -1).clone()
            changed[:, joint] = uniform[:, joint]
            with torch.no_grad():
                log_mean = torch.logsumexp(-prior.energy(changed), 0) - torch.log(torch.tensor(float(_DENSE)))
                out[row, at] = log_mean + prior.energy(one)
    return out


@pytest.mark.parametrize("kind", ["gaussian-full", "joint_flow", "global_flow"])
def test_it_is_the_conditional_that_integration_gives(kind: str) -> None:
    prior = _prior(kind)
    poses = torch.cat([make_poses(1, seed=5, spread=0.35), random_rotations(1, seed=2)])
    torch.testing.assert_close(nll_per_joint(prior, poses, 2048), _by_integration(prior, poses), rtol=0, atol=0.4)


def test_few_draws_are_near_many() -> None:
    prior, poses = _prior("joint_flow"), make_poses(20, seed=6, spread=0.35)
    few, many = nll_per_joint(prior, poses), nll_per_joint(prior, poses, 1024)
    assert (few - many).square().mean().sqrt() < 0.4


def test_of_independent_joints_only_the_one_that_was_moved_changes() -> None:
    prior = _prior("gaussian-diagonal")
    pose = make_poses(1, seed=8)
    moved = pose.clone()
    moved[:, 16] = torch.tensor([2.5, 0.0, 0.0])
    before, after = nll_per_joint(prior, pose, 512), nll_per_joint(prior, moved, 512)
    at = prior.joint_indices.index(16)
    # the broad part of the mixture ties joints together a little
    assert after[0, at] - before[0, at] > 3
    torch.testing.assert_close((after - before)[0, at], (prior.energy(moved) - prior.energy(pose))[0], rtol=0, atol=0.5)


def test_a_joint_that_was_taken_from_elsewhere_stands_out() -> None:
    prior = _prior("global_flow")
    poses = make_poses(16, seed=9, spread=0.35)
    wrong = poses.clone()
    wrong[:, 2] = random_rotations(16, seed=4)[:, 2]
    change = (nll_per_joint(prior, wrong) - nll_per_joint(prior, poses)).mean(0)
    assert change.argmax() == prior.joint_indices.index(2)


@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_shapes_repeatability_and_gradients(batch: tuple[int, ...]) -> None:
    prior = _prior("gaussian-full")
    poses = make_poses(4, seed=1)[: max(1, int(torch.tensor(batch).prod()) if batch else 1)].reshape(*batch, 55, 3).requires_grad_()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    values = nll_per_joint(prior, poses)
    assert values.shape == (*batch, 4)
    assert not values.requires_grad
    assert torch.equal(values, nll_per_joint(prior, poses))
    assert torch.equal(torch.get_rng_state(), state)
    alone = nll_per_joint(prior, poses.reshape(-1, 55, 3)[:1])
    torch.testing.assert_close(values.reshape(-1, 4)[:1], alone, rtol=1e-3, atol=1e-3)


def test_a_prior_without_a_density_can_be_asked_too() -> None:
    joints = tuple(range(25, 40))
    config = next(config for name, config in CASES.items() if name.startswith("hand_vae"))
    poses = make_poses(128)
    prior = trained(config, (*joints, *range(40, 55)), 10, poses, started_on=poses)
    values = nll_per_joint(prior, poses[:3])
    assert values.shape == (3, prior.num_joints)
    assert values.isfinite().all()
