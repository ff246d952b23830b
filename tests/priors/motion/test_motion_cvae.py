"""The motion prior on a small scale: what it is told of, what it must not care about, and its formulas against slower ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import roma
import torch
from motion_windows import smooth_windows, synthetic_windows
from scipy.stats import t as student_t
from torch import Tensor
from torch.distributions import Normal, StudentT, kl_divergence

from pose_priors.body.motion import MotionWindows
from pose_priors.body.motion_state import (
    CHANGE,
    CHANGE_DIM,
    CONTACT_JOINTS,
    FPS,
    NUM_JOINTS,
    STATE,
    bones_of,
    joints_of,
    make_states,
    to_local,
)
from pose_priors.body.rotations import canonicalize
from pose_priors.priors.motion.cvae import MotionCVAE, MotionCVAEConfig
from pose_priors.priors.motion.density import ChangeDensity, divergence, log_normal
from pose_priors.priors.motion.negatives import central, num_source_frames
from pose_priors.priors.motion.transition import turned

CONFIG = MotionCVAEConfig(kind="motion_cvae", hidden=64, latent_dim=4, num_layers=2, critic_hidden=32)
HUMOR = MotionCVAEConfig(kind="motion_cvae", variant="humor", hidden=64, latent_dim=4, num_layers=2, critic_hidden=0)
VARIANTS = pytest.mark.parametrize("config", [CONFIG, HUMOR], ids=["extrapolating", "humor"])
FRAMES = CONFIG.window + 2
WINDOWS = synthetic_windows(48, num_source_frames(FRAMES))


def _started(config: MotionCVAEConfig, seed: int = 0) -> MotionCVAE:
    torch.manual_seed(seed)
    prior = config.build()
    prior.fit_statistics(WINDOWS)
    return prior.eval()


@pytest.fixture(scope="module")
def prior() -> MotionCVAE:
    return _started(CONFIG)


def _states(num_people: int = 3) -> Tensor:
    return synthetic_windows(num_people, 12, seed=1).states()


# --- training


@VARIANTS
def test_the_loss_is_finite_and_falls(config: MotionCVAEConfig) -> None:
    prior = _started(config)
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
    prior = _started(config).train()
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


# --- the likelihood


@VARIANTS
def test_a_batch_of_people_is_each_transition_by_itself(config: MotionCVAEConfig) -> None:
    prior, states = _started(config), _states()
    found = prior.transition_log_prob(states)
    assert found.shape == (3, states.shape[1] - 1)
    for p in range(3):
        for t in range(states.shape[1] - 1):
            torch.testing.assert_close(found[p, t], prior.transition_log_prob(states[p, t : t + 2])[0], rtol=1e-4, atol=1e-3)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(prior.transition_log_prob(states[order]), found[order], rtol=1e-4, atol=1e-3)


@VARIANTS
def test_where_and_which_way_does_not_matter(config: MotionCVAEConfig) -> None:
    prior, states = _started(config).double(), synthetic_windows(3, 12, seed=1).to(torch.float64)
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, 2.3], dtype=torch.float64))
    pose = states.pose.clone()
    pose[:, :, 0] = roma.rotmat_to_rotvec(turn @ roma.rotvec_to_rotmat(pose[:, :, 0]))
    moved = MotionWindows(pose, states.pelvis @ turn.T + states.pelvis.new_tensor([5.0, -9.0, 0.0]), states.rest, states.contacts)
    here, there = (prior.transition_log_prob(windows.states()) for windows in (states, moved))
    torch.testing.assert_close(here, there, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(prior.contact_probabilities(states.states()), prior.contact_probabilities(moved.states()), rtol=0, atol=1e-8)
    lifted = MotionWindows(states.pose, states.pelvis + states.pelvis.new_tensor([0.0, 0.0, 0.05]), states.rest, states.contacts)
    assert (prior.transition_log_prob(lifted.states()) - here).abs().min() > 1e-6


def test_the_energy_is_minus_the_mean_of_the_middle(prior: MotionCVAE) -> None:
    expected = -prior.transition_log_prob(central(WINDOWS, FRAMES).states()).mean(-1)
    torch.testing.assert_close(prior.energy(WINDOWS), expected)
    assert expected.shape == (len(WINDOWS),)


def test_the_critic_can_be_left_out(prior: MotionCVAE) -> None:
    states = _states()
    before, after = states[:, :-1].flatten(0, 1), states[:, 1:].flatten(0, 1)
    found = prior.transition(before, after)
    parts = prior.bound(found, found.posterior[0])[0]
    evidence = prior.independent * parts.sum(1)
    torch.testing.assert_close(prior.transition_log_prob(states, by="evidence").flatten(), evidence, rtol=1e-5, atol=1e-4)
    ratio = prior.critic(found.inputs, found.residual / prior.density.std, prior.independent * (parts - prior.parts_mean))
    torch.testing.assert_close(prior.transition_log_prob(states).flatten(), ratio, rtol=1e-5, atol=1e-4)
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
    prior = _started(config).requires_grad_(False)
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


def test_the_divergence_is_that_of_torch() -> None:
    torch.manual_seed(0)
    q, p = ((2 * torch.randn(50, 7).double(), 3 * torch.randn(50, 7).double()) for _ in range(2))
    normals = [Normal(mean, (log_variance / 2).exp()) for mean, log_variance in (q, p)]
    torch.testing.assert_close(divergence(q, p), kl_divergence(*normals).sum(-1), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(divergence(q, q), torch.zeros(50).double(), rtol=0, atol=1e-12)
    z = torch.randn(50, 7).double()
    torch.testing.assert_close(log_normal(z, q), normals[0].log_prob(z).sum(-1))


def test_joints_that_touch_stand_still_or_go_on() -> None:
    """Number by number and joint by joint: Student's t each, but a mixture over the three of a velocity of a joint that may touch."""
    torch.manual_seed(0)
    density = ChangeDensity().double()
    density.std.copy_(torch.rand(CHANGE_DIM) + 0.5)
    with torch.no_grad():
        density.log_scale.copy_(0.5 * torch.randn(CHANGE_DIM) - 1)  # some below the floor
        density.log_stance.fill_(math.log(0.08))
    residual, predicted = torch.randn(2, 5, CHANGE_DIM).double()
    velocity, logits = 0.1 * torch.randn(5, 66).double(), 3 * torch.randn(5, len(CONTACT_JOINTS)).double()
    scales = density.log_scale.exp().clamp_min(0.2) * density.std
    assert (density.log_scale.exp() < 0.2).any()
    for n in range(5):
        total = 0.0
        touching = {CHANGE["joints_vel"].start + 3 * joint + k for joint in CONTACT_JOINTS for k in range(3)}
        for i in set(range(CHANGE_DIM)) - touching:
            total += float(StudentT(4.0, predicted[n, i], scales[i]).log_prob(residual[n, i]))
        for c, joint in enumerate(CONTACT_JOINTS):
            at = slice(CHANGE["joints_vel"].start + 3 * joint, CHANGE["joints_vel"].start + 3 * joint + 3)
            contact = torch.sigmoid(logits[n, c])
            still = Normal(torch.zeros(3).double(), 0.08).log_prob(velocity[n, 3 * joint : 3 * joint + 3]).sum().exp()
            going = StudentT(4.0, predicted[n, at], scales[at]).log_prob(residual[n, at]).sum().exp()
            total += float((contact * still + (1 - contact) * going).log())
        found = density(residual[n : n + 1], predicted[n : n + 1], velocity[n : n + 1], logits[n : n + 1])
        found = sum(found)
        assert float(found) == pytest.approx(total, rel=1e-9)


