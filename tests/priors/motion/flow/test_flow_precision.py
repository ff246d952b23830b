"""The prior of clips on rotations of any length, in any type."""

from __future__ import annotations

import pytest
import torch
from flow_cases import FRAMES, small_prior, some_states
from motion_windows import synthetic_windows

from pose_priors.benchmarks.any_rotation import PRECISIONS, count_not_finite
from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import joints_of
from pose_priors.body.rotations import canonicalize
from pose_priors.priors.motion.flow.prior import MotionFlow


@pytest.fixture(scope="module")
def single() -> MotionFlow:
    return small_prior().float()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_energies_and_gradients_are_finite_for_any_rotation(single: MotionFlow, precision: str) -> None:
    rotations, *bad = count_not_finite(single, precision, 2000)
    assert rotations >= 2000
    assert bad == [0, 0]


def test_rotations_beyond_a_turn_are_the_same_rotations(single: MotionFlow) -> None:
    windows = synthetic_windows(2, FRAMES).to(torch.float64)
    turned = windows.pose * (1 + 2 * torch.pi * 1e3 / torch.linalg.vector_norm(windows.pose, dim=-1, keepdim=True).clamp_min(1e-2))
    again = MotionWindows(turned, windows.pelvis, windows.rest, windows.contacts)
    canonical = MotionWindows(canonicalize(turned), windows.pelvis, windows.rest, windows.contacts)
    prior = small_prior()
    torch.testing.assert_close(prior.energy(again), prior.energy(canonical), rtol=1e-6, atol=1e-6)


def test_what_is_seen_nearly_exactly_is_kept_in_single_precision(single: MotionFlow) -> None:
    states = some_states().float()
    assert (joints_of(single.denoise(states, 1e-6)) - joints_of(states)).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_hardly_moves_what_comes_out(single: MotionFlow, dtype: torch.dtype) -> None:
    windows = synthetic_windows(4, FRAMES)
    states = some_states().float()
    energy, denoised = single.energy(windows), single.denoise(states, 0.02)
    with torch.autocast("cpu", dtype):
        of_half, denoised_in_half = single.energy(windows), single.denoise(states, 0.02)
    assert of_half.dtype == denoised_in_half.dtype == torch.float32
    torch.testing.assert_close(of_half, energy, rtol=0.02, atol=1.0)
    torch.testing.assert_close(denoised_in_half, denoised, rtol=0.02, atol=0.05)
    of_half_windows = single.energy(windows.to(dtype))
    assert of_half_windows.dtype == torch.float32
    # what poses and places are rounded by in half precision is noise of its own: nats for millimetres
    torch.testing.assert_close(of_half_windows, energy, rtol=0.05 if dtype == torch.bfloat16 else 0.002, atol=0)
    for value in (single.frame_energies(states.to(dtype)), single.denoise(states.to(dtype), 0.02)):
        assert value.dtype == torch.float32
        assert value.isfinite().all()


def test_what_is_not_finite_stays_in_its_window(single: MotionFlow) -> None:
    windows = synthetic_windows(4, FRAMES)
    pose = windows.pose.clone()
    pose[1, 3, 5] = torch.nan
    broken = MotionWindows(pose, windows.pelvis, windows.rest, windows.contacts)
    whole = [0, 2, 3]
    torch.testing.assert_close(single.energy(broken)[whole], single.energy(windows)[whole])
    assert single.energy(broken)[1].isnan()
