"""Bodies as they are measured: lengths against a least-squares solution of all that is believed, misstated noise, and slopes."""

from __future__ import annotations

import numpy as np
import pytest
import roma
import torch
from flow_cases import FRAMES, small_prior, some_states
from motion_windows import smooth_windows
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.skeleton import PARENTS
from pose_priors.priors.motion.flow.skeletons import bones_of_rest, leg_of_bones, length_ratios, mean_rest, measured_bones
from pose_priors.priors.motion.flow.view import Motion, Noise, motion_of_states, motion_of_windows


def test_lengths_are_the_posterior_mean_of_size_bones_and_noise() -> None:
    """Against rows of a least-squares problem: 9 squared distances of 4 bones, and what is believed of size, noise and each bone."""
    generator = torch.Generator().manual_seed(0)
    variance = torch.tensor([0.004, 0.03, 0.2, 1.5], dtype=torch.float64).expand(1, 9, 4).clone()
    variance[0, 2:5, 1] = torch.inf
    squares = 1.4 + 0.3 * torch.randn(1, 9, 4, generator=generator, dtype=torch.float64)
    of = np.eye(10)  # size, noise, 4 bones, their noise
    rows, values = [of[0] / 0.2, of[1] / 1.0], [0.0, 0.0]
    for bone in range(4):
        rows += [of[2 + bone] / 0.06, of[6 + bone] / 0.3]
        values += [0.0, 0.0]
        for frame in range(9):
            v = float(variance[0, frame, bone])
            if np.isfinite(v):
                std = (4 * v + 6 * v**2) ** 0.5
                rows.append((of[0] + of[2 + bone] + 3 * v * (of[1] + of[6 + bone])) / std)
                values.append((float(squares[0, frame, bone]) - 3 * v - 1) / std)
    size, _, *own = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    expected = np.sqrt(1 + size + np.array(own[:4]))
    np.testing.assert_allclose(length_ratios(squares, variance)[0].numpy(), expected, rtol=1e-8)


def test_what_is_not_seen_is_as_at_rest_and_what_is_seen_exactly_as_it_is() -> None:
    nothing = torch.full((1, 3, 5), torch.inf, dtype=torch.float64)
    squares = torch.full_like(nothing, 1.7)
    torch.testing.assert_close(length_ratios(squares, nothing), torch.ones(1, 5, dtype=torch.float64))
    exactly = nothing.clone()
    exactly[..., :3] = 0
    found = length_ratios(squares, exactly)[0]
    torch.testing.assert_close(found[:3], torch.full((3,), 1.7**0.5, dtype=torch.float64), rtol=1e-6, atol=0)
    assert (found[3:] - 1.7**0.5).abs().max() < 0.01


@pytest.fixture(scope="module")
def bodies() -> tuple[Motion, Tensor, Tensor]:
    """Motions of larger bodies, the skeleton at rest that is believed of them, and their legs."""
    windows = smooth_windows(12, FRAMES)
    motion = motion_of_windows(windows)
    larger = Motion(motion.rotations, 1.08 * motion.joints)
    return larger, windows.rest[0], 1.08 * leg_of_bones(bones_of_rest(windows.rest))


def measured(bodies: tuple[Motion, Tensor, Tensor], real: float, told: Tensor) -> Tensor:
    """By how much legs are off, (B,), where joints are seen with noise."""
    motion, rest, legs = bodies
    off = real * torch.randn(motion.joints.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    seen = Motion(motion.rotations, motion.joints + off)
    found = measured_bones(seen, Noise.of(torch.full_like(told, torch.inf), told), rest)
    return (leg_of_bones(found) / legs - 1).abs()


@pytest.mark.parametrize(("real", "told"), [(0.04, 0.04), (0.04, 0.06), (0.04, 0.1), (0.04, 0.02), (0.02, 0.1), (0.001, 0.1)])
def test_misstated_noise_neither_shrinks_nor_grows_bodies(bodies: tuple[Motion, Tensor, Tensor], real: float, told: float) -> None:
    off = measured(bodies, real, torch.full(bodies[0].joints.shape[:3], told, dtype=torch.float64))
    assert off.mean() < 0.035
    assert off.max() < 0.09


def test_a_joint_of_which_little_is_known_says_nothing_of_the_others(bodies: tuple[Motion, Tensor, Tensor]) -> None:
    told = torch.full(bodies[0].joints.shape[:3], 0.04, dtype=torch.float64)
    told[..., 20] = torch.inf
    without = measured(bodies, 0.04, told)
    assert without.max() < 0.04
    for std in (1.0, 10.0):
        told[..., 20] = std
        torch.testing.assert_close(measured(bodies, 0.04, told), without, rtol=0, atol=0.015)


def test_bodies_that_are_measured_have_slopes_of_central_differences() -> None:
    """Also where joints are seen exactly. What noise is in the body's own lengths is held, so along what leaves its size alone."""
    prior, motion = small_prior(), motion_of_states(some_states(1, 8))
    joints, generator = motion.joints, torch.Generator().manual_seed(0)
    std = torch.full_like(joints[..., 0], 0.03)
    std[..., 0], std[0, 3:6, 20] = 0, torch.inf
    noise = Noise.of(torch.where(std == 0, 0.0, torch.inf), std)
    weight, along = (torch.randn(joints.shape, generator=generator, dtype=torch.float64) for _ in range(2))

    def restored(joints: Tensor) -> Tensor:
        return (prior.restore(Motion(motion.rotations, joints), noise).motion.joints * weight).sum()

    asked = joints.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(restored(asked), asked)
    legs = leg_of_bones(measured_bones(Motion(motion.rotations, asked), noise, prior.rest)).sum()
    (of_size,) = torch.autograd.grad(legs, asked)
    along = along - (along * of_size).sum() / of_size.square().sum() * of_size
    assert slope.isfinite().all()
    ends = [float(restored(joints + sign * 1e-6 * along)) for sign in (1, -1)]
    assert float((slope * along).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)


def test_the_mean_of_skeletons_whose_bones_point_elsewhere_is_as_long_as_they_are() -> None:
    rest = rest_joints(1.7)[:22].float()
    bones = bones_of_rest(rest)
    turns = roma.rotvec_to_rotmat(0.4 * torch.randn(500, 22, 3, generator=torch.Generator().manual_seed(0)))
    many = [rest[0].expand(500, 3)]
    for joint in range(1, 22):
        many.append(many[PARENTS[joint]] + (turns[:, joint] @ bones[joint]))
    mean = bones_of_rest(mean_rest(torch.stack(many, 1)))
    assert torch.allclose(mean.norm(dim=-1), bones.norm(dim=-1), atol=1e-5)
    assert torch.allclose(mean, bones, atol=0.02)
    assert torch.allclose(mean_rest(rest.expand(3, -1, -1)), rest, atol=1e-6)
