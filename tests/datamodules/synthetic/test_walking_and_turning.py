"""How people walk and turn: speeds, cadence, steps and knees as in the literature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic_cases import ANKLES, FPS, KNEES, STEADY, TURN, frames, generator, headings, world

from pose_priors.body.skeleton import index_of
from pose_priors.datamodules.synthetic.legs_ik import foot_angles
from pose_priors.datamodules.synthetic.turning import turning
from pose_priors.datamodules.synthetic.walking import cadence, walking


# Murray, Drought & Kory, "Walking patterns of normal men", J. Bone Joint Surg. 46-A, 1964: free and fast walking of men 1.76 m tall
@pytest.mark.parametrize(("speed", "steps_a_minute"), [(1.51, 117.0), (2.18, 138.0)])
def test_cadence_agrees_with_another_source(speed: float, steps_a_minute: float) -> None:
    assert 120 * cadence(speed, 1.76) == pytest.approx(steps_a_minute, rel=0.07)


@pytest.mark.parametrize("stature", [1.55, 1.9])
@pytest.mark.parametrize("speed", [0.7, 1.3, 1.7])
def test_walking_has_the_speed_the_cadence_and_the_steps_of_the_literature(speed: float, stature: float) -> None:
    motion = walking(replace(STEADY, speed=(speed, speed)), frames(6), FPS, stature, generator())
    joints, _ = world(motion)
    path = joints[:, 0, [0, 2]]
    assert np.linalg.norm(path[-1] - path[0]) / ((len(path) - 1) / FPS) == pytest.approx(speed, rel=0.12)
    # the frequency of the ankles' distance, along the way
    apart = joints[:, ANKLES[0], 2] - joints[:, ANKLES[1], 2]
    rising = np.flatnonzero((apart[:-1] < 0) & (apart[1:] >= 0))
    exact = rising - apart[rising] / (apart[rising + 1] - apart[rising])
    cycle_s = np.diff(exact).mean() / FPS
    assert 60 / cycle_s == pytest.approx(64.8 * (speed / stature) ** 0.57, rel=0.02)
    step = np.abs(apart).max()
    assert step == pytest.approx(speed * cycle_s / 2, rel=0.25)


def test_knees_bend_as_in_walking() -> None:
    """At a normal speed: nearly straight in stance, about 60 degrees in swing; the pelvis rises and falls by a few centimetres."""
    for seed in range(3):
        motion = walking(STEADY, frames(4), FPS, 1.7, generator(seed))
        knees = motion.pose[:, KNEES].norm(dim=-1).rad2deg()
        assert (knees.min(0).values < 20).all()
        assert ((knees.max(0).values > 48) & (knees.max(0).values < 80)).all()
        assert 0.015 < np.ptp(motion.pelvis[:, 1].numpy()) < 0.075


def test_walks_begin_and_end_in_standing() -> None:
    motion = walking(replace(STEADY, starts=True, stops=True), frames(5), FPS, 1.7, generator())
    joints, _ = world(motion)
    speed = np.linalg.norm(np.diff(joints[:, 0], axis=0), axis=1) * FPS
    assert speed[0] < 0.1
    assert speed[-1] < 0.01
    assert speed.max() > 1.2
    for frame in (0, -1):
        assert 0.1 < np.linalg.norm(joints[frame, ANKLES[0]] - joints[frame, ANKLES[1]]) < 0.4


def test_paths_bend_to_the_left_by_the_turn() -> None:
    cycles = 4 * cadence(1.3, 1.7)
    for turn in (-25.0, 30.0):
        heading = headings(walking(replace(STEADY, turn_deg=turn), frames(4), FPS, 1.7, generator()))
        assert heading[-1] - heading[0] == pytest.approx(turn * cycles, abs=15)


def test_turning_takes_the_head_first_and_the_feet_along() -> None:
    motion = turning(TURN, frames(TURN.seconds + 0.4), FPS, 1.7, generator())
    joints, rotations = world(motion)
    assert headings(motion)[-1] == pytest.approx(150, abs=6)
    yaw = {}
    for name, joint in (("head", "head"), ("trunk", "spine3"), ("pelvis", "pelvis")):
        forward = rotations[:, index_of(joint), :, 2]
        yaw[name] = np.degrees(np.unwrap(np.arctan2(forward[:, 0], forward[:, 2])))
        yaw[name] -= yaw[name][0]
    half = {name: int((angle > 75).argmax()) for name, angle in yaw.items()}
    assert half["head"] < half["trunk"] <= half["pelvis"]
    feet, _ = foot_angles(torch.from_numpy(rotations[:, ANKLES]))
    feet = np.degrees(np.unwrap(feet.numpy(), axis=0))
    assert feet[-1] - feet[0] == pytest.approx([150, 150], abs=1e-6)
    # no foot is turned much against the body, and the body stays where it is
    assert np.abs(feet - headings(motion)[:, None]).max() < 60
    assert np.linalg.norm(joints[:, 0, [0, 2]] - joints[:1, 0, [0, 2]], axis=1).max() < 0.2
