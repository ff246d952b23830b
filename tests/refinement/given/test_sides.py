"""Left and right: legs and keypoints that change sides for a while are changed back, and those that cross are left alone.

And two people who are exchanged, as by trackers that change their ids.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from problems import make_problem
from scipy.spatial.transform import Rotation

from pose_priors.body.pinhole import project
from pose_priors.body.skeleton import index_of
from pose_priors.refinement.formats.keypoints import Correspondence
from pose_priors.refinement.given.people import exchanged
from pose_priors.refinement.given.problem import Bodies
from pose_priors.refinement.given.sides import unswapped_keypoints, unswapped_legs
from pose_priors.refinement.given.start import PosedPeople

FRAMES, FPS = 40, 30.0
LEGS = [[index_of(f"{side}_{name}") for name in ("hip", "knee", "ankle", "foot")] for side in ("left", "right")]
PAIRS = [[1, 2], [4, 5], [7, 8], [10, 11], [13, 14], [16, 17], [18, 19], [20, 21]]
OF = tuple(Correspondence((joint,), (1.0,), (joint,)) for joint in range(22))
INTRINSICS = np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]])
BODIES: Bodies = make_problem(people=1)[0].bodies


def walking(noise: float = 0.02, turn: float = 0.7) -> PosedPeople:
    """One who walks on the spot, seen at an angle, legs crossing in the image twice a second."""
    draw = np.random.default_rng(0)
    swing = 0.5 * np.sin(2 * math.pi * 1.0 * np.arange(FRAMES) / FPS)
    pose = noise * draw.normal(size=(1, FRAMES, 22, 3))
    pose[0, :, 1, 0] += swing
    pose[0, :, 2, 0] -= swing
    pose[0, :, 4, 0] += np.maximum(swing, 0)
    pose[0, :, 5, 0] += np.maximum(-swing, 0)
    pose[0, :, 0] = [0.0, turn, 0.0]
    return PosedPeople(pose, np.tile([0.0, 0.0, 4.0], (1, FRAMES, 1)), np.ones((1, FRAMES), bool))


def with_legs_swapped(people: PosedPeople, frames: list[int]) -> PosedPeople:
    pose = people.pose.copy()
    for left, right in zip(*LEGS, strict=True):
        pose[0, frames, left], pose[0, frames, right] = people.pose[0, frames, right], people.pose[0, frames, left]
    return PosedPeople(pose, people.pelvis, people.seen)


def test_legs_that_cross_in_the_image_are_left_alone() -> None:
    for turn in (0.0, 0.7, 1.57):
        people = walking(turn=turn)
        found, swapped = unswapped_legs(people, BODIES, FPS)
        assert not swapped.any()
        np.testing.assert_array_equal(found.pose, people.pose)


@pytest.mark.parametrize("frames", [list(range(10, 18)), list(range(0, 6)), [*range(5, 12), *range(25, 36)]])
def test_legs_on_the_wrong_side_come_back(frames: list[int]) -> None:
    people = walking()
    found, swapped = unswapped_legs(with_legs_swapped(people, frames), BODIES, FPS)
    # where both legs are alike nothing tells, and nothing is lost
    alike = np.abs(people.pose[0, :, 1] - people.pose[0, :, 2]).max(-1) < 0.25
    right = np.zeros(FRAMES, bool)
    right[frames] = True
    assert (swapped[0] == right)[~alike].all()
    np.testing.assert_array_equal(found.pose[0, ~alike], people.pose[0, ~alike])


SOMEBODY_ELSE = [(since, 0.25 * eighth * math.pi, 0.8) for since in (10, 20, 30) for eighth in range(8)]
# at the same place, but with legs that on no side go on where the others were
SOMEBODY_ELSE += [(15, 0.0, 0.0), (20, 0.5 * math.pi, 0.0), (20, 1.25 * math.pi, 0.0), (30, 1.75 * math.pi, 0.0)]


@pytest.mark.parametrize(("since", "phase", "apart"), SOMEBODY_ELSE)
def test_legs_of_who_is_somebody_else_from_a_frame_on_are_left_alone(since: int, phase: float, apart: float) -> None:
    people, swing = walking(), 0.6 * np.sin(2 * math.pi * 1.3 * np.arange(FRAMES) / FPS + phase)
    pose, pelvis, late = people.pose.copy(), people.pelvis.copy(), slice(since, None)
    for thigh, shin, sign in ((1, 4, 1), (2, 5, -1)):
        pose[0, late, [thigh, shin]] = 0
        pose[0, late, thigh, 0] = sign * swing[late]
        pose[0, late, thigh, 2] = 0.15 * sign
        pose[0, late, shin, 0] = 0.3 + np.maximum(sign * swing[late], 0)
    pelvis[0, late, 0] += apart
    assert not unswapped_legs(PosedPeople(pose, pelvis, people.seen), BODIES, FPS)[1].any()


@pytest.mark.parametrize("sigma", [0.05, 0.15])
def test_depth_that_jumps_does_not_hide_legs_on_the_wrong_side(sigma: float) -> None:
    frames = list(range(8, 16))
    people = with_legs_swapped(walking(), frames)
    _, found = unswapped_legs(people, BODIES, FPS)
    assert found[0, frames].mean() > 0.8
    for seed in range(5):
        shaken = people.pelvis * (1 + sigma / 4 * np.random.default_rng(seed).normal(size=(1, FRAMES, 1)))
        shaken[0, frames] *= 1.1
        np.testing.assert_array_equal(unswapped_legs(replace(people, pelvis=shaken), BODIES, FPS)[1], found)


def test_frames_on_which_nobody_was_seen_have_no_say() -> None:
    people = walking()
    seen = people.seen.copy()
    seen[0, 15:20] = False
    spoilt = with_legs_swapped(people, list(range(15, 20)))
    _, swapped = unswapped_legs(PosedPeople(spoilt.pose, spoilt.pelvis, seen), BODIES, FPS)
    assert not swapped.any()
    few = PosedPeople(people.pose[:, :2], people.pelvis[:, :2], people.seen[:, :2])
    assert not unswapped_legs(few, BODIES, FPS)[1].any()


def test_keypoints_on_the_wrong_side_come_back_and_others_stay() -> None:
    joints = walking().joints(BODIES)
    truth = np.concatenate([project(joints, INTRINSICS), np.full((1, FRAMES, 22, 1), 0.9)], -1)
    truth[..., :2] += np.random.default_rng(1).normal(0, 3, truth[..., :2].shape)
    given = truth.copy()
    for left, right in PAIRS:
        given[0, 12:22, left], given[0, 12:22, right] = truth[0, 12:22, right], truth[0, 12:22, left]
    camera = np.broadcast_to(INTRINSICS, (1, FRAMES, 3, 3))
    same, none = unswapped_keypoints(truth, joints, OF, camera)
    assert not none.any()
    np.testing.assert_array_equal(same, truth)
    found, swapped = unswapped_keypoints(given, joints, OF, camera)
    assert swapped[0, 13:21].all()
    assert not swapped[0, :11].any()
    assert not swapped[0, 23:].any()
    assert np.abs(found - truth)[..., :2].max() < 0.2 * np.abs(given - truth)[..., :2].max()


def test_keypoints_of_zero_confidence_say_nothing_of_sides() -> None:
    joints = walking().joints(BODIES)
    points = np.zeros((1, FRAMES, 22, 3))
    found, swapped = unswapped_keypoints(points, joints, OF, np.broadcast_to(INTRINSICS, (1, FRAMES, 3, 3)))
    assert not swapped.any()
    np.testing.assert_array_equal(found, points)


def test_who_lies_in_the_image_is_as_tall_as_who_stands() -> None:
    """Keypoints that stage 3's legs cross by more and more, of one who stands and of the same turned about the optical axis."""
    pose = 0.005 * np.random.default_rng(0).normal(size=(1, FRAMES, 22, 3))
    place, seen = np.tile([0.0, 0.0, 4.0], (1, FRAMES, 1)), np.ones((1, FRAMES), bool)
    found: dict[float, list[int]] = {}
    for turn in (0.0, 90.0):
        pose[0, :, 0] = Rotation.from_euler("yz", [90.0, turn], degrees=True).as_rotvec()
        for crossed in np.linspace(0.02, 0.2, 10):
            joints = []
            for sign in (1, -1):
                legs = pose.copy()
                legs[0, 10:20, 1, 0] += sign * crossed
                legs[0, 10:20, 2, 0] -= sign * crossed
                joints.append(PosedPeople(legs, place, seen).joints(BODIES))
            keypoints = np.concatenate([project(joints[0], INTRINSICS), np.full((1, FRAMES, 22, 1), 0.9)], -1)
            _, swapped = unswapped_keypoints(keypoints, joints[1], OF, np.broadcast_to(INTRINSICS, (1, FRAMES, 3, 3)))
            found.setdefault(turn, []).append(int(swapped.sum()))
    assert found[0.0] == found[90.0]
    assert found[0.0][0] == 0
    assert found[0.0][-1] == 10


