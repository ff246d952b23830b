"""Rotation helpers against RoMa, autograd and Monte-Carlo integrals, on purpose near 0, pi and multiples of 2 pi."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import roma
import torch
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.rotations import (
    LOG_HAAR_VOLUME,
    NUM_MATRIX_FEATURES,
    between,
    canonicalize,
    geodesic_angle,
    haar_correction,
    log_abs_det_exp,
    matrix_features,
    mirror_pose,
    to_rotmat,
    to_unitquat,
)
from pose_priors.body.skeleton import MIRROR, NUM_JOINTS

PI = math.pi
ANGLES = [0.0, 1e-12, 1e-7, 1e-3, 0.5, PI - 1e-7, PI, PI + 1e-7, 4.0, 2 * PI - 1e-7, 2 * PI, 3 * PI, 7.0, 19.9]


def _axes(count: int, generator: torch.Generator) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_canonicalize_keeps_the_rotation(generator: torch.Generator, dtype: torch.dtype) -> None:
    angles = torch.cat([torch.tensor(ANGLES, dtype=torch.float64), 20 * torch.rand(1000, generator=generator, dtype=torch.float64)])
    rotvec = (_axes(len(angles), generator) * angles[:, None]).to(dtype)
    canonical = canonicalize(rotvec)
    eps = torch.finfo(dtype).eps
    assert (canonical.norm(dim=-1) <= math.pi * (1 + 4 * eps)).all()
    difference = geodesic_angle(roma.rotvec_to_rotmat(rotvec.double()), roma.rotvec_to_rotmat(canonical.double()))
    assert difference.max() < 40 * eps


def test_canonicalize_leaves_canonical_vectors_bit_for_bit(generator: torch.Generator) -> None:
    rotvec = (_axes(500, generator) * math.pi * 0.9999 * torch.rand(500, 1, generator=generator, dtype=torch.float64)).float()
    assert torch.equal(canonicalize(rotvec), rotvec)
    once = canonicalize(50 * rotvec)
    torch.testing.assert_close(canonicalize(once), once, rtol=0, atol=1e-6)


def test_canonicalize_exactly_at_pi() -> None:
    """At pi both signs are the same rotation; the vector comes back as it is. One float above, it comes back on the other side."""
    at = torch.tensor([[math.pi, 0.0, 0.0]], dtype=torch.float64)
    assert torch.equal(canonicalize(at), at)
    above = torch.nextafter(at, torch.full_like(at, 10.0)) * torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(canonicalize(above), -at, rtol=0, atol=1e-14)


@pytest.mark.parametrize("angle", [0.0, math.pi, math.pi + 1e-9, 2 * math.pi, 4 * math.pi, 6.0])
def test_canonicalize_has_finite_gradients(angle: float) -> None:
    rotvec = torch.tensor([[angle, 0.0, 0.0], [0.6 * angle, 0.0, 0.8 * angle]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(canonicalize(rotvec).sum(), rotvec)
    assert gradient.isfinite().all()


def test_canonicalize_gradient_is_that_of_the_map() -> None:
    rotvec = torch.tensor([[4.0, 1.0, -2.0], [0.3, 0.1, 0.0], [0.0, 9.0, 3.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(canonicalize, rotvec)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 9.9e-3, 1.01e-2, 0.3, 2.0, 3.0, math.pi])
def test_log_abs_det_exp_is_the_jacobian_of_the_exponential(angle: float, generator: torch.Generator) -> None:
    """The Jacobian by autograd: the rotation vector of R(w)^T R(w + d) as a function of d, from the entries of the matrix."""
    rotvec = _axes(1, generator)[0] * angle

    def tangent(vector: Tensor) -> Tensor:
        relative = roma.rotvec_to_rotmat(rotvec).T @ _exact_rotmat(vector)
        return torch.stack([relative[2, 1] - relative[1, 2], relative[0, 2] - relative[2, 0], relative[1, 0] - relative[0, 1]]) / 2

    jacobian = torch.autograd.functional.jacobian(tangent, rotvec)
    expected = torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(log_abs_det_exp(rotvec), expected, rtol=0, atol=1e-8)


def _exact_rotmat(vector: Tensor) -> Tensor:
    x, y, z = vector
    zero = torch.zeros_like(x)
    return torch.linalg.matrix_exp(torch.stack([torch.stack([zero, -z, y]), torch.stack([z, zero, -x]), torch.stack([-y, x, zero])]))


def test_log_abs_det_exp_integrates_to_the_volume_of_so3(generator: torch.Generator) -> None:
    """Over the ball of radius pi the Jacobian integrates to 8 pi^2."""
    cube = math.pi * (2 * torch.rand(400_000, 3, generator=generator, dtype=torch.float64) - 1)
    inside = cube.norm(dim=-1) <= math.pi
    density = log_abs_det_exp(torch.where(inside[:, None], cube, torch.zeros_like(cube))).exp()
    values = torch.where(inside, density, 0.0) * (2 * math.pi) ** 3
    error = values.std() / math.sqrt(len(values))
    assert error < 0.005 * 8 * math.pi**2
    assert abs(values.mean() - 8 * math.pi**2) < 4 * error
    assert math.exp(LOG_HAAR_VOLUME) == pytest.approx(8 * math.pi**2)


def test_haar_correction_scores_uniform_rotations_zero(generator: torch.Generator) -> None:
    """Uniform rotations have density sin^2(a/2) / (2 pi^2 a^2) over rotation vectors, hence 0 against Haar measure."""
    rotvec = roma.unitquat_to_rotvec(torch.nn.functional.normalize(torch.randn(200, 4, generator=generator, dtype=torch.float64), dim=-1))
    angle = rotvec.norm(dim=-1)
    log_density = torch.log(torch.sin(angle / 2) ** 2 / (2 * math.pi**2 * angle**2))
    torch.testing.assert_close(log_density + haar_correction(rotvec), torch.zeros_like(angle), rtol=0, atol=1e-10)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, math.pi])
def test_log_abs_det_exp_has_finite_gradients(angle: float) -> None:
    for dtype in (torch.float32, torch.float64):
        rotvec = torch.tensor([angle, 0.0, 0.0], dtype=dtype, requires_grad=True)
        value = log_abs_det_exp(rotvec)
        (gradient,) = torch.autograd.grad(value, rotvec)
        assert value.isfinite()
        assert gradient.isfinite().all()
        # d/da 2 log(sin(a/2) / (a/2)) = cot(a/2) - 2/a, which vanishes at 0 as -a/6
        expected = -angle / 6 if angle < 1e-2 else 1 / math.tan(angle / 2) - 2 / angle
        assert gradient[0].item() == pytest.approx(expected, abs=1e-6)


def test_geodesic_angle_is_that_of_roma(generator: torch.Generator) -> None:
    a, b = (roma.random_rotmat(300, generator=generator, dtype=torch.float64) for _ in range(2))
    torch.testing.assert_close(geodesic_angle(a, b), roma.rotmat_geodesic_distance(a, b), rtol=0, atol=1e-7)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, math.pi - 1e-9, math.pi])
def test_geodesic_angle_at_special_angles(angle: float, generator: torch.Generator) -> None:
    """The angle is recovered without acos's loss of half the digits, and its gradient is finite everywhere."""
    a = roma.random_rotmat(20, generator=generator, dtype=torch.float64)
    b = (a @ roma.rotvec_to_rotmat(_axes(20, generator) * angle)).requires_grad_()
    distance = geodesic_angle(a, b)
    torch.testing.assert_close(distance, torch.full_like(distance, angle), rtol=0, atol=1e-8)
    (gradient,) = torch.autograd.grad(distance.sum(), b)
    assert gradient.isfinite().all()


