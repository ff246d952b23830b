"""Motions that look like faults and are none: what carries people, what bounces, what comes to rest, few frames. They stay as they are."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import test_lifts
from scipy.spatial.transform import Rotation
from test_lifts import SOLE, UP, UPRIGHT, bent, eased, motion_of, standing
from walking_files import walker, write_motion

from clean import main as clean
from pose_priors.body.interpolation import runs
from pose_priors.refinement.motions.faults.falling import GRAVITY
from pose_priors.refinement.motions.faults.frozen import frozen
from pose_priors.refinement.motions.faults.pops import pops
from pose_priors.refinement.motions.faults.rides import at_once, rides
from pose_priors.refinement.motions.faults.support import find_support, upright_speed
from pose_priors.refinement.motions.motion import Motion
from pose_priors.refinement.motions.restore import Restored, restore
from pose_priors.refinement.motions.signals import closed

RATES = [15.0, 30.0, 120.0]


def kept(motion: Motion) -> Restored:
    """What is found in a motion, none of which may be changed, and warns of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = restore(motion)
    assert np.array_equal(found.motion.pelvis, motion.pelvis)
    assert np.array_equal(found.motion.quat, motion.quat)
    for fault, marked in found.marked.items():  # and says why
        told = np.any([*found.left[fault].values(), 0 * marked], axis=0)
        assert all(told[begin:end].any() for begin, end in runs(marked))
        assert not (told & ~closed(marked, len(marked))).any()
    return found


def why_left(found: Restored, fault: str) -> str:
    """The reason why what was found stays, of which there is one."""
    (why,) = found.left[fault]
    return why


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize(("metres", "seconds"), [(0.2, 1.0), (0.2, 4.0), (0.5, 1.0), (3.0, 2.0), (30.0, 4.0), (0.2, 0.7)])
def test_who_goes_up_and_down_in_an_elevator_comes_back_to_no_floor(metres: float, seconds: float, fps: float) -> None:
    time, pose, pelvis = standing(14.0, fps)
    pelvis += metres * (eased(time, 2, seconds) - eased(time, 9, seconds))[:, None] * UP
    assert not kept(motion_of(pose, pelvis, fps)).marked["floating"].any()


@pytest.mark.parametrize(("above", "by", "why"), [(0.0, 0.6, "off the floor"), (2.0, 0.6, "off the floor"), (0.0, -0.6, "below the floor")])
@pytest.mark.parametrize("fps", RATES)
def test_a_lift_that_is_quick_and_high_is_told_and_left(fps: float, above: float, by: float, why: str) -> None:
    """As partners lift dancers, or as the ground is lower elsewhere; files err by less."""
    time, pose, pelvis = standing(8.0, fps)
    pelvis += (above + by * (eased(time, 2, 0.5) - eased(time, 5, 0.5)))[:, None] * UP
    found = kept(motion_of(pose, pelvis, fps))
    assert found.marked["floating"][(time > 3) & (time < 4.8)].all()
    assert f"0.4 m {why} or more" in why_left(found, "floating")
    low = pelvis - 0.35 * np.sign(by) * (eased(time, 2, 0.5) - eased(time, 5, 0.5))[:, None] * UP
    found = restore(motion_of(pose, low, fps))
    assert np.abs(found.motion.pelvis - low)[(time > 3) & (time < 4.8), 2].min() > 0.2


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize(("rope", "angle"), [(1.0, 0.5), (1.6, 0.3), (2.5, 0.3)])
def test_who_stands_on_a_swing_neither_floats_nor_glides(rope: float, angle: float, fps: float) -> None:
    time, pose, pelvis = standing(12.0, fps)
    turned = angle * np.cos(time * (GRAVITY / rope) ** 0.5)
    pose[:, 0] = (Rotation.from_rotvec(-turned[:, None] * [0, 1.0, 0]) * UPRIGHT).as_rotvec()
    pelvis += np.stack([rope * np.sin(turned), 0 * turned, rope * (1 - np.cos(turned))], 1)
    assert not kept(motion_of(pose, pelvis, fps)).marked["floating"].any()


