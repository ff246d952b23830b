"""The contract of every prior under torch.func, on batches of any shape, and of its second derivatives."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from contract_cases import CASES, every_prior, prior_of
from prior_cases import JOINTS, make_poses
from torch import Tensor
from torch.func import grad, hessian, vmap

from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.priors.base import DensityPrior, Prior

COMPLETING = [name for name, config in CASES.items() if config.build(JOINTS).completes]
every_completing = pytest.mark.parametrize("name", COMPLETING)


def _functions(prior: Prior) -> list[Callable[[Tensor], Tensor]]:
    return [prior.energy, *([prior.log_prob] if isinstance(prior, DensityPrior) and not prior.energy_is_nll else [])]


@every_prior
@pytest.mark.parametrize("batch", [(0,), (2, 0), (0, 3), (1, 2, 2)])
def test_batches_may_be_empty_and_of_any_shape(name: str, batch: tuple[int, ...]) -> None:
    prior = prior_of(name)
    for function in _functions(prior):
        poses = make_poses(math.prod(batch)).view(*batch, NUM_JOINTS, 3).requires_grad_()
        value = function(poses)
        assert value.shape == batch
        (gradient,) = torch.autograd.grad(value.sum(), poses)
        assert gradient.shape == poses.shape


@every_prior
def test_functions_of_one_pose_are_transformed(name: str) -> None:
    prior, poses = prior_of(name), make_poses(3, seed=2)
    for function in _functions(prior):
        leaf = poses.clone().requires_grad_()
        values = function(leaf)
        (gradients,) = torch.autograd.grad(values.sum(), leaf)
        tolerance = {"rtol": 1e-3, "atol": 1e-3 * float(gradients.abs().max())}
        torch.testing.assert_close(vmap(function)(poses), values.detach(), rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(vmap(function, in_dims=1)(poses[:, None]), values.detach()[None], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(grad(function)(poses[0]), gradients[0], **tolerance)
        torch.testing.assert_close(vmap(grad(function))(poses), gradients, **tolerance)


@every_prior
def test_second_derivatives_are_those_of_the_gradient(name: str) -> None:
    """Of a pose with joints at zero, where a norm has none, against differences of gradients in double precision."""
    prior = copy.deepcopy(prior_of(name)).double()
    pose = make_poses(3, seed=4).double()
    pose[1, :20] = 0
    pose[2, 30:] = 1e-9
    direction = torch.randn(pose.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def gradient(at: Tensor, create_graph: bool = False) -> Tensor:
        at = at if create_graph else at.clone().requires_grad_()
        return torch.autograd.grad(prior.energy(at).sum(), at, create_graph=create_graph)[0]

    leaf = pose.clone().requires_grad_()
    (product,) = torch.autograd.grad((gradient(leaf, create_graph=True) * direction).sum(), leaf)
    step = 1e-7
    expected = (gradient(pose + step * direction) - gradient(pose - step * direction)) / (2 * step)
    assert product.isfinite().all()
    scale = expected.abs().amax((-1, -2), keepdim=True)
    # a spline's second derivative jumps at its knots, so that one pose of three may have a knot between the two points
    assert ((product - expected).abs() <= 1e-3 * scale).all(-1).all(-1).sum() >= 2


@every_completing
@pytest.mark.parametrize("batch", [(), (0,), (2, 2), (0, 2)])
def test_completion_takes_batches_of_any_shape(name: str, batch: tuple[int, ...]) -> None:
    prior = prior_of(name)
    poses = make_poses(math.prod(batch)).view(*batch, NUM_JOINTS, 3)
    visible = torch.rand(*batch, NUM_JOINTS, generator=torch.Generator().manual_seed(0)) < 0.5
    drawn = prior.complete(poses, visible, torch.Generator().manual_seed(0))
    assert drawn.shape == poses.shape
    assert drawn.isfinite().all()
    flat = prior.complete(poses.view(-1, NUM_JOINTS, 3), visible.view(-1, NUM_JOINTS), torch.Generator().manual_seed(0))
    assert torch.equal(drawn, flat.view(drawn.shape))


@every_completing
def test_one_visibility_serves_a_batch(name: str) -> None:
    prior, poses = prior_of(name), make_poses(3)
    visible = torch.arange(NUM_JOINTS) % 2 == 0
    drawn = [prior.complete(poses, value, torch.Generator().manual_seed(0)) for value in (visible, visible.expand(3, -1))]
    assert torch.equal(*drawn)


@every_completing
def test_what_does_not_say_which_joints_are_visible_is_refused(name: str) -> None:
    prior, poses, visible = prior_of(name), make_poses(3), torch.ones(NUM_JOINTS, dtype=torch.bool)
    for other in (visible.float(), visible.numpy(), ["left_hip"]):
        with pytest.raises(TypeError, match="visible is a tensor of booleans"):
            prior.complete(poses, other)
    with pytest.raises(ValueError, match=r"visible is \(\*batch, 55\).* got \(3, 24\)"):
        prior.complete(poses, torch.ones(3, 24, dtype=torch.bool))


@every_completing
def test_what_hidden_joints_hold_does_not_matter(name: str) -> None:
    prior, poses = prior_of(name), make_poses(4)
    visible = torch.rand(4, NUM_JOINTS, generator=torch.Generator().manual_seed(0)) < 0.5
    broken = torch.where(visible.unsqueeze(-1), poses, math.nan)
    drawn, expected = (prior.complete(p, visible, torch.Generator().manual_seed(0)) for p in (broken, poses))
    assert drawn.isfinite().all()
    known = list(prior.joint_indices)
    assert torch.equal(drawn[:, known], expected[:, known])
    assert torch.equal(drawn[visible], poses[visible])
    # a visible joint that is NaN spoils its own pose alone
    broken = poses.clone()
    broken[1, known[0]] = math.nan
    visible[:, known[0]] = True
    drawn, expected = (prior.complete(p, visible, torch.Generator().manual_seed(0)) for p in (broken, poses))
    # but for rounding, which hangs on how many are drawn again at once
    torch.testing.assert_close(drawn[[0, 2, 3]], expected[[0, 2, 3]], rtol=1e-4, atol=1e-4)


@every_prior
def test_hessians_of_one_pose_are_those_of_autograd(name: str) -> None:
    """Twice, and by vmap: what a transform has made is not kept for the next."""
    prior = copy.deepcopy(prior_of(name))
    poses = make_poses(2, seed=6)
    part = list(prior.joint_indices[:2])

    def energy(rotvec: Tensor, pose: Tensor) -> Tensor:
        return prior.energy(pose.index_copy(0, torch.tensor(part), rotvec))

    given = poses[:, part]
    hessians = [hessian(energy)(given[0], poses[0]), hessian(energy)(given[0], poses[0]), vmap(hessian(energy))(given, poses)[0]]
    expected = torch.autograd.functional.hessian(lambda rotvec: energy(rotvec, poses[0]), given[0])
    for found in hessians:
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