def test_mirror_pose_is_an_involution(generator: torch.Generator) -> None:
    pose = torch.randn(4, 2, NUM_JOINTS, 3, generator=generator)
    assert torch.equal(mirror_pose(mirror_pose(pose)), pose)
    assert not torch.equal(mirror_pose(pose), pose)


def test_mirrored_pose_has_mirrored_joints(generator: torch.Generator) -> None:
    """On a skeleton that is symmetric about x = 0, the joints of the mirrored pose are the mirrored joints of the pose."""
    pose = torch.randn(20, NUM_JOINTS, 3, generator=generator, dtype=torch.float64)
    joints, _ = forward_kinematics(pose, rest_joints())
    mirrored, _ = forward_kinematics(mirror_pose(pose), rest_joints())
    flip = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(mirrored, joints[:, list(MIRROR)] * flip, rtol=0, atol=1e-12)


def test_matrix_features_are_the_columns_row_by_row_and_zero_at_rest() -> None:
    rotvec = roma.random_rotvec(20)
    rows = [[m[0, 0] - 1, m[0, 1], m[1, 0], m[1, 1] - 1, m[2, 0], m[2, 1]] for m in roma.rotvec_to_rotmat(rotvec)]
    by_hand = torch.stack([torch.stack(row) for row in rows])
    torch.testing.assert_close(matrix_features(rotvec), by_hand)
    assert (matrix_features(torch.zeros(2, 3)) == 0).all()
    assert matrix_features(rotvec).shape[-1] == NUM_MATRIX_FEATURES


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_canonicalize_takes_rotations_of_any_length(generator: torch.Generator, dtype: torch.dtype) -> None:
    end = min(300.0, math.log10(torch.finfo(dtype).max) - 0.1)
    angles = 10 ** torch.linspace(-1, end, 500, dtype=torch.float64)
    rotvec = (_axes(len(angles), generator) * angles[:, None]).to(dtype).requires_grad_()
    canonical = canonicalize(rotvec)
    assert canonical.dtype == dtype
    assert (canonical.detach().double().norm(dim=-1) <= math.pi * (1 + 4 * torch.finfo(dtype).eps)).all()
    (gradient,) = torch.autograd.grad(canonical.sum(), rotvec)
    assert gradient.isfinite().all()


