"""The floor, and what touches it."""

from __future__ import annotations

import math

import pytest
import torch

from pose_priors.body.motion_state import CONTACT_JOINTS
from pose_priors.datamodules.clips import Clip, make_clip, y_up_to_z_up
from pose_priors.datamodules.contacts import find_floor, label_contacts, steps
from pose_priors.datamodules.synthetic.motions import synthetic_motions


@pytest.fixture(scope="module")
def walks() -> list[Clip]:
    motions = [m for m in synthetic_motions(16, 30.0, 0) if m.kind == "walking"]
    return [make_clip(m.kind, *y_up_to_z_up(m.pose, m.pelvis), m.stature) for m in motions]


def column(name_index: int) -> int:
    return CONTACT_JOINTS.index(name_index)


def test_labels_are_those_of_a_loop_over_frames_and_joints(walks: list[Clip]) -> None:
    joints = walks[0].joints
    labels = label_contacts(joints)
    for frame in range(len(joints)):
        for at, joint in enumerate(CONTACT_JOINTS):
            here = joints[frame, joint]
            neighbours = [joints[other, joint] for other in (frame - 1, frame + 1) if 0 <= other < len(joints)]
            still = min(math.dist(here, other) for other in neighbours) < 0.005
            low = float(here[2]) < (0.04 if joint in (10, 11) else 0.08)
            assert bool(labels[frame, at]) == (still and low), (frame, joint)


def test_the_contacts_of_a_walk(walks: list[Clip]) -> None:
    assert len(walks) >= 4
    for clip in walks:
        left, right = clip.contacts[:, column(10)], clip.contacts[:, column(11)]
        assert (left | right).float().mean() > 0.9  # a walk has no flight
        assert not (left & right).all()
        for foot, joint in ((left, 10), (right, 11)):
            assert 0.4 < foot.float().mean() < 0.9  # stance is 60 % of a cycle, more where people stand or walk slowly
            moved = torch.diff(clip.joints[:, joint], dim=0).norm(dim=-1)
            both = foot[1:] & foot[:-1]
            assert moved[both].max() < 0.012
            assert moved[~foot[1:] & ~foot[:-1]].median() > 0.02
        assert not clip.contacts[:, [column(joint) for joint in (0, 4, 5, 20, 21)]].any()
        cycles = int((left[1:] & ~left[:-1]).sum())
        assert cycles <= 2.2 * len(clip) / 30  # labels do not flicker


def test_a_stance_counts_from_its_first_frame_to_its_last() -> None:
    joints = torch.full((30, 22, 3), 0.5)
    joints[:, 10, 2] = 0.02
    joints[:, 10, 0] = torch.cat([torch.arange(10) * 0.03, torch.full((10,), 0.3), 0.3 + torch.arange(1, 11) * 0.03])
    labels = label_contacts(joints)[:, column(10)]
    assert labels.nonzero()[:, 0].tolist() == list(range(10, 20))
    joints[:, 10, 2] = 0.05
    assert not label_contacts(joints)[:, column(10)].any()


def test_steps_are_the_smaller_of_two() -> None:
    joints = torch.zeros(4, 22, 3)
    joints[:, 3, 0] = torch.tensor([0.0, 1.0, 3.0, 3.5])
    assert steps(joints)[:, 3].tolist() == [1.0, 1.0, 0.5, 0.5]
    assert (steps(joints)[:, 4] == 0).all()


def test_the_floor_is_under_the_ball_that_stands() -> None:
    joints = torch.zeros(40, 22, 3)
    joints[:, 10, 2] = 0.32
    joints[:, 11] = torch.stack([torch.arange(40) * 0.04, torch.zeros(40), 0.4 + 0.1 * torch.sin(torch.arange(40.0))], 1)
    assert find_floor(joints, 0.02) == pytest.approx(0.30)
    joints[3, 10, 2] = 0.1  # one bad frame moves nothing
    assert find_floor(joints, 0.02) == pytest.approx(0.30)


def test_the_floor_of_feet_that_never_stand_is_below_the_lowest() -> None:
    at = torch.arange(200)
    joints = torch.zeros(200, 22, 3)
    joints[:, 10, 0] = joints[:, 11, 0] = at * 0.05
    joints[:, 10, 2], joints[:, 11, 2] = 0.2 + at / 1000, 0.9
    assert find_floor(joints, 0.02) == pytest.approx(0.18 + 0.05 * 0.199, abs=1e-6)
