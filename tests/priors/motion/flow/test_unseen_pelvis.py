"""A pelvis that is not seen while other joints are."""

from __future__ import annotations

import pytest
import torch
from flow_cases import FRAMES, small_prior, some_states
from torch import Tensor

from pose_priors.body.motion_state import STATE, joints_of
from pose_priors.priors.motion.flow.pelvis import with_pelvis
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.view import Motion, Noise, motion_of_states

STD = 0.02


@pytest.fixture(scope="module")
def prior() -> MotionFlow:
    return small_prior()


def seen(hidden: slice, num_frames: int = FRAMES) -> tuple[Tensor, Tensor, Tensor]:
    """True states of 3 motions, what is seen of them, and its noise: nothing of the pelvis on some frames, nor of any rotation."""
    states = some_states(3, num_frames)
    std = torch.full((3, num_frames, 22), STD, dtype=torch.float64)
    std[:, hidden, 0] = torch.inf
    off = STD * torch.randn(*std.shape, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    off[std.isinf()] = torch.nan
    noisy = states.clone()
    noisy[..., STATE["joints"]] += off.flatten(-2)
    return states, noisy, std


@pytest.mark.parametrize(("hidden", "num_frames"), [(slice(6, 18), FRAMES), (slice(None), FRAMES), (slice(None), FRAMES + 9)])
def test_other_joints_tell_where_it_is(prior: MotionFlow, hidden: slice, num_frames: int) -> None:
    states, noisy, std = seen(hidden, num_frames)
    found = joints_of(prior.denoise(noisy, std))
    off = (found - joints_of(states)).norm(dim=-1)
    assert off[:, hidden].mean() < 0.04  # what is seen of the others is off by 32 mm
    offset = torch.tensor([50.0, -20.0, 0.0], dtype=torch.float64)
    noisy[..., STATE["joints"]] += offset.repeat(22)
    torch.testing.assert_close(joints_of(prior.denoise(noisy, std)) - offset, found, rtol=0, atol=1e-4)


def test_joints_that_are_exact_stay(prior: MotionFlow) -> None:
    states, _, std = seen(slice(6, 18))
    std = torch.where(std.isfinite(), 0.0, torch.inf)
    found = joints_of(prior.denoise(states, std))
    torch.testing.assert_close(found[..., 1:, :], joints_of(states)[..., 1:, :], rtol=0, atol=0)
    assert (found - joints_of(states)).norm(dim=-1).max() < 0.04


@pytest.mark.parametrize("shown", [list(range(1, 22)), [1, 2, 3], [12, 15, 16, 17], [20]])
def test_how_sure_it_is_is_about_how_far_it_is_off(prior: MotionFlow, shown: list[int]) -> None:
    states, noisy, std = seen(slice(None))
    std[..., [joint for joint in range(1, 22) if joint not in shown]] = torch.inf
    motion = motion_of_states(noisy)
    noise = Noise.of(torch.full_like(std, torch.inf), std)
    clean = Motion(motion.rotations, torch.where(std[..., None].isfinite(), motion.joints, 0.0))
    filled, told = with_pelvis(prior.denoiser.smoother, clean, noise)
    off = (filled.joints[..., 0, :] - joints_of(states)[..., 0, :]).square().mean().sqrt()
    said = told.joints[..., 0].square().mean().sqrt()
    assert 0.3 < off / said < 2
    restored = prior.restore(clean, noise)
    assert (restored.joint_std[..., 0] > 0.5 * said).all()


def test_a_pelvis_that_is_seen_stays_and_so_does_what_is_never_seen(prior: MotionFlow) -> None:
    states, _, std = seen(slice(6, 18))
    std[:, 6:18] = torch.inf
    noise = Noise.of(torch.full_like(std, torch.inf), std)
    motion = motion_of_states(states)
    filled, told = with_pelvis(prior.denoiser.smoother, motion, noise)
    assert filled is motion
    assert told is noise
    std[0, 6, 5] = STD
    filled, told = with_pelvis(prior.denoiser.smoother, motion, noise)
    changed = (told.joints != noise.joints).nonzero().tolist()
    assert changed == [[0, 6, 0]]
