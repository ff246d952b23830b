"""People who walk: planted feet, smooth motion, possible poses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pose_priors.body.builtin import BALL_HEIGHT, rest_joints
from pose_priors.body.limits import limit_violations
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import PARENTS, index_of
from pose_priors.datamodules.synthetic.draw import DrawOnce
from pose_priors.datamodules.synthetic.motion import Motion
from pose_priors.datamodules.synthetic.scenes.walk import walk_on_arc

T, FPS, STATURE = 90, 30.0, 1.62
BALLS = [index_of("left_foot"), index_of("right_foot")]


def joints_of(motion: Motion, stature: float = STATURE) -> np.ndarray:
    joints, _ = forward_kinematics(motion.pose, rest_joints(stature)[:22], PARENTS[:22])
    return (joints + motion.pelvis[:, None]).numpy()


def walked(seed: int, gesturing: bool = False, turn: float = 50.0) -> Motion:
    return walk_on_arc(T, FPS, 1.15, turn, STATURE, gesturing, seed)


@pytest.mark.parametrize("seed", range(6))
def test_one_foot_or_the_other_stands_still_on_the_floor(seed: int) -> None:
    balls = joints_of(walked(seed))[:, BALLS]
    height = BALL_HEIGHT * STATURE
    still = np.linalg.norm(np.diff(balls, axis=0), axis=-1) < 5e-4
    assert still.any(1).mean() > 0.9
    assert (still.mean(0) > 0.3).all()
    np.testing.assert_allclose(balls[1:, :, 1][still], height, atol=1e-3)
    assert balls[..., 1].min() > height - 0.006
    assert balls[..., 1].max() > height + 0.035


@pytest.mark.parametrize("seed", range(6))
def test_motion_is_smooth_and_possible(seed: int) -> None:
    motion = walked(seed, gesturing=bool(seed % 2))
    whole = torch.zeros(T, 55, 3, dtype=torch.float64)
    whole[:, :22] = motion.pose
    assert limit_violations(whole).max() == 0
    acceleration = np.linalg.norm(np.diff(joints_of(motion), 2, axis=0), axis=-1) * FPS**2
    assert acceleration.max() < 60
    assert acceleration[:, 0].max() < 7


def test_the_path_bends_by_the_turn() -> None:
    straight, left = (joints_of(walked(0, turn=turn))[:, 0] for turn in (0.0, 80.0))
    for path in (straight, left):
        np.testing.assert_allclose(path[0, [0, 2]], 0, atol=1e-12)
        assert 2.0 < np.linalg.norm(np.diff(path[:, [0, 2]], axis=0), axis=1).sum() < 4.5
    assert abs(straight[-1, 0]) < 0.15 * straight[-1, 2]
    cycle = round(1.15 * FPS)
    first, last = left[cycle] - left[0], left[-1] - left[-1 - cycle]
    bend = np.arctan2(last[0], last[2]) - np.arctan2(first[0], first[2])
    # between the middles of the first and the last cycle
    assert np.degrees(bend) == pytest.approx(80 * (T - 1 - cycle) / T, abs=6)


def test_hands_that_talk_are_in_front_and_move_and_others_hang() -> None:
    wrists = [index_of("left_wrist"), index_of("right_wrist")]
    talking, swinging = (joints_of(walked(1, gesturing=g, turn=0.0)) for g in (True, False))
    from_pelvis = [joints[:, wrists] - joints[:, :1] for joints in (talking, swinging)]
    assert from_pelvis[0][..., 1].mean() > from_pelvis[1][..., 1].mean() + 0.1
    assert from_pelvis[0][..., 2].mean() > 0.15
    assert (np.ptp(from_pelvis[0], axis=0).max(-1) > 0.08).all()


def test_seeds() -> None:
    assert torch.equal(walked(3).pose, walked(3).pose)
    assert not torch.allclose(walked(3).pose, walked(4).pose, atol=1e-2)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    walked(3)
    assert torch.equal(state, torch.get_rng_state())


def test_one_person_is_drawn_once() -> None:
    draw = DrawOnce(5, torch.Generator().manual_seed(0))
    for drawn in (draw.normal(2, mean=3.0), draw.uniform(4), draw.between(0, 1), draw.pair(0, 1, 0.5), draw.side()):
        assert len(drawn) == 5
        assert (drawn == drawn[:1]).all()
    assert not torch.equal(draw.normal(), draw.normal())
