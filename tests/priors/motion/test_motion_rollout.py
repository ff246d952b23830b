"""How motions go on by the motion prior: rollouts, samples, and weights that are loaded."""

from __future__ import annotations

import pytest
import torch
from cvae_cases import CONFIG, VARIANTS, WINDOWS, started, states_of_people

from pose_priors.body.motion_state import (
    CONTACT_JOINTS,
    bones_of,
    joints_of,
    to_local,
)
from pose_priors.priors.motion.cvae import MotionCVAE, MotionCVAEConfig


@pytest.fixture(scope="module")
def prior() -> MotionCVAE:
    return started(CONFIG)


# --- going on


@VARIANTS
@pytest.mark.parametrize("drawn", [False, True], ids=["mean", "drawn"])
def test_bones_keep_their_length(config: MotionCVAEConfig, drawn: bool) -> None:
    prior, first = started(config), states_of_people()[:, 0]
    states, contacts = prior.rollout(first, 8, torch.Generator().manual_seed(0) if drawn else None)
    assert states.shape == (3, 9, 339)
    assert contacts.shape == (3, 8, len(CONTACT_JOINTS))
    assert torch.equal(states[:, 0], first)
    length = bones_of(states).norm(dim=-1)
    torch.testing.assert_close(length, length[:, :1].expand_as(length), rtol=0, atol=1e-5)
    assert (joints_of(states)[:, -1] - joints_of(states)[:, 0]).norm(dim=-1).max() > 1e-3
    assert contacts.min() >= 0
    assert contacts.max() <= 1


def test_a_step_follows_the_prior(prior: MotionCVAE) -> None:
    """The mean without noise; with noise the latent is drawn from the prior, and the contacts expected are those of the mean."""
    first = states_of_people()[:, 0]
    mean, logits = prior.step(first)
    assert torch.equal(prior.step(first, torch.zeros(3, CONFIG.latent_dim))[0], mean)
    assert (prior.step(first, torch.ones(3, CONFIG.latent_dim))[0] - mean).abs().max() > 1e-4
    expected = prior.contact_probabilities(torch.stack([first, mean], 1))
    torch.testing.assert_close(expected[:, 0], torch.sigmoid(logits), rtol=1e-4, atol=1e-5)


def test_going_on_does_not_depend_on_where_in_the_world(prior: MotionCVAE) -> None:
    first = states_of_people()[:, 0]
    here = prior.rollout(to_local(first, first), 4)[0]
    there = prior.rollout(first, 4)[0]
    torch.testing.assert_close(to_local(there, there[:, :1].expand_as(there)), here, rtol=0, atol=2e-3)


def test_samples_are_reproducible_and_differ(prior: MotionCVAE) -> None:
    first, again, other = (prior.sample(3, torch.Generator().manual_seed(seed), 5) for seed in (0, 0, 1))
    assert first.shape == (3, 5, 339)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(0)
    unseeded = prior.sample(2, num_frames=3)
    torch.manual_seed(0)
    assert torch.equal(prior.sample(2, num_frames=3), unseeded)


def test_samples_start_from_the_training_data(prior: MotionCVAE) -> None:
    starts = prior.sample(5, torch.Generator().manual_seed(0), 2)[:, 0]
    of_data = WINDOWS.states()[:, 0]
    assert torch.equal((starts[:, None] == of_data).all(-1).any(1), torch.ones(5, dtype=torch.bool))


@VARIANTS
def test_weights_that_are_loaded_give_the_same_numbers(config: MotionCVAEConfig) -> None:
    prior, other, states = started(config), config.build().eval(), states_of_people()
    assert not torch.allclose(other.transition_plausibility(states), prior.transition_plausibility(states))
    other.load_state_dict(prior.state_dict())
    assert torch.equal(other.transition_plausibility(states), prior.transition_plausibility(states))
    assert torch.equal(other.rollout(states[:, 0], 3)[0], prior.rollout(states[:, 0], 3)[0])
