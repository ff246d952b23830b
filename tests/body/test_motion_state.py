"""States of moving bodies against frame-by-frame references, on purpose at the identity, near pi and where a body lies on its side."""

from __future__ import annotations

import math

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.motion import posed_joints
from pose_priors.body.motion_state import (
    CHANGE,
    CHANGE_DIM,
    FPS,
    NUM_JOINTS,
    ROOT_OFFSET,
    STATE,
    STATE_DIM,
    apply_change,
    bones_of,
    change_between,
    heading,
    joints_of,
    make_states,
    rotations,
    to_local,
    to_world,
    unstretched,
    with_bones,
)
from pose_priors.body.skeleton import PARENTS

FRAMES = 6
REST = rest_joints(1.7)[:NUM_JOINTS].double() - rest_joints(1.7)[:1].double()


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _motion(seed: int = 0, batch: int = 3) -> tuple[Tensor, Tensor]:
    """Rotation vectors and joints of bodies that move at random, turned anyhow."""
    pose = _random(batch, 1, NUM_JOINTS, 3, seed=seed) + 0.1 * _random(batch, FRAMES, NUM_JOINTS, 3, seed=seed + 1).cumsum(1)
    pelvis = 2 * _random(batch, 1, 3, seed=seed + 2) + 0.05 * _random(batch, FRAMES, 3, seed=seed + 3).cumsum(1)
    return pose, posed_joints(pose, pelvis, REST)


def _states(seed: int = 0) -> Tensor:
    return make_states(*_motion(seed))


def _about_z(angle: float) -> Tensor:
    return torch.from_numpy(Rotation.from_rotvec([0, 0, angle]).as_matrix())


def _steps(states: Tensor) -> Tensor:
    return change_between(to_local(states[:-1], states[:-1]), to_local(states[1:], states[:-1]))


def test_the_parts_are_those_published() -> None:
    assert {name: where.stop - where.start for name, where in STATE.items()} == {
        "trans": 3, "trans_vel": 3, "root_orient": 9, "root_orient_vel": 3, "pose_body": 189, "joints": 66, "joints_vel": 66,
    }  # fmt: skip
    assert list(CHANGE) == list(STATE)
    assert (STATE_DIM, CHANGE_DIM) == (339, 207)


def test_states_frame_by_frame() -> None:
    pose, joints = _motion()
    states = make_states(pose, joints, fps=25.0).numpy()
    for b in range(len(pose)):
        for t in range(FRAMES):
            first, last = max(t - 1, 0), min(t + 1, FRAMES - 1)
            seconds = (last - first) / 25.0
            turned = [Rotation.from_rotvec(pose[b, i, 0].numpy()) for i in (first, t, last)]
            velocity = (joints[b, last] - joints[b, first]).numpy() / seconds
            expected = np.concatenate(
                [
                    joints[b, t, 0].numpy() - ROOT_OFFSET,
                    velocity[0],
                    turned[1].as_matrix().ravel(),
                    (turned[2] * turned[0].inv()).as_rotvec() / seconds,
                    *(Rotation.from_rotvec(pose[b, t, j].numpy()).as_matrix().ravel() for j in range(1, NUM_JOINTS)),
                    joints[b, t].numpy().ravel(),
                    velocity.ravel(),
                ]
            )
            np.testing.assert_allclose(states[b, t], expected, atol=1e-11, rtol=0)


def test_a_single_frame_stands_still() -> None:
    pose, joints = _motion()
    alone = make_states(pose[:, :1], joints[:, :1])
    moving = [name for name in STATE if name.endswith("_vel")]
    assert all(not alone[..., STATE[name]].any() for name in moving)
    rest = [name for name in STATE if name not in moving]
    assert all(torch.equal(alone[..., STATE[name]], make_states(pose, joints)[:, :1, STATE[name]]) for name in rest)


