"""What the prior of clips sees of motions, how bodies are put together again, and how windows are."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import roma
import torch
from flow_cases import FRAMES, some_states
from motion_windows import smooth_windows

from pose_priors.body.model import chained
from pose_priors.body.motion_state import CONTACT_JOINTS, joints_of
from pose_priors.body.skeleton import PARENTS
from pose_priors.priors.motion.flow.corruption import corrupt
from pose_priors.priors.motion.flow.overlap import joined, window_starts
from pose_priors.priors.motion.flow.planting import held_feet
from pose_priors.priors.motion.flow.skeleton_fit import fit_held, fit_skeleton
from pose_priors.priors.motion.flow.skeletons import bones_of_rest, measured_bones
from pose_priors.priors.motion.flow.view import (
    GROUP_OF,
    JOINT_OF_GROUP,
    NUM_FEATURES,
    PATH,
    PLACES,
    Motion,
    Noise,
    exact,
    find_reference,
    from_features,
    local_path,
    mean_of_groups,
    motion_of_states,
    motion_of_windows,
    noise_of_groups,
    to_features,
    world_path,
)


def turned(motion: Motion, angle: float) -> Motion:
    turn = roma.rotvec_to_rotmat(torch.tensor([0, 0, angle], dtype=torch.float64))
    rotations = motion.rotations.clone()
    rotations[..., 0, :, :] = turn @ rotations[..., 0, :, :]
    return Motion(rotations, motion.joints @ turn.T + torch.tensor([5.0, -3.0, 0.0], dtype=torch.float64), motion.contacts)


def test_features_come_back_as_motions() -> None:
    motion = motion_of_windows(smooth_windows(3, FRAMES))
    reference = find_reference(motion, exact(motion))
    back = from_features(to_features(motion, reference), reference)
    for one, other in ((back.rotations, motion.rotations), (back.joints, motion.joints), (back.contacts, motion.contacts)):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("root", [True, False])
def test_a_turned_world_is_seen_the_same(root: bool) -> None:
    motion = motion_of_windows(smooth_windows(3, FRAMES))
    noise = exact(motion)
    noise.joints[0, 3:8] = torch.inf
    noise.rotations[0, 3:8] = torch.inf
    if not root:
        noise.rotations[:] = torch.inf
    x, y = (to_features(m, find_reference(m, noise)) for m in (motion, turned(motion, 2.0)))
    torch.testing.assert_close(x[..., PATH.stop :], y[..., PATH.stop :], rtol=0, atol=1e-9)
    paths = (local_path(f[..., PATH], find_reference(m, noise)) for f, m in ((x, motion), (y, turned(motion, 2.0))))
    torch.testing.assert_close(*paths, rtol=0, atol=1e-9)


def test_headings_are_those_of_hips_and_shoulders_where_no_rotation_is_seen() -> None:
    motion = motion_of_states(some_states(2))
    noise = exact(motion)
    by_root = find_reference(motion, noise).turn
    noise.rotations[:] = torch.inf
    by_sides = find_reference(Motion(torch.full_like(motion.rotations, torch.nan), motion.joints), noise).turn
    apart = roma.rotmat_geodesic_distance(by_root, by_sides)
    assert apart.max() < math.radians(25)


def test_without_anything_the_reference_is_the_worlds() -> None:
    motion = motion_of_states(some_states(1))
    nothing = torch.full((1, FRAMES, 22), torch.inf, dtype=torch.float64)
    reference = find_reference(motion, Noise.of(nothing, nothing))
    torch.testing.assert_close(reference.turn, torch.eye(3, dtype=torch.float64).expand(1, FRAMES, 3, 3))
    assert not reference.origin.any()


def test_paths_turn_and_come_back() -> None:
    motion = motion_of_states(some_states(1))
    reference = find_reference(motion, exact(motion))
    path = torch.randn(1, FRAMES, 2, dtype=torch.float64)
    torch.testing.assert_close(local_path(world_path(path, reference), reference), path)
    right = -motion.rotations[..., 0, :2, 0]
    assert (local_path(right, reference)[..., 0] > 0.8).all()


def test_the_pelvis_is_in_the_noise_of_places_and_the_path_is_not() -> None:
    of_joints = torch.zeros(1, FRAMES, 22)
    of_joints[..., 0], of_joints[..., 5] = 0.03, 0.04
    noise = Noise.of(torch.zeros(1, FRAMES, 22), of_joints)
    noise.path[:] = torch.inf
    found = noise_of_groups(noise)[0, 0]
    assert found[:2].isinf().all()
    of_joint = {int(j): float(value) for j, value in zip(JOINT_OF_GROUP[24:-1], found[24:-1], strict=True)}
    assert of_joint[5] == pytest.approx(0.05)
    assert of_joint[4] == pytest.approx(0.03)
    assert mean_of_groups(torch.arange(NUM_FEATURES).float())[0] == 0.5
    assert len(GROUP_OF) == NUM_FEATURES
    assert PLACES.stop - PLACES.start == 63


def test_bodies_are_fitted_to_joints_and_to_rotations() -> None:
    windows = smooth_windows(1, FRAMES)
    motion, bones = motion_of_windows(windows), bones_of_rest(windows.rest)[0]
    joints, rotations = motion.joints[0], motion.rotations[0]
    noise = 0.1 * torch.randn(FRAMES, 22, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    off = rotations @ roma.rotvec_to_rotmat(noise)
    std = torch.full((FRAMES, 22), 0.1, dtype=torch.float64)
    by_joints, places = fit_skeleton(off, joints, std, std / 1000, bones.expand_as(joints))
    assert (places - joints).norm(dim=-1).max() < 1e-3
    again, _ = chained(by_joints, torch.cat([joints[:, :1], bones[1:].expand(FRAMES, -1, -1)], 1), PARENTS[:22])
    torch.testing.assert_close(again, places)
    by_rotations, _ = fit_skeleton(off, joints, std / 100, 1000 * std, bones.expand_as(joints))
    assert roma.rotmat_geodesic_distance(by_rotations, off).max() < 1e-3


def test_bodies_that_are_far_from_where_they_go_take_more_steps() -> None:
    windows = smooth_windows(1, FRAMES)
    motion, bones = motion_of_windows(windows), bones_of_rest(windows.rest)[0]
    joints = motion.joints[0]
    off = torch.randn(FRAMES, 22, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = motion.rotations[0] @ roma.rotvec_to_rotmat(0.9 * off / off.norm(dim=-1, keepdim=True))
    std = torch.ones(FRAMES, 22, dtype=torch.float64)
    few, many = (fit_skeleton(start, joints, std, std / 2000, bones.expand_as(joints), rounds=rounds)[1] for rounds in (1, 4))
    before, after = ((places - joints).norm(dim=-1).amax(-1) > 0.005 for places in (few, many))
    assert before.sum() > 3 * after.sum()


def test_bones_are_measured() -> None:
    windows = smooth_windows(2, FRAMES)
    motion, known = motion_of_windows(windows), bones_of_rest(windows.rest)
    torch.testing.assert_close(measured_bones(motion, exact(motion), windows.rest[0]), known, rtol=0, atol=1e-9)
    larger = Motion(motion.rotations, 1.3 * motion.joints)
    legs = exact(motion)
    legs.rotations[..., [1, 2, 4, 5, 7, 8]] = torch.inf
    legs.joints[..., [4, 5, 7, 8, 10, 11]] = torch.inf
    found = measured_bones(larger, legs, windows.rest[0])
    shown = [joint for joint in range(22) if joint not in (4, 5, 7, 8, 10, 11)]
    torch.testing.assert_close(found[:, shown], 1.3 * known[:, shown], rtol=0, atol=1e-9)
    torch.testing.assert_close(found, 1.3 * known, rtol=0, atol=1e-3)  # hidden ones as long as others are, but for what is believed of them


@pytest.mark.parametrize("num_frames", [24, 25, 60, 61])
def test_windows_cover_everything_and_join_what_they_cut(num_frames: int) -> None:
    starts = window_starts(num_frames, 24)
    assert starts[0] == 0
    assert starts[-1] + 24 == num_frames
    assert all(later - earlier <= 12 for earlier, later in pairwise(starts))
    values = torch.randn(2, num_frames, 3, dtype=torch.float64)
    pieces = torch.cat([values[:, first : first + 24] for first in starts])
    torch.testing.assert_close(joined(pieces, starts, num_frames), values)


def test_where_windows_disagree_nothing_jumps() -> None:
    starts = window_starts(60, 24)
    pieces = torch.cat([torch.full((1, 24, 1), float(number)) for number in range(len(starts))])
    assert torch.diff(joined(pieces, starts, 60), dim=1).abs().max() < 1.2 / 11


def test_feet_that_touch_are_held_by_their_legs() -> None:
    states = some_states(1)
    motion = motion_of_states(states)
    joints, hidden = joints_of(states), torch.zeros(1, FRAMES, 22, dtype=torch.bool)
    hidden[:, 6:18] = True
    contacts = torch.zeros(1, FRAMES, 9)
    column = CONTACT_JOINTS.index(7)
    contacts[:, 8:14, column] = 1
    slow = joints[0, 8, 7] + 0.01 * torch.arange(-8, FRAMES - 8)[:, None] * torch.tensor([1.0, 0, 0], dtype=torch.float64)
    slow[:, 2] = joints[0, :, 7, 2]
    sliding = joints.clone()
    sliding[0, :, 7] = slow
    change = held_feet(sliding, contacts, hidden)
    held = (sliding + change)[0, :, 7]
    assert torch.diff(held[8:14, :2], dim=0).abs().max() < 1e-9
    assert torch.diff(held[5:19, :2], dim=0).norm(dim=-1).max() < 0.03
    assert not change[~hidden].any()
    assert not change[..., 2].any()
    bones = measured_bones(motion, exact(motion), joints[0, 0] - joints[0, 0, :1])
    wanted = change.clamp(-0.02, 0.02)
    rotations, places = fit_held(motion.rotations, joints, wanted, bones)
    moved = wanted.any(-1)
    assert (places - joints - wanted)[moved].norm(dim=-1).max() < 3e-3
    still = [joint for joint in range(22) if joint not in (1, 2, 4, 5, 7, 8, 10, 11)]
    assert (places - joints)[:, :, still].norm(dim=-1).max() < 2e-3
    assert roma.rotmat_geodesic_distance(rotations, motion.rotations)[:, :6].max() < 1e-6


def test_legs_that_are_straight_are_never_farther_from_what_is_wanted_than_before() -> None:
    """A linear model of a straight leg overshoots: the knee would turn over for a frame."""
    generator = torch.Generator().manual_seed(3)
    rest = smooth_windows(1, 1).rest[0]
    bones, count = bones_of_rest(rest), 200
    rotations = roma.rotvec_to_rotmat(0.02 * torch.randn(1, count, 22, 3, generator=generator, dtype=torch.float64))
    offsets = torch.cat([torch.zeros(count, 1, 3, dtype=torch.float64), bones[1:].expand(count, -1, -1)], 1)
    joints = chained(rotations[0], offsets, PARENTS[:22])[0][None]
    change = torch.zeros_like(joints)
    change[..., [7, 10], :] = 0.1 * torch.randn(1, count, 1, 3, generator=generator, dtype=torch.float64)
    _, places = fit_held(rotations, joints, change, bones[None])
    # the ankle and the ball are wanted to a millimetre, all else to a decimetre
    moved = change.any(-1)
    left = torch.where(moved, (places - joints - change).norm(dim=-1) / 1e-3, (places - joints).norm(dim=-1) / 0.1).square().sum(-1)
    before = (change.norm(dim=-1) / 1e-3).square().sum(-1)
    assert (left <= 1.001 * before).all()
    assert (left < 0.9 * before).double().mean() > 0.5


def test_training_hides_all_kinds_of_parts() -> None:
    motion = motion_of_windows(smooth_windows(400, FRAMES))
    part = corrupt(motion, torch.Generator().manual_seed(0))
    again = corrupt(motion, torch.Generator().manual_seed(0))
    torch.testing.assert_close(part.motion.joints, again.motion.joints, rtol=0, atol=0)
    of_joints, of_rotations = part.noise.joints, part.noise.rotations
    hidden = of_joints.isinf() & of_rotations.isinf()
    assert 0.05 < float((of_joints == 0).flatten(1).all(1).float().mean()) < 0.3
    frames = hidden.all(-1)
    assert ((frames.any(1)) & ~frames.all(1)).float().mean() > 0.15
    limbs = hidden.all(1).any(1) & ~hidden.all(1).all(1)
    assert limbs.float().mean() > 0.1
    apart = (part.motion.joints - motion.joints)[of_joints.isfinite() & (of_joints > 0)]
    told = of_joints[of_joints.isfinite() & (of_joints > 0)]
    assert float((apart / told[:, None]).square().mean()) == pytest.approx(1, rel=0.05)
    torch.testing.assert_close(part.motion.joints[of_joints == 0], motion.joints[of_joints == 0], rtol=0, atol=0)
    assert part.level.isfinite().float().mean() > 0.25
