"""The exponential map and its derivative against RoMa, matrix exponentials and autograd, on purpose near 0, pi and beyond."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.exponential import (
    applied,
    cross,
    exponential,
    inverse_right_jacobian_transposed,
    product,
    right_jacobian_transposed,
    turned,
)
from pose_priors.body.model import forward_kinematics, joints_and_arms
from pose_priors.body.skeleton import NUM_JOINTS

PI = math.pi
ANGLES = [0.0, 1e-12, 1e-6, 1e-3, 0.5, PI - 1e-6, PI, PI + 1e-6, 4.0, 2 * PI - 1e-3, 7.0]
BELOW_TWO_PI = [angle for angle in ANGLES if angle < 6]

at_angles = pytest.mark.parametrize("angle", ANGLES)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _rotvec(angle: float, generator: torch.Generator, count: int = 5) -> Tensor:
    """(count, 3) of that angle about random axes."""
    return angle * torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1)


def _hat(rotvec: Tensor) -> Tensor:
    """(3, 3) with hat(w) v = w x v."""
    return torch.linalg.cross(rotvec.expand(3, 3), torch.eye(3, dtype=rotvec.dtype)).T


def _right_jacobian(rotvec: Tensor) -> Tensor:
    """The integral of exp(-s w) over s in [0, 1] by the trapezoidal rule, with Richardson's extrapolation."""

    def rule(count: int) -> Tensor:
        weights = torch.full((count + 1,), 1 / count, dtype=torch.float64)
        weights[[0, -1]] /= 2
        at = torch.linspace(0, 1, count + 1, dtype=torch.float64)[:, None, None]
        return (torch.linalg.matrix_exp(-at * _hat(rotvec)) * weights[:, None, None]).sum(0)

    return (4 * rule(800) - rule(400)) / 3


@at_angles
def test_exponential_is_the_matrix_exponential(angle: float, generator: torch.Generator) -> None:
    rotvec = _rotvec(angle, generator)
    expected = torch.stack([torch.linalg.matrix_exp(_hat(w)) for w in rotvec])
    torch.testing.assert_close(exponential(rotvec.T).permute(2, 0, 1), expected, atol=1e-12, rtol=0)
    single = exponential(rotvec.T.float()).permute(2, 0, 1)
    torch.testing.assert_close(single.double(), expected, atol=2e-6, rtol=0)