def test_a_turn_at_a_constant_rate_has_that_rate() -> None:
    rate = np.array([0.7, -1.9, 2.4])
    turns = Rotation.from_rotvec(np.arange(FRAMES)[:, None] / FPS * rate) * Rotation.from_rotvec([2.0, 1.0, -1.0])
    pose = torch.zeros(FRAMES, NUM_JOINTS, 3, dtype=torch.float64)
    pose[:, 0] = torch.from_numpy(turns.as_rotvec())
    states = make_states(pose, posed_joints(pose, torch.zeros(FRAMES, 3, dtype=torch.float64), REST))
    np.testing.assert_allclose(states[:, STATE["root_orient_vel"]], np.tile(rate, (FRAMES, 1)), atol=1e-11, rtol=0)


def test_a_turn_of_the_worlds_turns_the_root_alone() -> None:
    pose, joints = _motion()
    turn = roma.rotvec_to_rotmat(_random(3, seed=9))
    turned = pose.clone()
    turned[..., 0, :] = roma.rotmat_to_rotvec(turn @ roma.rotvec_to_rotmat(pose[..., 0, :]))
    torch.testing.assert_close(make_states(pose, joints, turn=turn), make_states(turned, joints), atol=1e-12, rtol=0)


def test_the_right_of_a_body_in_its_own_frame_is_x() -> None:
    states = _states()
    own = to_local(states, states)
    right = -rotations(own)[..., 0, :, 0]
    assert right[..., 0].min() > 0
    torch.testing.assert_close(right[..., 1], torch.zeros_like(right[..., 1]), atol=1e-12, rtol=0)
    torch.testing.assert_close(right[..., 2], -rotations(states)[..., 0, 2, 0], atol=1e-12, rtol=0)
    torch.testing.assert_close(own[..., :2], torch.zeros_like(own[..., :2]), atol=1e-12, rtol=0)
    torch.testing.assert_close(own[..., 2], states[..., 2], atol=0, rtol=0)
    pelvis = own.new_tensor(ROOT_OFFSET[:2]).expand_as(own[..., :2])
    torch.testing.assert_close(joints_of(own)[..., 0, :2], pelvis, atol=1e-12, rtol=0)
    assert torch.allclose(heading(own), torch.eye(3, dtype=torch.float64), atol=1e-12, rtol=1e-12)


def test_own_frames_only_turn_about_z_and_move_along_the_floor() -> None:
    """The slow way: every vector turned by the angle between the right and +x, every point about the pelvis's place on the floor."""
    states, frames = _states()[:, 1:], _states()[:, :-1]
    found = to_local(states, frames)
    offset = np.array([*ROOT_OFFSET[:2], 0.0])
    for b in range(states.shape[0]):
        for t in range(states.shape[1]):
            state, frame, own = states[b, t].numpy(), frames[b, t].numpy(), found[b, t].numpy()
            right = -frame[STATE["root_orient"]].reshape(3, 3)[:, 0]
            turn = Rotation.from_rotvec([0, 0, -math.atan2(right[1], right[0])])
            ground = frame[:3] * [1, 1, 0]
            np.testing.assert_allclose(own[:3], turn.apply(state[:3] - ground), atol=1e-12, rtol=1e-12)
            joints = turn.apply(state[STATE["joints"]].reshape(-1, 3) - ground - offset) + offset
            np.testing.assert_allclose(own[STATE["joints"]].reshape(-1, 3), joints, atol=1e-12, rtol=1e-12)
            for name in ("trans_vel", "root_orient_vel", "joints_vel"):
                np.testing.assert_allclose(
                    own[STATE[name]].reshape(-1, 3), turn.apply(state[STATE[name]].reshape(-1, 3)), atol=1e-12, rtol=1e-12
                )
            root = turn.as_matrix() @ state[STATE["root_orient"]].reshape(3, 3)
            np.testing.assert_allclose(own[STATE["root_orient"]].reshape(3, 3), root, atol=1e-12, rtol=1e-12)
            np.testing.assert_array_equal(own[STATE["pose_body"]], state[STATE["pose_body"]])