def test_the_density_of_a_change_has_integral_one() -> None:
    """Over the velocity of one joint that may touch, whose residual is that velocity less the one before."""
    density = ChangeDensity().double()
    with torch.no_grad():
        density.log_stance.fill_(math.log(0.15))
        density.log_scale.fill_(math.log(0.3))
    joint = CONTACT_JOINTS[3]
    at = slice(3 * joint, 3 * joint + 3)
    axis = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis, axis)
    velocity, residual = torch.zeros(len(grid), 66).double(), torch.zeros(len(grid), CHANGE_DIM).double()
    velocity[:, at] = grid
    before = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    residual[:, CHANGE["joints_vel"]][:, at] = grid - before
    logits = torch.full((len(grid), len(CONTACT_JOINTS)), 0.4, dtype=torch.float64)
    found = sum(density(residual, torch.zeros_like(residual), velocity, logits))
    # all the rest stays the same: what it adds, by the same density with this joint out of it
    rest = CHANGE_DIM - 3 - 3 * (len(CONTACT_JOINTS) - 1)
    others = (len(CONTACT_JOINTS) - 1) * torch.logaddexp(
        torch.nn.functional.logsigmoid(logits[0, 0]) + 3 * Normal(0.0, 0.15).log_prob(torch.tensor(0.0)),
        torch.nn.functional.logsigmoid(-logits[0, 0]) + 3 * StudentT(4.0, 0.0, 0.3).log_prob(torch.tensor(0.0)),
    )
    constant = rest * StudentT(4.0, 0.0, 0.3).log_prob(torch.tensor(0.0)) + others
    integral = (found - constant).exp().sum() * float(axis[1] - axis[0]) ** 3
    contact = float(torch.sigmoid(logits[0, 0]))
    inside = np.prod([student_t(4).cdf((1.5 - b) / 0.3) - student_t(4).cdf((-1.5 - b) / 0.3) for b in before.tolist()])
    assert float(integral) == pytest.approx(contact + (1 - contact) * inside, abs=2e-3)


