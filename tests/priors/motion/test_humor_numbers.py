"""The numbers that come out of a checkpoint of HuMoR's are those of the slow reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from humor_reference import (
    LATENT,
    LAYOUT,
    aligning_transform,
    decoded_state,
    joined_state,
    mlp,
    normal_log_prob,
    random_motion,
    rolled_out,
    split_state,
    trans2joint_of,
    transformed_state,
)
from torch import Tensor

from pose_priors.priors.motion.cvae import MotionCVAE


def test_posterior_prior_and_decoder(precise: MotionCVAE, weights: dict[str, Tensor]) -> None:
    states = random_motion(4)
    found = precise.transition(torch.from_numpy(states[:-1]), torch.from_numpy(states[1:]))
    z = np.random.default_rng(3).normal(size=(3, LATENT))
    output, logits = precise.decode(found.inputs, torch.from_numpy(z))
    for t in range(3):
        before, after = split_state(states[t], LAYOUT), split_state(states[t + 1], LAYOUT)
        frame = (*aligning_transform(before), trans2joint_of(before))
        own, seen = transformed_state(before, *frame), transformed_state(after, *frame)
        q, p = (
            mlp(weights, "encoder", np.concatenate([joined_state(own), joined_state(seen)])),
            mlp(weights, "prior_net", joined_state(own)),
        )
        np.testing.assert_allclose(found.inputs[t], joined_state(own), atol=1e-12)
        for moments, expected in ((found.posterior, q), (found.prior, p)):
            np.testing.assert_allclose(moments[0][t], expected[:LATENT], atol=1e-9)
            np.testing.assert_allclose(moments[1][t], expected[LATENT:], atol=1e-9)
        _, decoded, contacts = decoded_state(weights, own, z[t])
        np.testing.assert_allclose(output[t], decoded[:-9], atol=1e-9)
        np.testing.assert_allclose(logits[t], contacts, atol=1e-9)


def test_likelihood_of_the_latent(precise: MotionCVAE, weights: dict[str, Tensor]) -> None:
    """log p(z | before) at the mean of q(z | before, after), of two people at once."""
    people = np.stack([random_motion(4, seed) for seed in (2, 5)])
    found = precise.transition_plausibility(torch.from_numpy(people))
    assert found.shape == (2, 3)
    for p in range(2):
        for t in range(3):
            before, after = split_state(people[p, t], LAYOUT), split_state(people[p, t + 1], LAYOUT)
            frame = (*aligning_transform(before), trans2joint_of(before))
            own, seen = (joined_state(transformed_state(state, *frame)) for state in (before, after))
            z = mlp(weights, "encoder", np.concatenate([own, seen]))[:LATENT]
            mean, log_variance = np.split(mlp(weights, "prior_net", own), 2)
            assert float(found[p, t]) == pytest.approx(normal_log_prob(z, mean, log_variance), rel=1e-9)


def test_steps_in_the_world(precise: MotionCVAE, weights: dict[str, Tensor]) -> None:
    """Three steps of what the network says, residuals composed, each from the frame of the one before."""
    first = random_motion(1)[0]
    expected, contacts = rolled_out(weights, split_state(first, LAYOUT), 3, keep_bones=False)
    state = torch.from_numpy(first)[None]
    turned = 0.0
    for t in range(3):
        before = state
        state, logits = precise.step(state)
        np.testing.assert_allclose(state[0], joined_state(expected[t]), atol=1e-8)
        np.testing.assert_allclose(logits[0], contacts[t], atol=1e-8)
        turned += float((state - before).abs().max())
    assert turned > 0.3  # else every frame would have been the first


def test_rollout_in_the_world(precise: MotionCVAE, weights: dict[str, Tensor]) -> None:
    """The same with the body's own joints fed back, as HuMoR does with those of SMPL when it fits motions."""
    first = random_motion(1)[0]
    expected, contacts = rolled_out(weights, split_state(first, LAYOUT), 3, keep_bones=True)
    states, probabilities = precise.rollout(torch.from_numpy(first)[None], 3)
    np.testing.assert_array_equal(states[0, 0], first)
    for t in range(3):
        np.testing.assert_allclose(states[0, t + 1], joined_state(expected[t]), atol=1e-8)
        np.testing.assert_allclose(probabilities[0, t], 1 / (1 + np.exp(-contacts[t])), atol=1e-9)


def test_single_precision_is_close(prior: MotionCVAE, weights: dict[str, Tensor]) -> None:
    first = random_motion(1)[0]
    expected, _ = rolled_out(weights, split_state(first, LAYOUT), 1, keep_bones=False)
    np.testing.assert_allclose(prior.step(torch.from_numpy(first).float()[None])[0][0], joined_state(expected[0]), atol=1e-3)