def test_to_world_undoes_to_local() -> None:
    states, frames = _states(), _states(20)
    torch.testing.assert_close(to_world(to_local(states, frames), frames), states, atol=1e-11, rtol=0)
    torch.testing.assert_close(to_local(to_world(states, frames), frames), states, atol=1e-11, rtol=0)


@pytest.mark.parametrize("angle", [0.3, math.pi / 2, math.pi, -2.0])
def test_where_on_the_floor_and_which_way_round_does_not_matter(angle: float) -> None:
    pose, joints = _motion()
    turn = _about_z(angle)
    elsewhere = pose.clone()
    elsewhere[..., 0, :] = roma.rotmat_to_rotvec(turn @ roma.rotvec_to_rotmat(pose[..., 0, :]))
    moved = joints @ turn.T + joints.new_tensor([3.0, -7.0, 0.0])
    here, there = make_states(pose, joints), make_states(elsewhere, moved)
    seen = [to_local(states[:, 1:], states[:, :-1]) for states in (here, there)]
    torch.testing.assert_close(seen[0], seen[1], atol=1e-11, rtol=0)
    assert (to_local(make_states(pose, joints + 0.1), here) - to_local(here, here)).abs().max() > 0.05


def test_a_body_on_its_side_is_not_turned() -> None:
    """Its right points straight up or down: there is no heading, and no NaN, neither in the frame nor in the gradient."""
    lying = _states()[0, :1].clone()
    lying[:, STATE["root_orient"]] = torch.from_numpy(Rotation.from_rotvec([0, math.pi / 2, 0]).as_matrix().ravel())
    lying.requires_grad_()
    torch.testing.assert_close(heading(lying)[0], torch.eye(3, dtype=torch.float64))
    to_local(lying, lying).square().sum().backward()
    assert torch.isfinite(lying.grad).all()


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-7, 1e-3, 1.0, math.pi - 1e-3, math.pi - 1e-6])
def test_a_change_is_found_again(angle: float) -> None:
    before = _states()
    change = _random(*before.shape[:-1], CHANGE_DIM, seed=5)
    for name in ("root_orient", "pose_body"):
        turns = change[..., CHANGE[name]].unflatten(-1, (-1, 3))
        change[..., CHANGE[name]] = (angle * torch.nn.functional.normalize(turns, dim=-1)).flatten(-2)
    after = apply_change(before, change)
    torch.testing.assert_close(change_between(before, after), change, atol=1e-9 if angle < 3 else 1e-8, rtol=0)


def test_a_change_of_half_a_turn_leads_where_it_should() -> None:
    before = _states()
    change = torch.zeros(*before.shape[:-1], CHANGE_DIM, dtype=torch.float64)
    change[..., CHANGE["pose_body"]] = math.pi * torch.nn.functional.normalize(torch.ones(21, 3).double(), dim=-1).flatten()
    after = apply_change(before, change)
    torch.testing.assert_close(apply_change(before, change_between(before, after)), after, atol=1e-7, rtol=0)


def test_a_change_turns_from_the_left() -> None:
    before, change = _states()[0, 0], _random(CHANGE_DIM, seed=6)
    after = apply_change(before, change)
    for name in ("root_orient", "pose_body"):
        turn = Rotation.from_rotvec(change[CHANGE[name]].reshape(-1, 3).numpy()).as_matrix()
        np.testing.assert_allclose(
            after[STATE[name]].reshape(-1, 3, 3), turn @ before[STATE[name]].reshape(-1, 3, 3).numpy(), atol=1e-12, rtol=1e-12
        )
    torch.testing.assert_close(after[STATE["joints"]], before[STATE["joints"]] + change[CHANGE["joints"]])


