"""The motion prior on a small scale: what it is told of, and what it must not care about."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from cvae_cases import CONFIG, FRAMES, VARIANTS, WINDOWS, started, states_of_people
from motion_windows import smooth_windows, synthetic_windows

from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import (
    NUM_JOINTS,
)
from pose_priors.body.rotations import canonicalize
from pose_priors.priors.motion.cvae import MotionCVAE, MotionCVAEConfig
from pose_priors.priors.motion.negatives import central


@pytest.fixture(scope="module")
def prior() -> MotionCVAE:
    return started(CONFIG)


@VARIANTS
def test_the_loss_is_finite_and_falls(config: MotionCVAEConfig) -> None:
    prior = started(config)
    before = {name: float(value.detach()) for name, value in prior.loss(WINDOWS).items()}
    assert all(math.isfinite(value) for value in before.values())
    assert before.keys() >= {"loss", "bound", "divergence", "prediction", "contacts"}
    optimizer = torch.optim.Adam(prior.parameters(), 2e-3)
    prior.set_total_steps(40)
    prior.train()
    for _ in range(40):
        loss = prior.loss(WINDOWS)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    prior.eval()
    after = prior.loss(WINDOWS)
    assert float(after["loss"]) < before["loss"] - 0.1
    assert float(after["bound"]) > before["bound"]
    assert float(after["contacts"]) < before["contacts"]
    if config.critic_hidden:
        assert float(after["critic"]) < before["critic"]
    prior.check_finite()


@VARIANTS
def test_every_parameter_learns(config: MotionCVAEConfig) -> None:
    prior = started(config).train()
    prior.loss(WINDOWS)["loss"].backward()
    idle = [name for name, value in prior.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert not idle


def test_what_is_not_trained_depends_on_nothing_but_the_windows(prior: MotionCVAE) -> None:
    torch.manual_seed(1)
    first = prior.loss(WINDOWS)
    torch.manual_seed(2)
    again = prior.loss(WINDOWS)
    for name in first.keys() - {"loss", "critic"}:  # the wrong motions are drawn
        assert torch.equal(first[name], again[name]), name


def test_humors_network_has_no_critic() -> None:
    with pytest.raises(ValueError, match="critic_hidden=0"):
        MotionCVAEConfig(kind="motion_cvae", variant="humor")


# --- how plausible transitions are


@VARIANTS
def test_a_batch_of_people_is_each_transition_by_itself(config: MotionCVAEConfig) -> None:
    prior, states = started(config), states_of_people()
    found = prior.transition_plausibility(states)
    assert found.shape == (3, states.shape[1] - 1)
    for p in range(3):
        for t in range(states.shape[1] - 1):
            torch.testing.assert_close(found[p, t], prior.transition_plausibility(states[p, t : t + 2])[0], rtol=1e-4, atol=1e-3)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(prior.transition_plausibility(states[order]), found[order], rtol=1e-4, atol=1e-3)


@VARIANTS
def test_where_and_which_way_does_not_matter(config: MotionCVAEConfig) -> None:
    prior, states = started(config).double(), synthetic_windows(3, 12, seed=1).to(torch.float64)
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, 2.3], dtype=torch.float64))
    pose = states.pose.clone()
    pose[:, :, 0] = roma.rotmat_to_rotvec(turn @ roma.rotvec_to_rotmat(pose[:, :, 0]))
    moved = MotionWindows(pose, states.pelvis @ turn.T + states.pelvis.new_tensor([5.0, -9.0, 0.0]), states.rest, states.contacts)
    here, there = (prior.transition_plausibility(windows.states()) for windows in (states, moved))
    torch.testing.assert_close(here, there, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(prior.contact_probabilities(states.states()), prior.contact_probabilities(moved.states()), rtol=0, atol=1e-8)
    lifted = MotionWindows(states.pose, states.pelvis + states.pelvis.new_tensor([0.0, 0.0, 0.05]), states.rest, states.contacts)
    assert (prior.transition_plausibility(lifted.states()) - here).abs().min() > 1e-6


def test_the_energy_is_minus_the_mean_of_the_middle(prior: MotionCVAE) -> None:
    expected = -prior.transition_plausibility(central(WINDOWS, FRAMES).states()).mean(-1)
    torch.testing.assert_close(prior.energy(WINDOWS), expected)
    assert expected.shape == (len(WINDOWS),)


def test_the_critic_can_be_left_out(prior: MotionCVAE) -> None:
    states = states_of_people()
    before, after = states[:, :-1].flatten(0, 1), states[:, 1:].flatten(0, 1)
    found = prior.transition(before, after)
    parts = prior.bound(found, found.posterior[0])[0]
    surrogate = prior.independent * parts.sum(1)
    torch.testing.assert_close(prior.transition_plausibility(states, by="surrogate").flatten(), surrogate, rtol=1e-5, atol=1e-4)
    ratio = prior.critic(found.inputs, found.residual / prior.density.std, prior.independent * (parts - prior.parts_mean))
    torch.testing.assert_close(prior.transition_plausibility(states).flatten(), ratio, rtol=1e-5, atol=1e-4)
    assert ratio.std() > 1e-3


ABSURD = {
    "far away": (1.0, 1e4, 0.0),
    "anyhow": (100.0, 1.0, 1.0),
    "very fast": (3.0, 1.0, 100.0),
    "without a pose": (0.0, 0.0, 0.0),
}


@VARIANTS
@pytest.mark.parametrize("case", ABSURD)
def test_absurd_motions_have_a_finite_energy_and_gradient(config: MotionCVAEConfig, case: str) -> None:
    size, distance, speed = ABSURD[case]
    prior = started(config).requires_grad_(False)
    windows, generator = smooth_windows(4, WINDOWS.pose.shape[1]).to(torch.float32), torch.Generator().manual_seed(0)
    # all frames the same where nothing moves
    pose = size * torch.randn(4, 1, NUM_JOINTS, 3, generator=generator) + speed * torch.randn(windows.pose.shape, generator=generator)
    pelvis = distance * torch.randn(4, 1, 3, generator=generator) + speed * torch.randn(windows.pelvis.shape, generator=generator)
    pose, pelvis = canonicalize(pose).requires_grad_(), pelvis.requires_grad_()
    energy = prior.energy(MotionWindows(pose, pelvis, windows.rest, windows.contacts))
    assert torch.isfinite(energy).all()
    energy.sum().backward()
    for value in (pose, pelvis):
        assert torch.isfinite(value.grad).all()
    assert pose.grad.abs().sum() > 0
