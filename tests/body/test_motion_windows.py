"""Windows of motions: their states, and what a mirror makes of them."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from pose_priors.body.builtin import rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.motion import MotionWindows, posed_joints, select
from pose_priors.body.motion_state import CONTACT_JOINTS, FPS, NUM_JOINTS, STATE, joints_of, rotations
from pose_priors.body.skeleton import JOINT_NAMES, MIRROR, PARENTS

FIELDS = [field.name for field in dataclasses.fields(MotionWindows)]
SIDES = list(MIRROR[:NUM_JOINTS])
# the mirror: what it does to points, and to rotations and their rates
ACROSS = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))


def _windows(seed: int, size: int = 4, frames: int = 7) -> MotionWindows:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rest = rest_joints(1.7)[:NUM_JOINTS].double() * (1 + 0.1 * normal(size, 1, 1))
    return MotionWindows(
        normal(size, 1, NUM_JOINTS, 3) + 0.1 * normal(size, frames, NUM_JOINTS, 3).cumsum(1),
        normal(size, 1, 3) + 0.05 * normal(size, frames, 3).cumsum(1),
        rest - rest[:, :1],
        normal(size, frames, len(CONTACT_JOINTS)) > 0,
    )


@pytest.fixture
def windows() -> MotionWindows:
    return _windows(0)


def test_joints_hang_from_the_pelvis(windows: MotionWindows) -> None:
    joints = posed_joints(windows.pose, windows.pelvis, windows.rest[:, None])
    expected, _ = forward_kinematics(windows.pose, windows.rest[:, None] + 5.0, PARENTS[:NUM_JOINTS])
    torch.testing.assert_close(joints[..., 0, :], windows.pelvis, atol=1e-12, rtol=0)
    torch.testing.assert_close(joints - joints[..., :1, :], expected - expected[..., :1, :], atol=1e-12, rtol=0)


def test_states_leave_out_the_frames_at_the_ends(windows: MotionWindows) -> None:
    states = windows.states()
    assert states.shape == (4, 5, 339)
    joints = posed_joints(windows.pose, windows.pelvis, windows.rest[:, None])
    torch.testing.assert_close(joints_of(states), joints[:, 1:-1], atol=1e-12, rtol=0)
    velocity = (joints[:, 2:] - joints[:, :-2]) * FPS / 2
    torch.testing.assert_close(states[..., STATE["joints_vel"]].unflatten(-1, (-1, 3)), velocity, atol=1e-12, rtol=0)


def test_a_mirror_twice_changes_nothing(windows: MotionWindows) -> None:
    back = windows.mirrored().mirrored()
    for name in FIELDS:
        assert torch.equal(getattr(back, name), getattr(windows, name)), name


def test_the_mirrored_motion_is_where_the_reflected_points_are(windows: MotionWindows) -> None:
    """Every point reflected at x = 0 and called by the other side's name, every rotation R by F R F, its rate w by -F w."""
    states, mirrored = windows.states(), windows.mirrored().states()
    torch.testing.assert_close(joints_of(mirrored), joints_of(states)[..., SIDES, :] @ ACROSS, atol=1e-12, rtol=0)
    velocity, seen = (s[..., STATE["joints_vel"]].unflatten(-1, (-1, 3)) for s in (states, mirrored))
    torch.testing.assert_close(seen, velocity[..., SIDES, :] @ ACROSS, atol=1e-10, rtol=0)
    torch.testing.assert_close(rotations(mirrored), ACROSS @ rotations(states)[..., SIDES, :, :] @ ACROSS, atol=1e-12, rtol=0)
    rate = states[..., STATE["root_orient_vel"]]
    torch.testing.assert_close(mirrored[..., STATE["root_orient_vel"]], -rate @ ACROSS, atol=1e-10, rtol=0)
    torch.testing.assert_close(mirrored[..., STATE["trans_vel"]], states[..., STATE["trans_vel"]] @ ACROSS, atol=1e-10, rtol=0)


def test_a_mirror_swaps_what_touches(windows: MotionWindows) -> None:
    names = [JOINT_NAMES[joint] for joint in CONTACT_JOINTS]
    mirrored = windows.mirrored()
    for name in names:
        other = name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
        assert torch.equal(mirrored.contacts[..., names.index(name)], windows.contacts[..., names.index(other)])


def test_of_two_windows_the_one_asked_for(windows: MotionWindows) -> None:
    other = _windows(1)
    chosen = select(windows, other, torch.tensor([False, True, True, False]))
    assert len(chosen) == 4
    for name in FIELDS:
        for row, origin in enumerate((windows, other, other, windows)):
            assert torch.equal(getattr(chosen, name)[row], getattr(origin, name)[row])


def test_on_another_device_all_is_there(windows: MotionWindows) -> None:
    moved = windows.to("meta")
    assert {getattr(moved, name).device.type for name in FIELDS} == {"meta"}
    assert len(moved) == len(windows)