@at_angles
def test_right_jacobian_is_its_integral(angle: float, generator: torch.Generator) -> None:
    rotvec, vector = _rotvec(angle, generator), torch.randn(5, 3, generator=generator, dtype=torch.float64)
    expected = torch.stack([_right_jacobian(w).T @ v for w, v in zip(rotvec, vector, strict=True)])
    torch.testing.assert_close(right_jacobian_transposed(rotvec.T, vector.T).T, expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("angle", BELOW_TWO_PI)
def test_inverse_right_jacobian_is_the_inverse(angle: float, generator: torch.Generator) -> None:
    rotvec, vector = _rotvec(angle, generator).T, torch.randn(3, 5, generator=generator, dtype=torch.float64)
    back = inverse_right_jacobian_transposed(rotvec, right_jacobian_transposed(rotvec, vector))
    torch.testing.assert_close(back, vector, atol=1e-9, rtol=0)


def test_products_with_components_first(generator: torch.Generator) -> None:
    a, b = (torch.randn(7, 3, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    u, v = a[:, 0], b[:, 0]
    torch.testing.assert_close(product(a.permute(1, 2, 0), b.permute(1, 2, 0)).permute(2, 0, 1), a @ b)
    torch.testing.assert_close(applied(a.permute(1, 2, 0), v.T).T, (a @ v[..., None])[..., 0])
    torch.testing.assert_close(cross(u.T, v.T).T, torch.linalg.cross(u, v))


@at_angles
def test_turned_is_the_composition_and_has_its_gradient(angle: float, generator: torch.Generator) -> None:
    start = torch.nn.functional.normalize(torch.randn(2, 5, 4, generator=generator, dtype=torch.float64), dim=-1)
    turn = torch.stack([_rotvec(angle, generator) for _ in range(2)]).requires_grad_()
    weights = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    rotvec = turned(start, turn)
    expected = roma.unitquat_to_rotvec(roma.quat_product(start, roma.rotvec_to_unitquat(turn)))
    torch.testing.assert_close(rotvec, expected, atol=1e-12, rtol=0)
    gradients = [torch.autograd.grad((value * weights).sum(), turn)[0] for value in (rotvec, expected)]
    torch.testing.assert_close(*gradients, atol=1e-8, rtol=0)


def test_turned_back_to_nothing_is_finite(generator: torch.Generator) -> None:
    turn = _rotvec(0.7, generator).requires_grad_()
    rotvec = turned(roma.quat_conjugation(roma.rotvec_to_unitquat(turn.detach())), turn)
    assert float(rotvec.detach().abs().max()) < 1e-12
    (gradient,) = torch.autograd.grad(rotvec.sum(), turn)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("each", [False, True])
def test_arms_are_what_rotations_make_of_them(generator: torch.Generator, each: bool) -> None:
    rotvec = torch.randn(2, 3, NUM_JOINTS, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    rest = rest_joints().expand(2, 1, NUM_JOINTS, 3).clone().requires_grad_()
    arm = torch.randn(NUM_JOINTS, 3, generator=generator, dtype=torch.float64)
    if not each:
        arm = arm[0]
    weights = torch.randn(2, 2, 3, NUM_JOINTS, 3, generator=generator, dtype=torch.float64)
    joints, rotations = forward_kinematics(rotvec, rest)
    both = [(joints, (rotations @ arm[..., None])[..., 0]), joints_and_arms(rotvec, rest, arm)]
    gradients = []
    for outcome in both:
        total = sum((weight * value).sum() for weight, value in zip(weights, outcome, strict=True))
        gradients.append(torch.autograd.grad(total, (rotvec, rest)))
    for one, other in zip(both[0], both[1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)
    few = tuple(value.detach()[0, :1, :6].requires_grad_() for value in (rotvec, rest))
    assert torch.autograd.gradcheck(lambda w, r: joints_and_arms(w, r, arm[:6] if each else arm, (-1, 0, 0, 1, 3, 2)), few)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16])
def test_bodies_in_any_pose_are_finite(dtype: torch.dtype, autocast: torch.dtype | None, generator: torch.Generator) -> None:
    angles = torch.tensor([0.0, 1e-40, 1e-20, 1e-3, 3, PI, 1e5, 1e10, 1e15, 1e19, 1e20, 1e30, 1e38], dtype=torch.float64)
    axes = torch.nn.functional.normalize(torch.randn(50, 13, NUM_JOINTS, 3, generator=generator, dtype=torch.float64), dim=-1)
    pose = (axes * angles[:, None, None]).flatten(0, 1)
    pose = torch.cat([pose, 1e100 * pose, 1e200 * pose]) if dtype == torch.float64 else pose.to(dtype)
    pose = pose[pose.isfinite().flatten(1).all(1)].requires_grad_()
    rest = rest_joints().to(dtype)
    with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
        joints, rotations = forward_kinematics(pose, rest)
    assert joints.dtype == dtype
    assert float(joints.detach().abs().max()) < 3
    assert rotations.isfinite().all()
    (gradient,) = torch.autograd.grad((joints.sum((1, 2)) + rotations.sum((1, 2, 3))).sum(), pose)
    assert gradient.isfinite().all()
    near = pose.detach().double().abs().amax((1, 2)) < 4
    expected = forward_kinematics(pose[near].detach().double(), rest.double())[0]
    torch.testing.assert_close(joints[near].double(), expected, rtol=0, atol=4 * torch.finfo(dtype).eps + 1e-6)


def test_what_is_not_finite_stays_in_its_body(generator: torch.Generator) -> None:
    pose = torch.randn(3, NUM_JOINTS, 3, generator=generator)
    pose[0, 5, 1], pose[2, 7, 0] = math.nan, math.inf
    joints, _ = forward_kinematics(pose, rest_joints())
    assert joints[[0, 2]].isnan().flatten(1).any(1).all()
    assert torch.equal(joints[1], forward_kinematics(pose[1], rest_joints())[0])


def test_turned_by_any_angle_is_finite(generator: torch.Generator) -> None:
    start = torch.nn.functional.normalize(torch.randn(20, 4, generator=generator), dim=-1)
    turn = torch.cat([10.0**exponent * torch.randn(1, 3, generator=generator) for exponent in range(-20, 40, 3)]).requires_grad_()
    rotvec = turned(start, turn)
    (gradient,) = torch.autograd.grad(rotvec.sum(), turn)
    assert rotvec.isfinite().all()
    assert gradient.isfinite().all()