def walks(frames: int, fps: float, apart: float = 1.0) -> np.ndarray:
    """(3, T, 3) metres: three people side by side who walk at 1.5 m/s, their places off by some centimetres."""
    time = np.arange(frames) / fps
    path = np.stack([apart * np.arange(3)[:, None] + 0 * time, 0.9 + 0 * time + np.zeros((3, 1)), 1.5 * time + np.zeros((3, 1))], -1)
    return path + 0.03 * np.random.default_rng(0).normal(size=path.shape)


@pytest.mark.parametrize("fps", [15.0, 30.0, 120.0])
def test_people_who_change_places_in_one_frame_are_told(fps: float) -> None:
    pelvis, seen = walks(40, fps), np.ones((3, 40), bool)
    frames = np.arange(100, 140)
    assert exchanged((1, 2, 7), frames, pelvis, seen, fps) == []
    pelvis[[0, 1], 20:] = pelvis[[1, 0], 20:]
    (line,) = exchanged((1, 2, 7), frames, pelvis, seen, fps)
    assert line.startswith("persons 1 and 2 change places from frame 119 to 120")
    seen[1, 18:21] = False  # one hides the other, and is taken for them
    (line,) = exchanged((1, 2, 7), frames, pelvis, seen, fps)
    assert line.startswith("persons 1 and 2 change places from frame 117 to 121:")
    seen[1, 21:] = False  # who is not seen any more may have gone on anywhere
    assert exchanged((1, 2, 7), frames, pelvis, seen, fps) == []