def test_any_two_states_lead_to_each_other() -> None:
    before, after = _states(), _states(30)
    torch.testing.assert_close(apply_change(before, change_between(before, after)), after, atol=1e-9, rtol=0)


def test_gradients_of_a_body_that_stands_still_without_a_pose() -> None:
    """All rotations the identity, all frames the same: rotation vectors of products of rotations at zero."""
    pose = torch.zeros(3, NUM_JOINTS, 3, dtype=torch.float64, requires_grad=True)
    pelvis = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)

    def changes(pose: Tensor, pelvis: Tensor) -> Tensor:
        states = make_states(pose, posed_joints(pose, pelvis, REST))
        return torch.cat([states.flatten(), _steps(states).flatten()])

    assert torch.autograd.gradcheck(changes, (pose, pelvis), fast_mode=True)


def test_gradients_of_identical_frames_and_of_moving_ones() -> None:
    pose, joints = _motion()
    still = pose[0, :1].repeat(3, 1, 1)
    for given in (still, pose[0, :3]):
        rotvec = given.clone().requires_grad_()
        points = joints[0, :3].clone().requires_grad_()

        def changes(rotvec: Tensor, points: Tensor) -> Tensor:
            states = make_states(rotvec, points)
            return torch.cat([states.flatten(), _steps(states).flatten()])

        assert torch.autograd.gradcheck(changes, (rotvec, points), fast_mode=True)


def test_gradients_of_single_precision_frames_that_are_the_same() -> None:
    rotvec = _motion()[0][0, :1].repeat(4, 1, 1).float().requires_grad_()
    points = torch.zeros(4, NUM_JOINTS, 3)
    make_states(rotvec, points).square().sum().backward()
    assert torch.isfinite(rotvec.grad).all()


def test_bones_are_those_of_the_skeleton_at_rest() -> None:
    states = _states()
    at_rest = torch.stack([REST[j] - REST[PARENTS[j]] for j in range(1, NUM_JOINTS)])
    torch.testing.assert_close(bones_of(states), at_rest.expand(*states.shape[:-1], -1, -1), atol=1e-12, rtol=0)


def test_with_bones_of_its_own_a_state_stays_what_it_is() -> None:
    states = _states()
    torch.testing.assert_close(with_bones(states, bones_of(states)), states, atol=1e-12, rtol=0)
    stretched = states.clone()
    stretched[..., STATE["joints"]] += 0.1 * _random(*states.shape[:-1], 66, seed=7)
    torch.testing.assert_close(with_bones(stretched, bones_of(stretched)), stretched, atol=1e-12, rtol=0)
    pelvis = joints_of(stretched)[..., :1, :]
    joints = joints_of(with_bones(stretched, bones_of(states)))
    torch.testing.assert_close(joints, joints_of(states) - joints_of(states)[..., :1, :] + pelvis, atol=1e-12, rtol=0)


def test_unstretched_states_move_across_their_bones_alone() -> None:
    state = _states()
    kept = unstretched(state)
    before_velocities = slice(0, STATE["joints_vel"].start)
    torch.testing.assert_close(kept[..., before_velocities], state[..., before_velocities], atol=0, rtol=0)
    joints = joints_of(state)
    old, new = (s[..., STATE["joints_vel"]].unflatten(-1, (NUM_JOINTS, 3)) for s in (state, kept))
    torch.testing.assert_close(new[..., 0, :], old[..., 0, :], atol=1e-12, rtol=0)
    for joint in range(1, NUM_JOINTS):
        bone = joints[..., joint, :] - joints[..., PARENTS[joint], :]
        was, now = (v[..., joint, :] - v[..., PARENTS[joint], :] for v in (old, new))
        assert (now * bone).sum(-1).abs().max() < 1e-12
        torch.testing.assert_close(torch.linalg.cross(now, bone), torch.linalg.cross(was, bone), atol=1e-12, rtol=0)
    torch.testing.assert_close(unstretched(kept), kept, atol=1e-12, rtol=0)
