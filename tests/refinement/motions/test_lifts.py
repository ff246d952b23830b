"""Who floats is told by gravity: what nothing holds falls, wherever the floor is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from walking_files import WALKER_FPS, walker

from pose_priors.body.builtin import rest_joints
from pose_priors.body.skeleton import MIRROR
from pose_priors.datamodules.clips import SMPL_STATURE
from pose_priors.refinement.motions.faults.falling import GRAVITY, fall, falls, mass_centre
from pose_priors.refinement.motions.faults.lifts import lifts
from pose_priors.refinement.motions.faults.support import find_support
from pose_priors.refinement.motions.motion import Motion, quat_of
from pose_priors.refinement.motions.restore import restore

REST = rest_joints(SMPL_STATURE)[:22].numpy()
UP = np.array([0, 0, 1.0])
UPRIGHT = Rotation.from_matrix(np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]]))
SOLE = 0.039 * SMPL_STATURE - REST[7, 1]  # of the pelvis above the floor, of who stands straight


def motion_of(pose: np.ndarray, pelvis: np.ndarray, fps: float = WALKER_FPS) -> Motion:
    return Motion(quat_of(pose[:, :22]), pelvis, REST, SMPL_STATURE, fps, np.ones(len(pose), dtype=bool))


def eased(time: np.ndarray, begin: float, seconds: float) -> np.ndarray:
    share = np.clip((time - begin) / seconds, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def standing(seconds: float, fps: float = WALKER_FPS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (T,), and who stands straight and lets their arms swing: (T, 22, 3) and (T, 3)."""
    time = np.arange(round(seconds * fps)) / fps
    pose = np.zeros((len(time), 22, 3))
    pose[:, 0] = UPRIGHT.as_rotvec()
    pose[:, 16, 2], pose[:, 17, 2] = -1.2, 1.2
    pose[:, [16, 17], 0] = 0.2 * np.sin(4 * time)[:, None] * [1, -1]
    return time, pose, np.repeat(SOLE * UP[None], len(time), 0)


def bent(pose: np.ndarray, lower: np.ndarray, legs: tuple[int, ...] = (1, 2)) -> None:
    """Bends the knees so that hips are lower above the soles by so many metres (T,)."""
    angle = np.arccos(1 - lower / (REST[1, 1] - REST[7, 1]))
    for hip in legs:
        pose[:, hip, 0] -= angle
        pose[:, hip + 3, 0] += 2 * angle
        pose[:, hip + 6, 0] -= angle


def leap(time: np.ndarray, pose: np.ndarray, pelvis: np.ndarray, start: float, high: float, speed: float, gravity: float = GRAVITY) -> None:
    """From a crouch off the floor by so many metres a second, to where it is higher by so many metres, and into a crouch."""
    crouch, still = 0.25, 0.4
    flight = (speed + (speed**2 - 2 * gravity * high) ** 0.5) / gravity
    push, land = 2 * crouch / speed, 2 * crouch / (gravity * flight - speed)
    begin = start + still
    away, down, up = begin + push, begin + push + flight, begin + push + flight + land
    height = np.select(
        [time < begin, time < away, time < down, time < up],
        [
            -crouch * eased(time, start, still),
            -crouch + crouch * ((time - begin) / push) ** 2,
            speed * (time - away) - gravity / 2 * (time - away) ** 2,
            high - crouch + crouch * ((up - time) / land) ** 2,
        ],
        high - crouch * (1 - eased(time, up, still)),
    )
    stands = np.where(time < (away + down) / 2, 0, high)
    bent(pose, np.where((time > away) & (time < down), 0, np.maximum(stands - height, 0)))
    pelvis[:, 2] += height


def told_and_moved(motion: Motion) -> tuple[np.ndarray, float]:
    found = restore(motion)
    return found.marked["floating"], float(np.abs(found.motion.pelvis - motion.pelvis).max())


