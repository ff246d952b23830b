"""Motions of several windows: what a batch changes, which is nothing, and how windows go on where nothing is seen."""

from __future__ import annotations

import pytest
import torch
from flow_cases import FRAMES, small_prior, some_states

from pose_priors.body.motion_state import STATE_DIM, joints_of
from pose_priors.body.rotations import to_rotmat
from pose_priors.body.skeleton import index_of
from pose_priors.priors import load_prior
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.skeletons import bones_of_rest
from pose_priors.priors.motion.flow.view import Motion, Noise, motion_of_states, states_of_motion

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


GAPS = [[(12, 36)], [(0, 24)], [(0, 36)], [(24, 48)], [(48, 72)], [(18, 42)], [(6, 54)], [(0, 24), (36, 60)]]
"""Which blind no window of FRAMES that starts on every twelfth, one, several, the first ones, or the last."""


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("gaps", GAPS)
def test_nothing_jumps_where_people_are_seen_again(prior: MotionFlow, gaps: list[tuple[int, int]], drawn: bool) -> None:
    states, given = some_states(2, LONG), torch.ones(2, LONG, dtype=torch.bool)
    for first, end in gaps:
        given[:, first:end] = False
    found = joints_of(prior.complete(states, given, generator=torch.Generator().manual_seed(0) if drawn else None))
    step = torch.diff(found[..., 0, :], dim=1).norm(dim=-1)
    own = torch.diff(joints_of(states)[..., 0, :], dim=1).norm(dim=-1)
    seams = [at - 1 for gap in gaps for at in gap if 0 < at < LONG]
    assert step[:, seams].max() < 2 * own.max(), (step[:, seams], own.max())


@pytest.mark.parametrize("gaps", GAPS[:3])
def test_a_gap_is_filled_alike_anywhere_in_the_world(prior: MotionFlow, gaps: list[tuple[int, int]]) -> None:
    states, given = some_states(1, LONG), torch.ones(1, LONG, dtype=torch.bool)
    for first, end in gaps:
        given[:, first:end] = False
    motion, turn, shift = motion_of_states(states), to_rotmat(states.new_tensor([0, 0, 2.0])), states.new_tensor([8.0, -3.0, 0])
    root = turn @ motion.rotations[..., :1, :, :]
    moved = states_of_motion(Motion(torch.cat([root, motion.rotations[..., 1:, :, :]], -3), motion.joints @ turn.T + shift))
    here, there = (joints_of(prior.complete(value, given)) for value in (states, moved))
    torch.testing.assert_close((there - shift) @ turn, here, rtol=0, atol=1e-6)


def test_the_path_through_a_long_gap_is_no_run_in_its_middle(prior: MotionFlow) -> None:
    """Who stands at one place before and at another behind goes there all the time."""
    states, given = some_states(1, LONG), torch.ones(1, LONG, dtype=torch.bool)
    given[:, 8:64] = False
    motion = motion_of_states(states)
    behind = (torch.arange(LONG) >= 36).to(states)[:, None, None] * states.new_tensor([4.0, 0, 0])
    found = joints_of(prior.complete(states_of_motion(Motion(motion.rotations, motion.joints + behind)), given))[0, :, 0]
    step = torch.diff(found, dim=0).norm(dim=-1)
    assert step.max() < 3 * (found[64] - found[7]).norm() / 57


def test_gaps_have_a_gradient(prior: MotionFlow) -> None:
    states, std = some_states(1, LONG), torch.zeros(1, LONG, 22, dtype=torch.float64)
    std[:, 8:64] = torch.inf
    motion, bones = motion_of_states(states), bones_of_rest(prior.rest)[None]
    joints, along = motion.joints.clone().requires_grad_(True), torch.zeros_like(motion.joints)
    along[:, 66] = 1

    def told(joints: torch.Tensor) -> torch.Tensor:
        return prior.restore(Motion(motion.rotations, joints), Noise.of(std, std), bones).motion.joints[:, 8:64].square().sum()

    told(joints).backward()
    assert joints.grad is not None
    by_differences = (told(motion.joints + 1e-5 * along) - told(motion.joints - 1e-5 * along)) / 2e-5
    torch.testing.assert_close((joints.grad * along).sum(), by_differences, rtol=1e-3, atol=1e-6)
