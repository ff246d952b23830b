"""The built-in motions: planted feet, smooth and possible movement, the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
import roma
import torch
from synthetic_cases import ANKLES, BALLS, FPS, KINDS, KNEES, NUM, WRISTS, clips, every_clip, headings, of_kind, world

from pose_priors.body.builtin import ANKLE_HEIGHT, BALL_HEIGHT
from pose_priors.body.limits import limit_violations
from pose_priors.body.skeleton import index_of
from pose_priors.datamodules.synthetic.motions import SECONDS, synthetic_motions


def test_clips_are_what_they_say() -> None:
    assert len(clips()) == NUM
    assert {motion.kind for motion in clips()} == set(KINDS)
    for motion in clips():
        length = len(motion.pose)
        assert SECONDS[0] * FPS - 1 <= length <= SECONDS[1] * FPS + 1
        assert motion.pose.shape == (length, 22, 3)
        assert motion.pelvis.shape == (length, 3)
        assert motion.pose.dtype == motion.pelvis.dtype == torch.float64
        assert motion.pose.isfinite().all()
        assert motion.pelvis.isfinite().all()
        assert (motion.pose.norm(dim=-1) <= math.pi).all()
    statures = np.array([motion.stature for motion in clips()])
    assert 1.45 < statures.min() < 1.6 < 1.8 < statures.max() < 2.0


@every_clip
def test_feet_stand_still_on_the_floor(kind: str) -> None:
    for motion in of_kind(kind):
        joints, rotations = world(motion)
        height = BALL_HEIGHT * motion.stature
        balls = joints[:, BALLS]
        stands = np.abs(balls[..., 1] - height) < 1e-4
        inside = stands[:-2] & stands[1:-1] & stands[2:]
        moved = np.linalg.norm(np.diff(balls, axis=0), axis=-1)[1:]
        assert inside.any(1).mean() > 0.75
        assert inside.mean(0).min() > 0.2
        assert moved[inside].max() < 2e-3
        assert (moved < 2e-3).any(1).mean() > 0.88
        heels = joints[:, ANKLES] + rotations[:, ANKLES] @ np.array([0, -ANKLE_HEIGHT, -0.038]) * motion.stature
        assert balls[..., 1].min() > height - 0.005
        assert heels[..., 1].min() > -0.005
        if kind in ("reaching", "sitting"):
            assert moved.max() < 1e-6
            assert heels[..., 1].max() < 1e-6


@every_clip
def test_motion_is_smooth(kind: str) -> None:
    for motion in of_kind(kind):
        joints, _ = world(motion)
        acceleration = np.linalg.norm(np.diff(joints, 2, axis=0), axis=-1) * FPS**2
        # of people in motion capture 30 and 190
        assert np.percentile(acceleration, 95) < 38
        assert acceleration.max() < 120
        assert acceleration[:, 0].max() < 16
        turned = roma.rotmat_geodesic_distance(*(roma.rotvec_to_rotmat(x) for x in (motion.pose[1:], motion.pose[:-1])))
        assert turned.rad2deg().max() < 30
        assert np.linalg.norm(np.diff(motion.pelvis.numpy(), axis=0), axis=1).max() * FPS < 2.6


@every_clip
def test_poses_are_possible(kind: str) -> None:
    for motion in of_kind(kind):
        whole = torch.zeros(len(motion.pose), 55, 3, dtype=torch.float64)
        whole[:, :22] = motion.pose
        assert limit_violations(whole)[:, 1:].max() == 0
        assert motion.pose[:, KNEES, 0].min() > 0
        joints, _ = world(motion)
        assert np.linalg.norm(joints[:, ANKLES[0]] - joints[:, ANKLES[1]], axis=-1).min() > 0.05
        # forearms stay out of the trunk
        spine = joints[:, [0, 3, 6, 9]]
        for name in ("elbow", "wrist"):
            for side in ("left", "right"):
                away = np.linalg.norm(joints[:, None, index_of(f"{side}_{name}")] - spine, axis=-1)
                assert away.min() > 0.08


def test_every_clip_has_its_own_seed() -> None:
    few = synthetic_motions(9, FPS, seed=11)
    for a, b in zip(few, clips(), strict=False):
        assert torch.equal(a.pose, b.pose)
        assert torch.equal(a.pelvis, b.pelvis)
        assert (a.stature, a.kind) == (b.stature, b.kind)
    assert not torch.allclose(synthetic_motions(1, FPS, seed=12)[0].pose[:50], few[0].pose[:50], atol=1e-3)


def test_threads_and_the_global_generator_do_not_matter(torch_threads: Callable[[int], AbstractContextManager[None]]) -> None:
    torch.manual_seed(0)
    state, one, two = torch.get_rng_state(), [], []
    for number, made in ((1, one), (2, two)):
        with torch_threads(number):
            made += synthetic_motions(9, 60.0, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    assert len({motion.kind for motion in one}) > 2
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.pose, b.pose)
        assert torch.equal(a.pelvis, b.pelvis)


@pytest.mark.parametrize(("num", "fps"), [(0, 30.0), (3, 5.0), (3, math.nan)])
def test_what_cannot_be_made_is_refused(num: int, fps: float) -> None:
    with pytest.raises(ValueError, match="at least"):
        synthetic_motions(num, fps, seed=0)


def test_left_and_right_are_as_likely() -> None:
    """Most people of this source turn to the left before they are mirrored, and reach with the left hand."""
    left = [math.copysign(1, headings(motion)[-1]) for motion in of_kind("turning")]
    assert {-1.0, 1.0} == set(left)
    higher = []
    for motion in of_kind("reaching"):
        wrists = world(motion)[0][:, WRISTS]
        path = np.linalg.norm(np.diff(wrists, axis=0), axis=-1).sum(0)
        higher.append(path[0] > path[1])
    assert 0 < sum(higher) < len(higher)