def test_the_centre_of_mass_of_who_stands_is_at_55_percent_of_their_height() -> None:
    """As anthropometry has it, and amid left and right; limbs that are raised raise it by their share of the mass."""
    _, pose, pelvis = standing(0.1)
    pose[:, 16:18, 0] = 0
    centre = mass_centre(motion_of(pose, pelvis).joints)[0]
    assert 0.53 < centre[2] / SMPL_STATURE < 0.58
    # the body's left and right is the world's y here
    assert abs(centre[1]) < 0.003
    joints = motion_of(pose, pelvis).joints
    np.testing.assert_allclose(mass_centre(joints + UP)[0], centre + UP, atol=1e-12)
    mirrored = joints[:, [MIRROR[joint] for joint in range(22)]] * [1, -1, 1]
    np.testing.assert_allclose(mass_centre(mirrored)[0], centre * [1, -1, 1], atol=1e-12)
    raised = joints.copy()
    raised[:, [18, 20]] += UP  # elbow and wrist: forearm, hand, and the lower part of the upper arm
    assert mass_centre(raised)[0, 2] - centre[2] == pytest.approx(0.022 + 0.436 * 0.028, abs=1e-9)


@pytest.mark.parametrize("fps", [30.0, 60.0, 120.0])
@pytest.mark.parametrize("seconds", [0.2, 0.5])
def test_a_parabola_of_gravity_falls_and_a_lift_does_not(fps: float, seconds: float) -> None:
    time = np.arange(round(seconds * fps)) / fps
    thrown = 3 * time - GRAVITY / 2 * time**2
    assert fall(thrown, fps) == pytest.approx(1)
    assert falls(thrown, fps)
    for metres in (0.06, 0.3, -0.3):
        assert not falls(metres * eased(time, 0, seconds), fps)
    # speeds averaged with those of standing beside make no other one of it
    assert falls(np.concatenate([thrown[:1]] * 2 + [thrown] + [thrown[-1:]] * 2), fps)
    # what stops half-way has a half of a fall
    assert not falls(np.where(time < seconds / 2, thrown, thrown[len(time) // 2]), fps)


@pytest.mark.parametrize("above", [0.0, 2.0])
@pytest.mark.parametrize(("metres", "ramp_s"), [(0.1, 0.12), (0.2, 0.3), (0.28, 0.5)])
def test_who_is_lifted_anywhere_is_set_down(above: float, metres: float, ramp_s: float) -> None:
    """At 2 m, as climbers are, no floor tells it."""
    pose, pelvis = walker(5.0)
    time = np.arange(len(pose)) / WALKER_FPS
    share = eased(time, 1.5, ramp_s) - eased(time, 3.2 - ramp_s, ramp_s)
    truth = pelvis + above * UP
    motion = motion_of(pose, truth + metres * share[:, None] * UP)
    found = restore(motion)
    marked = found.marked["floating"]
    assert marked[share > 0.9].mean() > 0.95
    assert not marked[share == 0].any()
    before, after = (np.abs(path - truth)[:, 2].sum() for path in (motion.pelvis, found.motion.pelvis))
    assert after < 0.3 * before
    assert (found.moved["floating"] >= np.abs(found.motion.pelvis - motion.pelvis)[:, 2] - 1e-9).all()


@pytest.mark.parametrize("back", [0.0, 0.07])
def test_who_is_lifted_for_good_is_not_told_of_climbers(back: float) -> None:
    """A way up without one back by as much may be a floor that was found elsewhere."""
    pose, pelvis = walker(5.0)
    time = np.arange(len(pose)) / WALKER_FPS
    motion = motion_of(pose, pelvis + (2 + 0.2 * eased(time, 1.5, 0.3) - back * eased(time, 3.0, 0.3))[:, None] * UP)
    marked, moved = told_and_moved(motion)
    assert not marked.any()
    assert moved == 0


def test_who_is_up_for_a_moment_or_by_little_is_left_there() -> None:
    """Beside a lift that is told."""
    pose, pelvis = walker(7.0)
    time = np.arange(len(pose)) / WALKER_FPS
    told = 0.2 * (eased(time, 1.0, 0.3) - eased(time, 2.2, 0.3))
    moment = 0.2 * (eased(time, 3.2, 0.5) - eased(time, 3.9, 0.5))
    little = 0.055 * (eased(time, 5.0, 0.2) - eased(time, 6.0, 0.2))
    motion = motion_of(pose, pelvis + (2 + told + moment + little)[:, None] * UP)
    found = restore(motion)
    assert found.marked["floating"][told > 0.19].all()
    assert np.array_equal(found.motion.pelvis[time > 2.6], motion.pelvis[time > 2.6])


def test_who_sinks_and_rises_may_drop_and_climb() -> None:
    """Which is told by the floor alone."""
    pose, pelvis = walker(5.0)
    time = np.arange(len(pose)) / WALKER_FPS
    sunk = pelvis - 0.2 * (eased(time, 1.5, 0.3) - eased(time, 3.0, 0.3))[:, None] * UP
    assert told_and_moved(motion_of(pose, sunk))[0][(time > 1.9) & (time < 2.9)].all()
    marked, moved = told_and_moved(motion_of(pose, sunk + 2 * UP))
    assert not marked.any()
    assert moved == 0


def test_frames_that_were_made_up_lift_nobody() -> None:
    pose, pelvis = walker(4.0)
    time = np.arange(len(pose)) / WALKER_FPS
    motion = motion_of(pose, pelvis + (2 + 0.2 * (eased(time, 1.0, 0.3) - eased(time, 2.5, 0.3)))[:, None] * UP)
    doubted = (time > 0.9) & (time < 1.4)
    assert lifts(motion, find_support(motion, ~motion.known)).max() > 0.15
    assert not lifts(motion, find_support(motion, doubted)).any()


@pytest.mark.parametrize("above", [0.0, 2.0])
@pytest.mark.parametrize("seconds", [0.3, 0.45, 0.6])
def test_who_jumps_up_and_down_again_and_again_is_not_lifted(seconds: float, above: float) -> None:
    time, pose, pelvis = standing(6.0)
    pelvis[:, 2] += above
    for start in (0.3, 1.9, 3.5):
        leap(time, pose, pelvis, start, 0, GRAVITY * seconds / 2)
    marked, moved = told_and_moved(motion_of(pose, pelvis))
    assert not marked.any()
    assert moved < 1e-9


@pytest.mark.parametrize(("fps", "seconds", "lost_s"), [(30.0, 0.55, 0.03), (30.0, 0.55, 0.1), (60.0, 0.4, 0.07), (60.0, 0.45, 0.07)])
def test_a_leap_that_is_lost_at_its_height_is_not_a_lift(fps: float, seconds: float, lost_s: float) -> None:
    """What fills the gap stays up for a moment at speeds that nobody saw, and short halves of a leap do not tell that they fall."""
    time, pose, pelvis = standing(3.0, fps)
    speed = GRAVITY * seconds / 2
    leap(time, pose, pelvis, 0.5, 0, speed)
    height = 0.5 + 0.4 + 2 * 0.25 / speed + seconds / 2
    motion = replace(motion_of(pose, pelvis, fps), known=np.abs(time - height) > lost_s / 2 + 0.5 / fps)
    found = restore(motion)
    assert found.marked["missing"].any()
    assert not found.marked["floating"].any()
    assert np.abs(found.motion.pelvis - motion.pelvis)[motion.known].max() < 1e-9


def test_who_hops_too_slowly_is_not_lifted_between_two_hops() -> None:
    """As videos are estimated: up and down at once, by a quarter of gravity."""
    time, pose, pelvis = standing(6.0)
    pelvis[:, 2] += 2
    for start in (0.3, 2.6):
        leap(time, pose, pelvis, start, 0, 0.8, GRAVITY / 4)
    marked, moved = told_and_moved(motion_of(pose, pelvis))
    assert not marked.any()
    assert moved < 1e-9


@pytest.mark.parametrize(("above", "over"), [(0.0, 0.08), (2.0, 0.08), (2.0, 0.001)])
@pytest.mark.parametrize("high", [0.2, 0.4])
def test_who_leaps_onto_something_stands_there(high: float, above: float, over: float) -> None:
    """And leaps or drops down: the centre of mass falls all the way, which no lift does."""
    time, pose, pelvis = standing(6.0)
    pelvis[:, 2] += above
    leap(time, pose, pelvis, 0.5, high, (2 * GRAVITY * (high + over)) ** 0.5)
    leap(time, pose, pelvis, 3.0, -high, (2 * GRAVITY * max(over, 0.01)) ** 0.5)
    assert pelvis[time > 5.5, 2] == pytest.approx(SOLE + above)
    marked, moved = told_and_moved(motion_of(pose, pelvis))
    assert not marked.any()
    assert moved < 1e-9


def test_who_climbs_a_step_is_not_lifted() -> None:
    """One foot stands while the pelvis rises over the other."""
    time, pose, pelvis = standing(6.0)
    raised = 0.2 * eased(time, 1.6, 0.6)
    # the left knee brings its foot up by 20 cm, then straightens and lifts the body; the right foot is drawn up meanwhile
    bent(pose, 0.2 * eased(time, 1.0, 0.6) - raised, (1,))
    bent(pose, 0.3 * (eased(time, 1.8, 0.5) - eased(time, 2.3, 0.4)), (2,))
    pelvis[:, 2] += raised
    marked, _ = told_and_moved(motion_of(pose, pelvis))
    assert not marked.any()


@pytest.mark.parametrize("what", ["sits", "lies"])
def test_who_raises_all_limbs_where_something_else_carries_is_not_lifted(what: str) -> None:
    """On a chair, on the floor: hands and feet rise together, pelvis and head do not."""
    time, pose, pelvis = standing(6.0)
    raised = eased(time, 2.0, 0.4) - eased(time, 4.0, 0.4)
    if what == "sits":
        pose[:, [1, 2], 0], pose[:, [4, 5], 0] = -np.pi / 2, np.pi / 2
        pelvis[:, 2] = SOLE + REST[4, 1] - REST[1, 1]
        pose[:, [4, 5], 0] -= raised[:, None] * 0.9
    else:
        pose[:, 0] = (Rotation.from_euler("y", -90, degrees=True) * UPRIGHT).as_rotvec()
        pelvis[:, 2] = 0.12
        pose[:, [1, 2], 0] -= raised[:, None] * 0.8
    pose[:, 16, 1] -= raised * 0.9
    pose[:, 17, 1] += raised * 0.9
    marked, moved = told_and_moved(motion_of(pose, pelvis))
    assert not marked.any()
    assert moved < 1e-9


def test_who_pulls_themselves_up_is_not_lifted() -> None:
    """Hands stay at the bar while all else rises and sinks."""
    time, pose, pelvis = standing(6.0)
    bend = eased(time, 1.5, 0.6) - eased(time, 4.0, 0.6)
    pose[:, 16:18, 0] = 0
    pose[:, 16, 2], pose[:, 17, 2] = 1.4 - 1.2 * bend, -1.4 + 1.2 * bend
    pose[:, 18, 2], pose[:, 19, 2] = 1.4 * bend, -1.4 * bend
    hands = motion_of(pose, 0 * pelvis).joints[:, [20, 21]].mean(1)
    pelvis = 2.5 * UP - hands * UP
    assert np.ptp(pelvis[:, 2]) > 0.15
    marked, moved = told_and_moved(motion_of(pose, pelvis))
    assert not marked.any()
    assert moved < 1e-9


def test_who_stands_on_their_hands_is_not_lifted() -> None:
    """From lying on the belly, turned up about the hands, and back."""
    time, pose, pelvis = standing(6.0)
    pose[:, 16, 2], pose[:, 17, 2] = 1.4, -1.4
    reach = motion_of(pose, 0 * pelvis).joints[0, [20, 21]].mean(0)
    turned = Rotation.from_rotvec((np.pi / 2 * (1 + eased(time, 1.5, 0.8) - eased(time, 4.0, 0.8)))[:, None] * [0, 1.0, 0])
    pose[:, 0] = (turned * UPRIGHT).as_rotvec()
    marked, moved = told_and_moved(motion_of(pose, 0.1 * UP - turned.apply(reach)))
    assert not marked.any()
    assert moved < 1e-9
