"""The benchmark's tasks on the joints of one hand."""

from __future__ import annotations

import math

import pytest
import torch
from benchmark_cases import small_data

from pose_priors.benchmarks.priors.parts import hand_of, scored_parts
from pose_priors.benchmarks.priors.skeleton import Skeleton
from pose_priors.benchmarks.priors.tasks import TASKS, inverse_kinematics
from pose_priors.body.builtin import rest_fingertips, rest_joints
from pose_priors.body.model import forward_kinematics
from pose_priors.body.skeleton import FINGERS, JOINT_NAMES, PARENTS, PARTS, index_of

LEFT, RIGHT = PARTS["left_hand"], PARTS["right_hand"]


def test_fingertips_go_on_from_the_last_bone() -> None:
    rest, tips = rest_joints(), rest_fingertips()
    for hand, side in enumerate(("left", "right")):
        for number, finger in enumerate(FINGERS):
            first, last = (rest[index_of(f"{side}_{finger}{i}")] for i in (2, 3))
            tip = tips[5 * hand + number]
            along = torch.nn.functional.cosine_similarity(tip - last, last - first, dim=0)
            assert along > 1 - 1e-9
            assert 0.015 < (tip - last).norm() < 0.04
    # Drillis & Contini: the hand, from the wrist to the tip of the middle finger, is 0.108 of the stature long
    length = (tips[1] - rest[index_of("left_wrist")]).norm()
    assert float(length) == pytest.approx(0.108 * 1.70, rel=0.02)
    torch.testing.assert_close(rest_fingertips(0.85), tips / 2)


@pytest.mark.parametrize("hand", [LEFT, RIGHT])
def test_a_hand_is_seen_from_its_wrist_with_its_fingertips(hand: tuple[int, ...]) -> None:
    skeleton = Skeleton(small_data(hand, 4))
    wrist = PARENTS[hand[0]]
    assert skeleton.num_joints == 21
    assert len(skeleton.sight.ends) == 5
    generator = torch.Generator().manual_seed(0)
    pose = torch.zeros(3, 55, 3, dtype=torch.float64)
    pose[:, list(hand)] = 0.5 * torch.randn(3, 15, 3, generator=generator, dtype=torch.float64)
    points = skeleton.joints(pose)
    # by the whole body's kinematics, of which the wrist and what carries it do not turn
    whole, turned = forward_kinematics(pose, rest_joints(), PARENTS)
    torch.testing.assert_close(points[:, :16], whole[:, [wrist, *hand]] - whole[:, [wrist]])
    tips = rest_fingertips()[:5] if hand == LEFT else rest_fingertips()[5:]
    for number, last in enumerate(hand[2::3]):
        carried = whole[:, last] + (turned[:, last] @ (tips[number] - rest_joints()[last]))
        torch.testing.assert_close(points[:, 16 + number], carried - whole[:, wrist])
    # how the body stands changes nothing
    pose[:, :22] = 1.0
    torch.testing.assert_close(skeleton.joints(pose), points)


def test_what_hangs_on_a_finger_joint_ends_at_its_tip() -> None:
    skeleton = Skeleton(small_data(RIGHT, 4))
    below = skeleton.below([index_of("right_index2")])
    assert [point if point > 15 else JOINT_NAMES[RIGHT[point - 1]] for point in below] == ["right_index2", "right_index3", 16]
    pose, bent = torch.zeros(2, 55, 3, dtype=torch.float64)
    bent = bent.clone()
    bent[index_of("right_index3"), 1] = math.pi
    moved = (skeleton.joints(bent) - skeleton.joints(pose)).norm(dim=-1)
    assert moved[16] > 0.03
    assert float(moved.sum() - moved[16]) == 0


def test_parts_of_hands_and_of_bodies() -> None:
    assert hand_of(LEFT) == "left_hand"
    assert hand_of(RIGHT[3:5]) == "right_hand"
    assert hand_of((*LEFT, *RIGHT)) is None
    assert hand_of((21, *RIGHT)) is None
    parts = scored_parts(RIGHT)
    assert [len(part) for part in parts.values()] == [3, 3, 9, 5]
    assert all(set(part) < set(RIGHT) for part in parts.values())
    assert "thumb" not in scored_parts((*range(1, 22), *LEFT, *RIGHT))
    # of a thumb alone nothing is left to go by when it is hidden
    assert list(scored_parts(RIGHT[12:])) == ["last joints"]


def test_what_is_seen_of_a_hand() -> None:
    data = small_data(RIGHT, 4)
    skeleton, poses = Skeleton(data), data.test[:4]
    problems = inverse_kinematics.observed(poses, data.default_pose, skeleton)
    rows, numbers = torch.arange(4), {"all": 60, "half": 30, "5 joints": 15, "2D": 42}
    for name, count in numbers.items():
        # half of a chi-square's mean, as of noise that the likelihood knows
        assert float(problems[name].data_energy(poses, rows).mean()) == pytest.approx(count / 2, rel=0.45), name
    # at half a metre the picture of a hand is some 400 px long, and its noise 5
    bent = poses.clone()
    bent[:, RIGHT[0], 2] += 0.3
    assert (problems["2D"].data_energy(bent, rows) > problems["2D"].data_energy(poses, rows)).all()
    assert (problems["5 joints"].data_energy(bent, rows) > 20 + problems["5 joints"].data_energy(poses, rows)).all()


def test_denoising_of_hands_has_no_motions() -> None:
    data = small_data(RIGHT[:3], 3)
    tables = TASKS["denoising"]([], data)
    assert [table.key for table in tables] == ["denoising_rotations", "denoising_joints"]
    assert list(tables[1].rows["no prior"]) == ["2 mm", "5 mm", "10 mm"]
