"""Which joints a joint's density looks at, on trees and on data where the answer is known."""

from __future__ import annotations

import pytest
import torch
from prior_cases import make_poses
from torch import Tensor

from pose_priors.body.skeleton import PARENTS, index_of
from pose_priors.priors.conditioning.context import NO_JOINT, ContextKind, choose_context, generation_order, max_context

BODY = tuple(range(1, 22))


def _names(table: Tensor, joints: tuple[int, ...], joint: str) -> list[int]:
    return [joints[i] for i in table[joints.index(index_of(joint))].tolist() if i != NO_JOINT]


def test_parent_is_the_nearest_learnt_joint_up_the_tree() -> None:
    joints = tuple(index_of(n) for n in ("left_hip", "left_foot", "spine3", "left_shoulder", "left_wrist"))
    table = choose_context("parent", joints, 8, make_poses(50)[:, list(joints)])
    assert table.shape == (5, 1)
    assert _names(table, joints, "left_foot") == [index_of("left_hip")]
    assert _names(table, joints, "left_wrist") == [index_of("left_shoulder")]
    assert _names(table, joints, "left_shoulder") == [index_of("spine3")]
    assert _names(table, joints, "left_hip") == _names(table, joints, "spine3") == []


def test_ancestors_are_all_of_them_nearest_first() -> None:
    table = choose_context("ancestors", BODY, 8, make_poses(50)[:, list(BODY)])
    chain = ["left_elbow", "left_shoulder", "left_collar", "spine3", "spine2", "spine1"]
    assert _names(table, BODY, "left_wrist") == [index_of(n) for n in chain]
    assert _names(table, BODY, "left_knee") == [index_of("left_hip")]


@pytest.mark.parametrize("kind", ["parent", "ancestors", "correlated"])
@pytest.mark.parametrize("joints", [(5,), (1, 2), BODY, tuple(range(55))], ids=["one", "two", "body", "all"])
@pytest.mark.parametrize("num_context", [1, 3])
def test_contexts_are_earlier_distinct_and_lead_with_the_parent(kind: ContextKind, joints: tuple[int, ...], num_context: int) -> None:
    table = choose_context(kind, joints, num_context, make_poses(100)[:, list(joints)])
    assert table.shape == (len(joints), max_context(kind, joints, num_context))
    for row, chosen in enumerate(table.tolist()):
        given = [i for i in chosen if i != NO_JOINT]
        assert chosen == given + [NO_JOINT] * (len(chosen) - len(given))
        assert len(set(given)) == len(given)
        assert all(0 <= i < row for i in given)
        up = PARENTS[joints[row]]
        while up >= 0 and up not in joints:
            up = PARENTS[up]
        assert (given[:1] == [joints.index(up)]) if up >= 0 else (kind == "correlated" or not given)
        if kind == "correlated":
            assert len(given) == min(num_context, row) or (up >= 0 and num_context == 1)


def test_correlated_picks_the_joint_that_informs_and_not_its_echo() -> None:
    """The wrist moves with one hip and with the neck; the other hip only repeats the first, so it comes last."""
    generator = torch.Generator().manual_seed(0)
    rotvec = 0.3 * torch.randn(4000, len(BODY), 3, generator=generator)
    at = {name: BODY.index(index_of(name)) for name in ("left_hip", "right_hip", "neck", "left_wrist", "left_elbow")}
    rotvec[:, at["right_hip"]] = rotvec[:, at["left_hip"]] + 0.05 * torch.randn(4000, 3, generator=generator)
    rotvec[:, at["left_wrist"]] = (
        2 * rotvec[:, at["left_hip"]].flip(-1) + rotvec[:, at["neck"]] + 0.1 * torch.randn(4000, 3, generator=generator)
    )
    table = choose_context("correlated", BODY, 3, rotvec)
    assert table[at["left_wrist"]].tolist() == [at["left_elbow"], at["left_hip"], at["neck"]]


def test_correlated_copes_with_joints_of_one_axis_and_with_constant_ones() -> None:
    joints = (1, 4, 16, 18, 22, 23)
    table = choose_context("correlated", joints, 3, make_poses(200)[:, list(joints)])
    assert (table[3:] != NO_JOINT).all()


def test_generation_order_has_every_context_before_its_joint() -> None:
    joints = tuple(range(55))
    for kind in ("parent", "ancestors", "correlated"):
        table = choose_context(kind, joints, 4, make_poses(100))
        rounds = generation_order(table)
        assert sorted(j for joints_of_round in rounds for j in joints_of_round) == list(range(55))
        known: set[int] = set()
        for joints_of_round in rounds:
            assert all(i in known for j in joints_of_round for i in table[j].tolist() if i != NO_JOINT)
            known |= set(joints_of_round)
    depths = [0] * 55
    for joint in range(1, 55):
        depths[joint] = depths[PARENTS[joint]] + 1
    rounds = generation_order(choose_context("parent", joints, 4, make_poses(10)))
    assert rounds == [[j for j in range(55) if depths[j] == d] for d in range(max(depths) + 1)]