def test_canonicalize_is_right_as_far_as_double_precision_goes(generator: torch.Generator) -> None:
    """Against numbers of turns that are taken off in 60 digits."""
    from decimal import Decimal, getcontext

    getcontext().prec = 60
    pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
    for dtype, exponents in ((torch.float32, (1, 5, 7, 9)), (torch.float64, (1, 5, 9))):
        for exponent in exponents:
            rotvec = (_axes(1, generator)[0] * 10.0**exponent).to(dtype)
            parts = [Decimal(value) for value in rotvec.tolist()]
            angle = sum(value * value for value in parts).sqrt()
            rest = angle - (angle / (2 * pi)).to_integral_value() * 2 * pi
            expected = torch.tensor([float(value / angle * rest) for value in parts], dtype=torch.float64)
            error = (canonicalize(rotvec).double() - expected).norm()
            assert error < 4 * torch.finfo(dtype).eps + 4e-16 * 10**exponent


def test_canonicalize_leaves_what_is_not_finite_in_its_row() -> None:
    rotvec = torch.tensor([[math.nan, 0, 0], [math.inf, 1, 0], [0, 4, 0], [0, 1, 0]], requires_grad=True)
    canonical = canonicalize(rotvec)
    assert canonical.isfinite().all(-1).tolist() == [False, False, True, True]
    (gradient,) = torch.autograd.grad(canonical.sum(), rotvec)
    assert gradient[2:].isfinite().all()


@pytest.mark.parametrize("function", [to_unitquat, to_rotmat, matrix_features, log_abs_det_exp, canonicalize])
def test_second_derivatives_are_right_at_zero_and_beyond(function: Callable[[Tensor], Tensor]) -> None:
    rotvec = torch.tensor([[0, 0, 0], [1e-9, 0, 0], [0.3, -0.2, 0.1], [2.0, 2.0, 0.5], [4.0, 1.0, 9.0]], dtype=torch.float64)
    rotvec = rotvec[:4] if function is log_abs_det_exp else rotvec
    assert torch.autograd.gradcheck(function, rotvec.clone().requires_grad_())
    assert torch.autograd.gradgradcheck(function, rotvec.clone().requires_grad_())


def test_conversions_are_those_of_roma(generator: torch.Generator) -> None:
    rotvec = _axes(200, generator).float() * torch.cat([torch.zeros(1), torch.logspace(-9, 0.49, 199)])[:, None]
    torch.testing.assert_close(to_rotmat(rotvec), roma.rotvec_to_rotmat(rotvec), rtol=0, atol=1e-7)
    torch.testing.assert_close(to_unitquat(rotvec), roma.rotvec_to_unitquat(rotvec), rtol=0, atol=1e-7)


def test_geodesic_angle_refuses_rotation_vectors() -> None:
    with pytest.raises(ValueError, match=r"\(\.\.\., 3, 3\), got \(55, 3\); of rotation vectors"):
        geodesic_angle(torch.zeros(55, 3), torch.zeros(55, 3))


def test_the_smallest_rotations_between_directions_of_any_batch() -> None:
    seeded = torch.Generator().manual_seed(0)
    a, b = (torch.nn.functional.normalize(torch.randn(4, 50, 3, generator=seeded, dtype=torch.float64), dim=-1) for _ in range(2))
    b[0], b[1] = a[0], -a[1]
    found = between(a, b)
    torch.testing.assert_close((found @ a[..., None])[..., 0], b, atol=1e-12, rtol=0)
    torch.testing.assert_close(found @ found.mT, torch.eye(3, dtype=torch.float64).expand_as(found), atol=1e-12, rtol=0)
    apart = torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1))
    angle = torch.linalg.vector_norm(roma.rotmat_to_rotvec(found), dim=-1)
    torch.testing.assert_close(angle, apart, atol=1e-6, rtol=0)
