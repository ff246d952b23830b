"""The built-in motions: planted feet, smooth and possible movement, speeds and timing as in the literature, the same on every machine."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import roma
import torch

from pose_priors.body.builtin import ANKLE_HEIGHT, BALL_HEIGHT, rest_joints
from pose_priors.body.limits import limit_violations
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import PARENTS, index_of
from pose_priors.datamodules.synthetic.arms_ik import ARM_JOINTS, shoulders, wrists_to
from pose_priors.datamodules.synthetic.legs_ik import foot_angles, foot_rotations
from pose_priors.datamodules.synthetic.motion import Motion
from pose_priors.datamodules.synthetic.motions import SECONDS, synthetic_motions
from pose_priors.datamodules.synthetic.poses import within_limits
from pose_priors.datamodules.synthetic.reaching import Reach, effort_for, reaching
from pose_priors.datamodules.synthetic.sitting import HIPS_ABOVE_SEAT, Sit, sitting
from pose_priors.datamodules.synthetic.timing import pulse, ramp, wander
from pose_priors.datamodules.synthetic.turning import Turn, turning
from pose_priors.datamodules.synthetic.walking import Walk, cadence, walking

FPS, NUM = 30.0, 64
KINDS = ("walking", "turning", "reaching", "sitting")
BALLS, ANKLES, HIPS, KNEES, WRISTS = (
    [index_of(f"{side}_{joint}") for side in ("left", "right")] for joint in ("foot", "ankle", "hip", "knee", "wrist")
)
STEADY = Walk(speed=(1.3, 1.3), turn_deg=0.0, corner_deg=0.0, starts=False, stops=False, gesturing=False, vigour=1.0)
TURN = Turn(angle_deg=150.0, step_deg=40.0, step_s=0.55, begin_s=0.4)
SHELF = Reach(height=0.9, forward=0.22, left_deg=10.0, apart=0.0, knees=0.5, begin_s=0.3, out_s=1.0, there_s=0.5, back_s=1.0)
SIT = Sit(seat=0.26, shank_deg=12.0, lean_deg=40.0, sits_down=True, stands_up=True, begin_s=0.3, down_s=1.8, seated_s=0.8, up_s=1.8)


@cache
def clips() -> list[Motion]:
    return synthetic_motions(NUM, FPS, seed=11)


def world(motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """Joints (T, 22, 3) and their rotations in the world."""
    joints, rotations = forward_kinematics(motion.pose, rest_joints(motion.stature)[:22], PARENTS[:22])
    return (joints + motion.pelvis[:, None]).numpy(), rotations.numpy()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def frames(seconds: float) -> int:
    return round(seconds * FPS)


every_clip = pytest.mark.parametrize("kind", KINDS)


def of_kind(kind: str) -> list[Motion]:
    chosen = [motion for motion in clips() if motion.kind == kind]
    assert len(chosen) > 4
    return chosen


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


def test_threads_and_the_global_generator_do_not_matter() -> None:
    torch.manual_seed(0)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    try:
        one, two = [], []
        for number, made in ((1, one), (2, two)):
            torch.set_num_threads(number)
            made += synthetic_motions(9, 60.0, seed=3)
    finally:
        torch.set_num_threads(threads)
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


def headings(motion: Motion) -> np.ndarray:
    """(T,) where the pelvis points, in degrees to the left of z, unwrapped."""
    forward = world(motion)[1][:, 0, :, 2]
    return np.degrees(np.unwrap(np.arctan2(forward[:, 0], forward[:, 2])))


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


@pytest.mark.parametrize("height", [0.16, 0.5, 0.95])
@pytest.mark.parametrize("apart", [0.0, 0.08])
def test_reaching_hands_get_there(height: float, apart: float) -> None:
    plan = replace(SHELF, height=height, apart=apart, knees=0.7)
    for seed in range(2):
        motion = reaching(plan, frames(plan.seconds), FPS, 1.75, generator(seed))
        joints, _ = world(motion)
        effort, target = effort_for(plan, 1.75, int(torch.randint(2**62, (), generator=generator(seed))))
        there = slice(frames(plan.begin_s + plan.out_s) + 1, frames(plan.begin_s + plan.out_s + plan.there_s) - 1)
        hands = 2 if apart else 1
        error = np.linalg.norm(joints[there, WRISTS[:hands]] - target.numpy()[:hands], axis=-1)
        assert error.max() < 0.01
        assert (target - plan.target(1.75))[:hands].norm(dim=-1).max() < (0.12 if height < 0.3 else 0.06)
        assert (effort > 0.5) if height < 0.3 else (effort < 0.6)
        np.testing.assert_allclose(joints[0, WRISTS], joints[-1, WRISTS], atol=0.05)


def test_hands_move_with_the_least_jerk() -> None:
    """The speed has one peak, in the middle, 1.875 times its mean (Flash & Hogan, 1985)."""
    motion = reaching(SHELF, frames(SHELF.seconds), FPS, 1.75, generator())
    out = slice(frames(SHELF.begin_s), frames(SHELF.begin_s + SHELF.out_s) + 1)
    speed = np.linalg.norm(np.diff(world(motion)[0][out, WRISTS[0]], axis=0), axis=-1)
    assert speed.max() / speed.mean() == pytest.approx(1.875, rel=0.15)
    assert speed.argmax() / len(speed) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize(("seat", "stature"), [(0.24, 1.85), (0.28, 1.6)])
def test_sitting_reaches_the_seat(seat: float, stature: float) -> None:
    plan = replace(SIT, seat=seat)
    motion = sitting(plan, frames(plan.seconds) + 1, FPS, stature, generator())
    joints, _ = world(motion)
    hips = joints[:, HIPS, 1].mean(1)
    seated = slice(frames(plan.begin_s + plan.down_s), frames(plan.begin_s + plan.down_s + plan.seated_s))
    assert hips[seated] == pytest.approx((seat + HIPS_ABOVE_SEAT) * stature, abs=1e-3)
    assert hips.min() > (seat + HIPS_ABOVE_SEAT) * stature - 1e-3
    assert hips[[0, -1]] == pytest.approx(0.53 * stature, abs=0.03)
    knees = motion.pose[seated, KNEES[0], 0].rad2deg()
    assert ((knees > 60) & (knees < 115)).all()


def test_trunk_leans_before_the_body_leaves_the_seat() -> None:
    """Schenkman et al. (1990): the trunk is flexed most about when the body leaves the seat, and extends while it rises."""
    plan = replace(SIT, sits_down=False)
    motion = sitting(plan, frames(plan.seconds) + 1, FPS, 1.7, generator())
    joints, _ = world(motion)
    trunk = joints[:, index_of("neck")] - joints[:, 0]
    lean = np.degrees(np.arctan2(trunk[:, 2], trunk[:, 1]))
    hips = joints[:, HIPS, 1].mean(1)
    begin = frames(plan.begin_s + plan.seated_s)
    lifted = int((hips > hips[0] + 0.01).argmax())
    assert 0.25 < (lifted - begin) / frames(plan.up_s) < 0.5
    assert 0 <= (lean.argmax() - begin) / frames(plan.up_s) < 0.55
    assert lean.max() - lean[begin] > 20
    assert abs(lean[-1]) < 15


def test_ramps_and_pulses() -> None:
    at = torch.linspace(-1, 3, 401, dtype=torch.float64, requires_grad=True)
    value = ramp(at, 0.5, 1.5)
    (slope,) = torch.autograd.grad(value.sum(), at)
    assert value[0] == 0
    assert value[-1] == 1
    assert value[200].item() == pytest.approx(0.5)
    assert slope.max().item() == pytest.approx(1.875)
    # the quintic has the least jerk of all curves with these ends: a disturbance that keeps them adds to it
    s = np.linspace(0, 1, 2001)

    def jerk(curve: np.ndarray) -> float:
        return float((np.diff(curve, 3) ** 2).sum() * 2000**5)

    least = ramp(torch.from_numpy(s), 0, 1).numpy()
    assert jerk(least) == pytest.approx(720, rel=0.01)
    assert jerk(least + 0.02 * s**3 * (1 - s) ** 3) > jerk(least)
    bump = pulse(at.detach(), 0.0, 2.0)
    assert bump.max().item() == pytest.approx(1)
    assert bump[[0, -1]].abs().max() == 0
    noise = wander(generator(), 4000, 5.0, 3)
    assert noise.std(0).numpy() == pytest.approx([1, 1, 1], abs=0.12)
    assert noise.diff(dim=0).abs().max() < 1


def test_angles_of_a_foot_make_its_rotation() -> None:
    yaw, pitch = torch.meshgrid(torch.linspace(-3, 3, 9).double(), torch.linspace(-0.6, 1.5, 9).double(), indexing="ij")
    back = foot_angles(foot_rotations(yaw, pitch))
    torch.testing.assert_close(back, (yaw, pitch))


def test_wrists_go_to_places_within_reach_and_only_the_arms_move() -> None:
    drawn = generator(4)
    pose = within_limits(0.2 * torch.randn(200, 22, 3, generator=drawn, dtype=torch.float64))
    away = torch.nn.functional.normalize(torch.randn(200, 2, 3, generator=drawn, dtype=torch.float64), dim=-1)
    away[..., 2] = away[..., 2].abs()  # behind, the shoulder girdle would leave it
    distance = 0.3 + 0.15 * torch.rand(200, 2, 1, generator=drawn, dtype=torch.float64)
    target = shoulders(pose, 1.7) + distance * away
    moved = wrists_to(pose, 1.7, target, torch.zeros(200, 2, dtype=torch.float64))
    joints, _ = forward_kinematics(moved, rest_joints(1.7)[:22], PARENTS[:22])
    assert (joints[:, WRISTS] - target).norm(dim=-1).max() < 5e-3
    others = [joint for joint in range(22) if joint not in ARM_JOINTS]
    assert torch.equal(moved[:, others], pose[:, others])
    # elbows bend one way: left ones about -y, right ones about +y
    elbows = moved[:, [index_of("left_elbow"), index_of("right_elbow")], 1]
    assert (elbows[:, 0] < 0).all()
    assert (elbows[:, 1] > 0).all()
