"""Draws of clips given what was seen of them, against the closed form that the Gaussian process has."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from flow_cases import FRAMES, small_prior
from torch import Tensor

from pose_priors.body.motion_state import joints_of
from pose_priors.priors.motion.flow.posterior import draw_clips
from pose_priors.priors.motion.flow.prior import MotionFlow
from pose_priors.priors.motion.flow.restoring import Drawn
from pose_priors.priors.motion.flow.skeletons import bones_of_rest, measured_bones
from pose_priors.priors.motion.flow.view import NUM_FEATURES, NUM_GROUPS, exact, motion_of_states, states_of_motion

SEEN = [4, 12, 19]
HEIGHTS = torch.tensor([[0.95, 0.90, 0.92], [0.80, 0.86, 0.91]], dtype=torch.float64)
STD = 0.02


@pytest.fixture(scope="module")
def process() -> MotionFlow:
    """Nothing learnt: normal, and in closed form."""
    prior = copy.copy(small_prior(0))
    prior.config = prior.config.model_copy(update={"num_steps": 3})
    return prior


def unfitted(prior: MotionFlow) -> Callable[[Drawn], Tensor]:
    """States as features have them, not yet of one skeleton: their heights are normal."""
    return lambda drawn: states_of_motion(drawn.restored(prior.denoiser).motion)


def of_heights(states: Tensor) -> Tensor:
    """What two observers say of the pelvis' height on three frames."""
    heights = joints_of(states)[..., SEEN, 0, 2]
    return -0.5 * ((heights - HEIGHTS) / STD).square().sum(-1)


@pytest.mark.slow
def test_it_is_the_closed_form_where_the_prior_is_normal(process: MotionFlow) -> None:
    num = 64
    drawn = draw_clips(process.denoiser, unfitted(process), of_heights, 2, num, 12, torch.Generator().manual_seed(0))
    smoother = process.denoiser.smoother
    seen = torch.zeros(2, FRAMES, NUM_FEATURES, dtype=torch.float64)
    noise = torch.full((2, FRAMES, NUM_GROUPS), torch.inf, dtype=torch.float64)
    seen[:, SEEN, 2] = (HEIGHTS - smoother.mean[2]) / smoother.scale[1]
    noise[:, SEEN, 1] = STD / smoother.scale[1]
    mean, std = smoother.posterior(seen, noise)
    mean, std = mean[..., 2] * smoother.scale[1] + smoother.mean[2], std[..., 1] * smoother.scale[1]
    heights = joints_of(drawn)[..., 0, 2]
    # draws are not all independent
    assert ((heights.mean(0) - mean) / std).abs().max() < 0.5
    assert (heights.std(0) / std).log().abs().max() < 0.5
    alone = smoother.covariance[1].diagonal().sqrt() * smoother.scale[1]
    assert (std[:, SEEN] < 0.6 * alone[SEEN]).all()
    assert ((mean[:, SEEN] - smoother.mean[2]) / std[:, SEEN]).abs().max() > 2


def height_of_one(states: Tensor) -> Tensor:
    return -0.5 * ((joints_of(states)[..., 1, 0, 2] - 0.85) / STD).square()


def test_draws_are_seeded_of_one_skeleton_and_differ(process: MotionFlow) -> None:
    first, again, other = (process.posterior(height_of_one, 1, 3, torch.Generator().manual_seed(seed), 2) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (3, 1, 2, 339)
    bones = bones_of_rest(process.rest)
    motion = motion_of_states(first[:, 0])
    torch.testing.assert_close(measured_bones(motion, exact(motion), process.rest)[0], bones, atol=1e-4, rtol=0)
    assert (joints_of(first)[..., 1, 0, 2] - 0.85).abs().max() < 4 * STD


@pytest.mark.parametrize(("options", "said"), [({"num_frames": FRAMES + 1}, "2 to 24"), ({"num_samples": 0}, "at least 1")])
def test_what_cannot_be_drawn_is_refused(process: MotionFlow, options: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        process.posterior(of_heights, **({"num_observations": 2, "num_samples": 3} | options))


def test_what_draws_cannot_meet_is_refused(process: MotionFlow) -> None:
    """In place of clips that forgot most of it."""
    with pytest.raises(ValueError, match="the log-likelihood of observation 1 is so sharp"):
        draw_clips(
            process.denoiser,
            unfitted(process),
            lambda states: of_heights(states) * torch.tensor([1.0, 1e30]),
            2,
            8,
            3,
            torch.Generator().manual_seed(0),
        )