def test_who_goes_on_at_the_same_velocity_leaves_no_residual() -> None:
    """A body that glides on at a constant velocity and turns at a constant rate: its change is what its state says."""
    prior = _started(CONFIG).double()
    frames = torch.arange(8, dtype=torch.float64)
    pose = torch.zeros(8, NUM_JOINTS, 3, dtype=torch.float64)
    pose[:, 0, 2] = 0.05 * frames + 1
    glide = frames[:, None] * torch.tensor([0.03, -0.01, 0.0]) + torch.tensor([2.0, 1.0, 0.9])
    states = make_states(pose, glide[:, None] + torch.randn(NUM_JOINTS, 3, generator=torch.Generator().manual_seed(0)).double())[1:-1]
    residual = prior.transition(states[:-1], states[1:]).residual
    assert residual.abs().max() < 1e-5
    faster = states.clone()
    faster[:, STATE["trans_vel"]] *= 2
    lag = prior.transition(faster[:-1], states[1:]).residual[:, CHANGE["trans"]].norm(dim=-1)
    torch.testing.assert_close(lag, torch.full_like(lag, math.hypot(0.03, 0.01)), atol=1e-5, rtol=0)
    assert float(states[0, STATE["trans_vel"]].norm()) == pytest.approx(math.hypot(0.03, 0.01) * FPS, rel=1e-6)


def test_a_bone_of_constant_length_is_known_to_speed_up() -> None:
    """A forearm that turns faster and faster in a plane, hand fixed to it: all three of a central difference lie on a circle."""
    angle = torch.tensor([0.0, 0.05, 0.13], dtype=torch.float64)
    forearm = torch.tensor([[0.18, 0.15, 0.1]], dtype=torch.float64)  # not in the plane's normal, nor across it
    axis = torch.nn.functional.normalize(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), dim=0)
    bones = (roma.rotvec_to_rotmat(angle[:, None] * axis) @ (forearm[0] - (forearm[0] @ axis) * axis)[:, None])[..., 0]
    before, now, after = bones
    torch.testing.assert_close(turned(now, (after - before) / 2), after - now, rtol=0, atol=2e-5)
    assert float(((after - before) / 2 - (after - now)).norm()) > 3e-3  # which straight on does not say
    still = turned(now, torch.zeros(3).double().requires_grad_())
    assert float(still.detach().norm()) < 1e-9


# --- going on


@VARIANTS
@pytest.mark.parametrize("drawn", [False, True], ids=["mean", "drawn"])
def test_bones_keep_their_length(config: MotionCVAEConfig, drawn: bool) -> None:
    prior, first = _started(config), _states()[:, 0]
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
    first = _states()[:, 0]
    mean, logits = prior.step(first)
    assert torch.equal(prior.step(first, torch.zeros(3, CONFIG.latent_dim))[0], mean)
    assert (prior.step(first, torch.ones(3, CONFIG.latent_dim))[0] - mean).abs().max() > 1e-4
    expected = prior.contact_probabilities(torch.stack([first, mean], 1))
    torch.testing.assert_close(expected[:, 0], torch.sigmoid(logits), rtol=1e-4, atol=1e-5)


def test_going_on_does_not_depend_on_where_in_the_world(prior: MotionCVAE) -> None:
    first = _states()[:, 0]
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
    prior, other, states = _started(config), config.build().eval(), _states()
    assert not torch.allclose(other.transition_log_prob(states), prior.transition_log_prob(states))
    other.load_state_dict(prior.state_dict())
    assert torch.equal(other.transition_log_prob(states), prior.transition_log_prob(states))
    assert torch.equal(other.rollout(states[:, 0], 3)[0], prior.rollout(states[:, 0], 3)[0])
