"""Motions that are nearly right: each is wrong in the one way that its kind says, and in no other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import roma
import torch
from motion_windows import smooth_windows
from scipy.interpolate import CubicHermiteSpline
from torch import Tensor

from pose_priors.body.motion import MotionWindows
from pose_priors.body.rotations import geodesic_angle
from pose_priors.priors.motion import negatives
from pose_priors.priors.motion.negatives import at_times, central, negative_motions, num_source_frames

KINDS = ("backwards", "speed", "height", "scale", "drift")
LENGTHS = [5, 6, 7, 8]  # an even number of frames has no frame in its middle
SIZE = 64


def _wrong(kind: str, windows: MotionWindows, num_frames: int, monkeypatch: pytest.MonkeyPatch) -> MotionWindows:
    monkeypatch.setattr(negatives, "_SHARES", tuple(float(name == kind) for name in KINDS))
    return negative_motions(windows, num_frames, torch.Generator().manual_seed(1))


def _angle(a: Tensor, b: Tensor) -> Tensor:
    return geodesic_angle(roma.rotvec_to_rotmat(a), roma.rotvec_to_rotmat(b))


def _uniform_windows(num_frames: int) -> MotionWindows:
    """Bodies that move and turn at a constant rate, far enough that a difference of speed shows."""
    generator = torch.Generator().manual_seed(2)
    frames = torch.arange(num_source_frames(num_frames), dtype=torch.float64)[:, None]
    rate = torch.randn(SIZE, 1, 3, generator=generator, dtype=torch.float64)
    windows = smooth_windows(SIZE, len(frames))
    pose = torch.zeros_like(windows.pose)
    pose[:, :, 0, 2] = 0.05 * frames[:, 0]
    return MotionWindows(pose, rate * frames, windows.rest, windows.contacts)


@pytest.mark.parametrize("num_frames", LENGTHS)
def test_the_middle_is_in_the_middle(num_frames: int) -> None:
    windows = smooth_windows(2, num_source_frames(num_frames))
    before = (windows.pose.shape[1] - num_frames) // 2
    found = central(windows, num_frames)
    for name in ("pose", "pelvis", "contacts"):
        assert torch.equal(getattr(found, name), getattr(windows, name)[:, before : before + num_frames])
    assert abs(windows.pose.shape[1] - num_frames - 2 * before) <= 1
    assert torch.equal(found.rest, windows.rest)


@pytest.mark.parametrize("num_frames", LENGTHS)
def test_backwards_is_the_same_frames_in_the_other_order(num_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = smooth_windows(SIZE, num_source_frames(num_frames))
    real, wrong = central(windows, num_frames), _wrong("backwards", windows, num_frames, monkeypatch)
    torch.testing.assert_close(wrong.pelvis, real.pelvis.flip(1), atol=1e-12, rtol=0)
    assert _angle(wrong.pose, real.pose.flip(1)).max() < 1e-7


@pytest.mark.parametrize("num_frames", LENGTHS)
def test_at_another_speed_all_goes_further_or_less_far_by_one_factor(num_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = _uniform_windows(num_frames)
    real, wrong = central(windows, num_frames), _wrong("speed", windows, num_frames, monkeypatch)
    steps, wrong_steps = real.pelvis.diff(dim=1), wrong.pelvis.diff(dim=1)
    factor = (wrong_steps / steps).mean((1, 2))
    torch.testing.assert_close(wrong_steps, steps * factor[:, None, None], atol=1e-5, rtol=0)
    turned = _angle(wrong.pose[:, 1:, 0], wrong.pose[:, :-1, 0])
    torch.testing.assert_close(turned, 0.05 * factor[:, None].expand_as(turned), atol=1e-4, rtol=0)
    size = factor.log().abs()
    assert size.min() >= negatives._SPEED[0] - 1e-6
    assert size.max() <= negatives._SPEED[1] + 1e-6
    assert (factor > 1).sum() > SIZE / 4
    assert (factor < 1).sum() > SIZE / 4
    # about the instant in the middle of the source
    middle = windows.pelvis[:, (windows.pelvis.shape[1] - 1) // 2]
    torch.testing.assert_close(wrong.pelvis.mean(1), middle, atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_frames", LENGTHS)
def test_height_is_all_that_is_wrong(num_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = smooth_windows(SIZE, num_source_frames(num_frames))
    real, wrong = central(windows, num_frames), _wrong("height", windows, num_frames, monkeypatch)
    lifted = wrong.pelvis - real.pelvis
    assert lifted[..., :2].abs().max() < 1e-12
    torch.testing.assert_close(lifted[..., 2], lifted[:, :1, 2].expand_as(lifted[..., 2]), atol=1e-12, rtol=0)
    low, high = negatives._HEIGHT_M
    assert lifted[..., 2].abs().min() > low - 1e-6
    assert lifted[..., 2].abs().max() < high + 1e-6
    assert 0.5 < (lifted[:, 0, 2] > 0).double().mean() < 0.9
    assert _angle(wrong.pose, real.pose).max() < 1e-7


@pytest.mark.parametrize("num_frames", LENGTHS)
def test_scale_is_the_paths_alone(num_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = smooth_windows(SIZE, num_source_frames(num_frames))
    real, wrong = central(windows, num_frames), _wrong("scale", windows, num_frames, monkeypatch)
    factor = (wrong.pelvis[..., 0] / real.pelvis[..., 0])[:, :1, None]
    torch.testing.assert_close(wrong.pelvis[..., :2], factor * real.pelvis[..., :2], atol=1e-9, rtol=0)
    torch.testing.assert_close(wrong.pelvis[..., 2], real.pelvis[..., 2], atol=1e-12, rtol=0)
    assert torch.equal(wrong.rest, windows.rest)
    size = factor.log().abs()
    assert size.min() > negatives._SCALE[0] - 1e-6
    assert size.max() < negatives._SCALE[1] + 1e-6
    assert _angle(wrong.pose, real.pose).max() < 1e-7


@pytest.mark.parametrize("num_frames", LENGTHS)
def test_a_wrong_camera_carries_all_along_the_floor_at_a_constant_speed(num_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = smooth_windows(SIZE, num_source_frames(num_frames))
    real, wrong = central(windows, num_frames), _wrong("drift", windows, num_frames, monkeypatch)
    velocity = (wrong.pelvis - real.pelvis).diff(dim=1) * 30
    torch.testing.assert_close(velocity, velocity[:, :1].expand_as(velocity), atol=1e-6, rtol=0)
    assert velocity[..., 2].abs().max() < 1e-9
    low, high = negatives._DRIFT_M_S
    assert low - 1e-6 < velocity.norm(dim=-1).min()
    assert velocity.norm(dim=-1).max() < high + 1e-6
    assert _angle(wrong.pose, real.pose).max() < 1e-7


def test_kinds_are_as_frequent_as_their_shares_and_seeded() -> None:
    windows = smooth_windows(1000, num_source_frames(5))
    real = central(windows, 5)
    wrong, again = (negative_motions(windows, 5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(wrong.pelvis, again.pelvis)
    assert torch.equal(wrong.pose, again.pose)
    assert torch.equal(wrong.contacts, real.contacts)
    assert math.isclose(sum(negatives._SHARES), 1)
    backwards = (wrong.pelvis - real.pelvis.flip(1)).abs().amax((1, 2)) < 1e-9
    lifted = ((wrong.pelvis - real.pelvis)[..., :2].abs().amax((1, 2)) < 1e-9) & ~backwards
    for found, share in ((backwards, negatives._SHARES[0]), (lifted, negatives._SHARES[2])):
        assert abs(float(found.double().mean()) - share) < 4 * math.sqrt(share * (1 - share) / 1000)


def test_at_whole_frames_are_the_frames() -> None:
    windows = smooth_windows(8, 9)
    at = torch.stack([torch.arange(9.0).roll(k).double() for k in range(8)])
    pose, pelvis = at_times(windows, at)
    rows = torch.arange(8)[:, None]
    torch.testing.assert_close(pelvis, windows.pelvis[rows, at.long()], atol=1e-12, rtol=0)
    assert _angle(pose, windows.pose[rows, at.long()]).max() < 1e-7


def test_between_frames_are_catmull_rom_splines() -> None:
    """Hermite splines whose slope at a frame is half the way from the one before to the one after, ends repeated."""
    windows, at = smooth_windows(3, 9), torch.linspace(0, 8, 41).double().expand(3, -1)
    pose, pelvis = at_times(windows, at)
    quats = roma.rotvec_to_unitquat(windows.pose).numpy()
    for t in range(1, 9):  # the same hemisphere along the whole motion
        quats[:, t] *= np.sign((quats[:, t] * quats[:, t - 1]).sum(-1, keepdims=True))

    def spline(values: np.ndarray) -> np.ndarray:
        padded = np.concatenate([values[:1], values, values[-1:]])
        return CubicHermiteSpline(np.arange(9), values, (padded[2:] - padded[:-2]) / 2)(at[0].numpy())

    for row in range(3):
        np.testing.assert_allclose(pelvis[row], spline(windows.pelvis[row].numpy()), atol=1e-12)
        mixed = spline(quats[row])
        expected = torch.from_numpy(mixed / np.linalg.norm(mixed, axis=-1, keepdims=True))
        assert geodesic_angle(roma.rotvec_to_rotmat(pose[row]), roma.unitquat_to_rotmat(expected)).max() < 1e-7


def test_rotations_beyond_half_a_turn_go_the_short_way() -> None:
    """Frames on both sides of half a turn about one axis: between them lies half a turn, not none."""
    windows = smooth_windows(1, 4)
    angles = torch.tensor([math.pi - 0.3, math.pi - 0.1, math.pi + 0.1, math.pi + 0.3], dtype=torch.float64)
    wrapped = torch.where(angles > math.pi, angles - 2 * math.pi, angles)
    pose = torch.zeros_like(windows.pose)
    pose[..., 1] = wrapped[:, None]
    turned, _ = at_times(MotionWindows(pose, windows.pelvis, windows.rest, windows.contacts), torch.tensor([[1.5]], dtype=torch.float64))
    torch.testing.assert_close(turned.norm(dim=-1), torch.full_like(turned[..., 0], math.pi), atol=1e-9, rtol=0)
