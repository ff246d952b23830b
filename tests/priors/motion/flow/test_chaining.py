"""Motions of several windows: what a batch changes, which is nothing, and how windows go on where nothing is seen."""

from __future__ import annotations

import pytest
import torch
from flow_cases import FRAMES, small_prior, some_states

from pose_priors.body.motion_state import STATE_DIM, joints_of
from pose_priors.body.skeleton import index_of
from pose_priors.priors import load_prior
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.skeletons import bones_of_rest

LONG = 3 * FRAMES


@pytest.fixture(scope="module")
def prior() -> MotionFlow:
    return small_prior()


def test_a_batch_gives_each_motion_what_it_gets_alone(prior: MotionFlow) -> None:
    states = some_states(4, LONG)
    given = torch.ones(4, LONG, 22, dtype=torch.bool)
    given[0, 20:60, [index_of(f"left_{part}") for part in ("shoulder", "elbow", "wrist")]] = False
    given[1, 10:60] = False  # whole windows see nothing
    given[2, 30:40] = False
    given[3] = False
    together = prior.complete(states, given)
    for row in range(4):
        torch.testing.assert_close(together[row], prior.complete(states[row], given[row]), rtol=0, atol=1e-6)


def test_where_people_are_seen_again_nothing_is_of_what_was_not_seen_before(prior: MotionFlow) -> None:
    """Behind a window that is blind, and those that it leads to, an arm that is hidden is where it is without it."""
    states, arm = some_states(1, LONG), [index_of(f"left_{part}") for part in ("shoulder", "elbow", "wrist")]
    given = torch.ones(1, LONG, 22, dtype=torch.bool)
    given[:, :, arm] = False
    blind = given.clone()
    blind[:, : FRAMES + 6] = False
    with_blind, without = (joints_of(prior.complete(states, some, bones_of_rest(prior.rest)))[:, -FRAMES // 2 :] for some in (blind, given))
    torch.testing.assert_close(with_blind[:, :, arm], without[:, :, arm], rtol=0, atol=1e-6)


def test_windows_of_which_nothing_is_seen_go_on_from_each_other() -> None:
    published, frames = load_prior("motion_flow_cmu"), 118
    assert isinstance(published, MotionFlow)
    assert published.config.num_frames < frames
    joints = joints_of(published.complete(torch.zeros(1, frames, STATE_DIM), torch.zeros(1, frames, dtype=torch.bool)))
    assert torch.diff(joints, dim=1).norm(dim=-1).max() < 0.1
