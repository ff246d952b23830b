"""Feet that are held: one contact as it always was, several without jumps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pose_priors.body.motion_state import CONTACT_JOINTS, NUM_JOINTS
from pose_priors.body.skeleton import index_of
from pose_priors.priors.motion.flow.planting import held_feet

FRAMES, FOOT = 40, index_of("left_foot")
FASTEST = 0.3 / 7  # metres a frame: a foot that is moved by the most that it may be, over seven frames


def held(path: Tensor, touching: Tensor, free: Tensor | None = None) -> Tensor:
    """(T, 2) where a foot goes that was on a path (T, 2) over the floor, by the frames (T,) on which it touches, and may be moved."""
    joints = torch.zeros(1, len(path), NUM_JOINTS, 3, dtype=path.dtype)
    joints[0, :, FOOT, :2] = path
    contacts, hidden = torch.zeros(1, len(path), len(CONTACT_JOINTS)), torch.zeros(1, len(path), NUM_JOINTS, dtype=torch.bool)
    contacts[0, :, CONTACT_JOINTS.index(FOOT)] = touching.float()
    hidden[0, :, FOOT] = True if free is None else free
    return (joints + held_feet(joints, contacts, hidden))[0, :, FOOT, :2]


def straight(speed: float, frames: int = FRAMES) -> Tensor:
    return torch.stack([speed * torch.arange(frames), torch.zeros(frames)], 1).double()


def steps(path: Tensor) -> Tensor:
    return torch.linalg.vector_norm(path.diff(dim=0), dim=-1)


def test_one_contact_is_held_at_its_mean_place_and_comes_and_goes_in_seven_frames() -> None:
    path, touching = straight(0.03), torch.zeros(FRAMES, dtype=torch.bool)
    touching[14:22] = True
    right = path.clone()
    place = path[14:22].mean(0)
    right[14:22] = place
    for k in range(1, 7):
        right[14 - k] += (1 - k / 7) * (place - path[14])
        right[21 + k] += (1 - k / 7) * (place - path[21])
    torch.testing.assert_close(held(path, touching), right)


@pytest.mark.parametrize("between", [1, 2, 4, 7, 12])
def test_a_foot_goes_on_from_one_contact_to_the_next(between: int) -> None:
    path, touching = straight(0.03), torch.zeros(FRAMES, dtype=torch.bool)
    touching[5:15] = touching[15 + between : 25 + between] = True
    found = held(path, touching)
    assert steps(found).max() < steps(path).max() + 1.5 * FASTEST
    assert steps(found)[5:8].max() < 1e-9  # away from the other it is held


@pytest.mark.parametrize("frames_between", [1, 2, 5])
def test_a_contact_that_ends_before_frames_that_are_seen_lets_the_foot_get_there(frames_between: int) -> None:
    path, touching = straight(0.03), torch.zeros(FRAMES, dtype=torch.bool)
    touching[5:23] = True
    free = torch.arange(FRAMES) < 22 + frames_between
    found = held(path, touching, free)
    torch.testing.assert_close(found[~free], path[~free], rtol=0, atol=0)
    assert steps(found).max() < steps(path).max() + FASTEST + 1e-9


def test_no_foot_jumps_whatever_touches_and_is_seen() -> None:
    generator = torch.Generator().manual_seed(0)

    def runs(rate: float) -> Tensor:
        return torch.rand(FRAMES, generator=generator).cumsum(0).mul(rate).long() % 2 == 0

    for seed in range(200):
        path = (0.06 * torch.rand((), generator=generator) * torch.tensor([1.0, 0.3])).expand(FRAMES, 2).double()
        path = (path + 0.01 * torch.randn(FRAMES, 2, generator=generator)).cumsum(0)
        free = runs(0.3) if seed % 2 else None
        assert steps(held(path, runs(float(2 * torch.rand((), generator=generator))), free)).max() < steps(path).max() + 2 * FASTEST
