"""Where whole bodies are, by all of their joints; and what becomes of noise that is next to nothing."""

from __future__ import annotations

import math

import pytest
import torch
from flow_cases import FRAMES, small_prior, some_states

from pose_priors.body.motion_state import STATE, joints_of
from pose_priors.priors.motion.flow.placing import placed, within_reach
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.view import Motion, Noise


@pytest.fixture(scope="module")
def prior() -> MotionFlow:
    return small_prior()


def test_a_shift_is_what_normal_variables_say(prior: MotionFlow) -> None:
    """All joints of all frames as views of one unknown path, by the precisions of a dense linear model."""
    generator = torch.Generator().manual_seed(0)
    smoother, frames, std, own = prior.denoiser.smoother, FRAMES, 0.05, 0.03

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    of_joints = std * (0.5 + torch.rand(1, frames, 22, generator=generator, dtype=torch.float64))
    of_joints[..., 3] = torch.inf
    of_joints[:, 5] = torch.inf
    of_joints[:, 5, 0] = std  # a frame on which the pelvis alone is seen
    infinite = torch.full((1, frames), torch.inf, dtype=torch.float64)
    noise = Noise(torch.full_like(of_joints, torch.inf), of_joints, infinite, torch.full_like(infinite, 0.01))
    apart = torch.full_like(of_joints, own)
    apart[..., 0] = 0.02
    found, seen = normal(1, frames, 22, 3), normal(1, frames, 22, 3)
    eye = torch.eye(3, dtype=torch.float64).expand(1, frames, 22, 3, 3)
    joints, sure = placed(smoother, Motion(eye, found), apart, Motion(eye, seen), noise)

    path = smoother.covariance[0] * smoother.scale[0] ** 2
    pelvis = of_joints[0, :, 0].square() + 0.01**2
    left = torch.linalg.inv(torch.linalg.inv(path) + torch.diag(1 / pelvis))  # once the pelvis is seen
    scale = 0.02 / left.diagonal().sqrt()
    prior_of_shift = scale[:, None] * left * scale
    views = [(t, j) for t in range(frames) for j in range(22) if math.isfinite(float(of_joints[0, t, j]))]
    design = torch.zeros(len(views), frames, dtype=torch.float64)
    covariance = torch.zeros(len(views), len(views), dtype=torch.float64)
    for row, (t, j) in enumerate(views):
        design[row, t] = 1
        for other, (u, _) in enumerate(views):
            covariance[row, other] = 0.01**2 * (t == u)  # the body's place in the world, which its joints share
        covariance[row, row] += of_joints[0, t, j] ** 2 + (own**2 if j else 0)
    off = torch.stack([(seen - found)[0, t, j] for t, j in views])
    precise = design.T @ torch.linalg.inv(covariance)
    after = torch.linalg.inv(torch.linalg.inv(prior_of_shift) + precise @ design)
    expected = after @ precise @ off
    torch.testing.assert_close(joints - found, expected[None, :, None].expand_as(found), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(sure[0], after.diagonal().sqrt(), rtol=1e-6, atol=1e-9)


def test_a_pelvis_that_is_exact_is_shifted_by_nothing(prior: MotionFlow) -> None:
    states = some_states(2)
    joints = joints_of(states)
    std = torch.full(joints.shape[:-1], 0.05, dtype=torch.float64)
    std[..., 0] = 0
    motion = Motion(torch.eye(3, dtype=torch.float64).expand(*joints.shape[:-1], 3, 3), joints)
    noise = Noise.of(torch.full_like(std, torch.inf), std)
    moved, sure = placed(prior.denoiser.smoother, motion, std + 0.01, Motion(motion.rotations, joints + 1.0), noise)
    torch.testing.assert_close(moved, joints, rtol=0, atol=0)
    torch.testing.assert_close(sure, torch.full_like(sure, 0.01), rtol=0, atol=0)


@pytest.mark.parametrize(("num_frames", "left"), [(1, 0.85), (2, 0.7), (FRAMES, 0.35)])
def test_noise_of_the_pelvis_is_not_the_whole_bodys(prior: MotionFlow, num_frames: int, left: float) -> None:
    states = some_states(24, num_frames)
    off = 0.1 * torch.randn(24, num_frames, 66, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noisy = states.clone()
    noisy[..., STATE["joints"]] += off
    before, after = (joints_of(some) - joints_of(states) for some in (noisy, prior.denoise(noisy, 0.1)))
    assert after.norm(dim=-1).mean() < left * before.norm(dim=-1).mean()
    # what all joints have in common is as near as their mean is, and a pelvis alone is not
    assert after.mean(-2).square().mean().sqrt() < 0.45 * 0.1


@pytest.mark.parametrize("std", [1e-9, 1e-6, 1e-4])
@pytest.mark.parametrize("num_frames", [1, 9])
def test_noise_next_to_nothing_leaves_what_is_seen(prior: MotionFlow, std: float, num_frames: int) -> None:
    states = some_states(3, num_frames)
    given = joints_of(states)
    odd = given + 0.02 * torch.randn(22, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)  # of no skeleton that it knows
    for joints in (given, odd):
        seen = states.clone()
        seen[..., STATE["joints"]] = joints.flatten(-2)
        moved = (joints_of(prior.denoise(seen, std)) - joints).norm(dim=-1)
        assert moved.max() <= 6 * std * (1 + 1e-6) + 1e-12


def test_joints_within_reach_stay_and_others_come_back_along_their_way() -> None:
    seen = torch.zeros(1, 1, 4, 3)
    joints = torch.tensor([[[[3.0, 0, 4], [3, 0, 4], [3, 0, 4], [3, 0, 4]]]])
    found = within_reach(joints, seen, torch.tensor([[[6.0, 2.5, 0.0, torch.inf]]]))
    torch.testing.assert_close(found[0, 0], torch.tensor([[3.0, 0, 4], [1.5, 0, 2], [0, 0, 0], [3, 0, 4]]))