def test_three_people_in_a_round_and_ids_that_come_and_go_are_one_line_each() -> None:
    frames, seen = np.arange(40), np.ones((3, 40), bool)
    three = walks(40, 30.0)
    three[:, 20:] = three[[1, 2, 0], 20:]
    (line,) = exchanged((1, 2, 7), frames, three, seen, 30.0)
    assert line.startswith("persons 1, 2 and 7 change places from frame 19 to 20:")
    often = walks(40, 30.0)
    for t in range(10, 40, 5):
        often[[0, 1], t:] = often[[1, 0], t:]
    (line,) = exchanged((1, 2, 7), frames, often, seen, 30.0)
    assert line.startswith("persons 1 and 2 change places from frame 9 to 10, and 5 times more:")


@pytest.mark.parametrize("fps", [2.5, 5.0, 30.0])
def test_people_who_run_past_each_other_or_dance_in_a_round_keep_their_ids(fps: float) -> None:
    """At low rates from a frame to the next, and unseen at high ones."""
    time = np.arange(round(2 * fps) + 1) / fps
    still, seen = 0 * time, np.ones((2, len(time)), bool)
    one = np.stack([6 * (time - 1), 0.9 + still, still], -1)
    past = np.stack([one, one * [-1, 1, 1]]) + 0.01 * np.random.default_rng(0).normal(size=(2, len(time), 3))
    turn = np.stack([0.4 * np.cos(2 * np.pi * time), 0.9 + still, 0.4 * np.sin(2 * np.pi * time)], -1)
    round_ = np.stack([turn, turn * [-1, 1, -1]])
    for hidden in (slice(0), slice(len(time) // 2, len(time) // 2 + round(0.4 * fps))):
        seen[:, hidden] = False
        assert exchanged((1, 2), np.arange(len(time)), past, seen, fps) == []
        assert exchanged((1, 2), np.arange(len(time)), round_, seen, fps) == []


def test_one_who_leaps_and_two_who_leap_elsewhere_have_their_own_ids() -> None:
    frames, seen = np.arange(40), np.ones((3, 40), bool)
    one = walks(40, 30.0)
    one[0, 20:] += [1.0, 0.0, 0.0]
    assert exchanged((1, 2, 3), frames, one, seen, 30.0) == []
    one[1, 20:] += [0.0, 0.0, 1.0]
    assert exchanged((1, 2, 3), frames, one, seen, 30.0) == []


def test_people_who_dance_closely_are_not_taken_for_each_other() -> None:
    pelvis = walks(40, 30.0, apart=0.3)
    pelvis[[0, 1], 20:] = pelvis[[1, 0], 20:]
    assert exchanged((1, 2, 3), np.arange(40), pelvis, np.ones((3, 40), bool), 30.0) == []
