"""The formulas of the motion prior against slower ones: densities of a change, and what goes on at the same velocity."""

from __future__ import annotations

import math

import numpy as np
import pytest
import roma
import torch
from cvae_cases import CONFIG, started
from scipy.stats import t as student_t
from torch.distributions import Normal, StudentT, kl_divergence

from pose_priors.body.motion_state import (
    CHANGE,
    CHANGE_DIM,
    CONTACT_JOINTS,
    FPS,
    NUM_JOINTS,
    STATE,
    make_states,
)
from pose_priors.priors.motion.density import ChangeDensity, divergence, log_normal
from pose_priors.priors.motion.transition import turned


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
    prior = started(CONFIG).double()
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