@pytest.mark.parametrize("fps", RATES)
def test_who_leaps_far_onto_something_is_not_lifted(fps: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far above what the floor tells, and back: the centre of mass falls all the way, also where it goes along more than up."""
    monkeypatch.setattr(test_lifts, "WALKER_FPS", fps)
    time, pose, pelvis = test_lifts.standing(6.0)
    pelvis[:, 2] += 2
    for start, high, ahead in ((0.5, 0.3, 1.5), (3.0, -0.3, -1.5)):
        test_lifts.leap(time, pose, pelvis, start, high, (2 * GRAVITY * (max(high, 0) + 0.06)) ** 0.5)
        pelvis[:, 0] += ahead * eased(time, start + 0.55, 0.45)
    assert not kept(motion_of(pose, pelvis, fps)).marked["floating"].any()


def test_what_goes_along_more_than_up_rises_by_nothing() -> None:
    velocity = np.array([[1.0, 0, 0.3], [0, -1, -0.6], [0.2, 0, 0.05], [0, 0, -2], [0.6, 0.8, -0.4]])
    np.testing.assert_array_equal(upright_speed(velocity), [0, -0.6, 0.05, -2, 0])


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("steep", [-0.6, 0.6])
def test_who_stands_on_an_escalator_is_carried(steep: float, fps: float) -> None:
    time, pose, pelvis = standing(12.0, fps)
    rode = np.clip(time - 2, 0, 8)
    found = kept(motion_of(pose, pelvis + np.stack([0.45 * rode, 0 * rode, 0.45 * steep * rode], 1), fps))
    assert "up or down" in why_left(found, "sliding")


@pytest.mark.parametrize("fps", RATES)
def test_who_walks_on_a_treadmill_stays_there_and_is_told(fps: float) -> None:
    pose, pelvis = walker(6.0, fps)
    found = kept(motion_of(pose, pelvis * [0, 1, 1], fps))
    assert found.marked["sliding"].mean() > 0.9
    assert "treadmills" in why_left(found, "sliding")


@pytest.mark.parametrize("fps", RATES)
def test_who_sits_on_something_that_goes_is_carried(fps: float) -> None:
    time, pose, pelvis = standing(8.0, fps)
    pose[:, [1, 2], 0], pose[:, [4, 5], 0] = -1.0, 1.0
    pelvis += np.stack([1.5 * time, 0 * time, 1 - 0.1 * np.cos(np.pi * time)], 1)
    kept(motion_of(pose, pelvis, fps))


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize(("seconds", "carried"), [(0.1, False), (1.5, True)])
def test_a_glide_sets_in_at_once_and_a_train_speeds_up(seconds: float, carried: bool, fps: float) -> None:
    time, pose, pelvis = standing(10.0, fps)
    speed = 0.8 * (eased(time, 2, seconds) - eased(time, 7, seconds))
    pelvis[:, 0] += np.cumsum(speed) / fps
    motion = motion_of(pose, pelvis, fps)
    assert (rides(motion, find_support(motion, ~motion.known), round(2 * fps), round(7 * fps), np.array([0.8, 0])) != "") == carried
    found = restore(motion)
    assert found.marked["sliding"][(time > 4) & (time < 6.5)].all()
    assert len(found.left["sliding"]) == carried
    left = np.abs(found.motion.pelvis - [0, 0, SOLE])[-1, 0]
    assert left == pytest.approx(pelvis[-1, 0]) if carried else left < 0.15 * pelvis[-1, 0]


def test_one_end_of_a_glide_is_enough_and_none_is_not() -> None:
    """Each end is looked for where the glide has it."""
    speed = np.where(np.arange(100) < 40, 0, 1.0)
    assert at_once(speed, 42, 30.0) == at_once(speed, 30, 30.0) == 1
    assert at_once(speed, 20, 30.0) == at_once(speed, 70, 30.0) == at_once(-speed, 40, 30.0) == 0
    assert at_once(speed[:4], 0, 30.0) == 0
    # half of a rise that takes twice as long as one at once
    assert at_once(np.clip((np.arange(300) - 100) / 72, 0, 1), 130, 120.0) == pytest.approx(0.5)


@pytest.mark.parametrize("fps", [15.0, 24.0, 30.0, 60.0])
@pytest.mark.parametrize("flight", [0.5, 0.8, 1.2])
def test_who_bounces_off_a_trampoline_does_not_jump_away_and_back(flight: float, fps: float) -> None:
    """At the bottom steps are long and opposite: of a bounce those before and behind are, too."""
    time, pose, pelvis = standing(8.0, fps)
    contact, speed = 0.35, GRAVITY * flight / 2
    phase = (time + 0.1) % (flight + contact)
    bed = -speed * contact / np.pi * np.sin(np.pi * phase / contact)
    air = speed * (phase - contact) - GRAVITY / 2 * (phase - contact) ** 2
    pelvis[:, 2] += np.where(phase < contact, bed, air)
    motion = motion_of(pose, pelvis, fps)
    assert pops(motion)[1].max() < 1
    kept(motion)
    # and a frame amid a fall that is elsewhere is still told
    high = int(np.argmax(pelvis[: round(1.5 * fps), 2])) + round(0.1 * fps)
    pelvis[high] += [0, 0.25, 0]
    assert pops(motion_of(pose, pelvis, fps))[1].argmax() == high


@pytest.mark.parametrize("times", [1.5, 2.0])
@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0])
def test_knees_that_bend_and_straighten_quickly_do_not_jump(fps: float, times: float) -> None:
    """As of a file that says a higher rate than it has: what begins and ends at once goes on in between."""
    pose, pelvis = walker(2.5, fps)
    assert not kept(motion_of(pose, pelvis, fps * times)).marked["pop"].any()


@pytest.mark.parametrize("fps", [15.0, 30.0])
@pytest.mark.parametrize("at", [1, 20, -2])
def test_frames_that_jump_are_told_beside_the_ends_too(at: int, fps: float) -> None:
    pose, pelvis = walker(4.0, fps)
    pelvis[at, 1] += 0.3
    moved = pops(motion_of(pose, pelvis, fps))[1]
    assert moved[at] > 2
    assert (moved > 1).sum() == 1


@pytest.mark.parametrize("fps", [1.0, 2.0, 5.0, 15.0, 30.0, 240.0])
@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("above", [0.0, 2.0])
def test_a_few_steps_of_a_walk_say_too_little(num: int, fps: float, above: float) -> None:
    pose, pelvis = walker(max(20 / fps, 0.3), fps)
    kept(motion_of(pose[:num], pelvis[:num] + above * UP, fps))


def test_a_first_pose_of_its_own_is_told_where_the_next_steps_are_shorter() -> None:
    pose, pelvis = walker(4.0, 15.0)
    pose[0, 1:22] += 1.0
    turned = pops(motion_of(pose, pelvis, 15.0))[0]
    assert (turned[0] > 1).sum() > 15
    assert not (turned[1:] > 1).any()


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("seconds", [0.7, 1.2, 2.0])
def test_who_turns_back_or_comes_to_rest_repeats_nothing(seconds: float, fps: float) -> None:
    """Arms turn back while the knees are about to bend; below, all of the body rests, slowly come to and slowly left."""
    time, pose, pelvis = standing(10.0, fps)
    down = 0.42 * (eased(time, 2, seconds) - eased(time, 6, seconds))
    bent(pose, down)
    pelvis[:, 2] -= down
    kept(motion_of(pose, pelvis, fps))
    pose[:, [16, 17], 0] = 0
    held = motion_of(pose, pelvis, fps)
    assert not frozen(held)[(time > 2) & (time < 6.5)].any()
    kept(held)


@pytest.mark.parametrize(
    ("before", "behind", "told"),
    [
        ([10, 10], [10, 10], True),  # stops at full speed and goes on
        ([10, 5], [40, 10], True),  # slows down, and is then where it has come meanwhile
        ([10, 40], [5, 10], True),
        ([10, 5], [10, 10], False),  # slows down, and starts as what is pushed does
        ([10, 10], [5, 10], False),
        ([0.9, 0.7], [10, 10], False),  # hardly moves any more
        ([9, 7], [9, 10], True),
    ],
)
def test_who_rests_slows_down_or_speeds_up_and_jumps_on_neither_side(before: list[float], behind: list[float], told: bool) -> None:
    _, pose, pelvis = standing(1.5, 30.0)
    pose[:, [16, 17], 0] = 0
    steps = np.array([10.0] * 18 + before + [0, 0, 0] + behind + [10.0] * 19)
    pelvis[:, 0] = 0.001 * np.r_[0, np.cumsum(steps)]
    assert (frozen(motion_of(pose, pelvis, 30.0)) > 1).any() == told


@pytest.mark.parametrize("length", [1, 4, 12])
@pytest.mark.parametrize("goes_on", [False, True])
def test_repeated_frames_of_who_walks_on_are_told(goes_on: bool, length: int) -> None:
    """Whether the walk has gone on meanwhile or waits."""
    pose, pelvis = (part.copy() for part in walker(4.0, 30.0))
    if goes_on:
        pose[50 : 50 + length], pelvis[50 : 50 + length] = pose[49], pelvis[49]
    else:
        pose, pelvis = (np.insert(part, [50] * length, part[49], axis=0) for part in (pose, pelvis))
    found = frozen(motion_of(pose, pelvis, 30.0))
    assert (found[50 : 50 + length] > 1).all()
    assert not found[:50].any()
    assert not found[50 + length :].any()


def test_who_is_held_at_the_beginning_stays_there_and_is_told() -> None:
    pose, pelvis = walker(4.0, 30.0)
    pose[:20], pelvis[:20] = pose[20], pelvis[20]
    pose[60:66], pelvis[60:66] = pose[59], pelvis[59]
    motion = motion_of(pose, pelvis, 30.0)
    found = restore(motion)
    assert found.marked["frozen"][1:20].all()
    assert np.array_equal(found.motion.quat[:40], motion.quat[:40])
    assert np.array_equal(found.motion.pelvis[:40], motion.pelvis[:40])
    assert not np.array_equal(found.motion.quat[60:66], motion.quat[60:66])
    assert "the first frame" in why_left(found, "frozen")
    assert np.array_equal(np.flatnonzero(found.left["frozen"][why_left(found, "frozen")]), np.arange(1, 21))


def test_what_is_told_and_left_stands_in_the_report_with_its_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pose, pelvis = walker(2.5)
    pose[:20], pelvis[:20], pose[70, 17] = pose[20], pelvis[20], pose[70, 17] + [0, 1.0, 0]
    source = write_motion(tmp_path / "held.npz", pose, pelvis)
    with caplog.at_level("INFO"):
        clean([str(source), "--output", str(tmp_path / "out")])
    faults = json.loads((tmp_path / "out/held.npz.report.json").read_text())["people"][0]["faults"]
    (left,) = faults["frozen"]["left"]
    assert left["stretches"] == faults["frozen"]["stretches"] == [[1, 20]]
    assert "the first frame" in left["why"]
    assert faults["frozen"]["num_frames_moved"] == 0
    assert faults["pop"]["left"] == []
    assert "frozen (left, the report says why), pop" in caplog.text
