"""The Gaussian process against Gaussian conditionals and a Kalman smoother, and what the prior does that has learnt nothing beyond it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flow_cases import FRAMES, small_prior, some_states
from motion_windows import synthetic_windows
from torch import Tensor

from pose_priors.priors.motion.flow.denoiser import combined
from pose_priors.priors.motion.flow.restoring import as_seen, flow
from pose_priors.priors.motion.flow.smoother import Smoother
from pose_priors.priors.motion.flow.view import GROUP_OF, NUM_FEATURES, NUM_GROUPS, exact, motion_of_states


def random_smoother(seed: int = 0) -> Smoother:
    """With a covariance of its own for each group."""
    generator = torch.Generator().manual_seed(seed)
    smoother = Smoother(FRAMES).double()
    root = torch.randn(NUM_GROUPS, FRAMES, FRAMES, generator=generator, dtype=torch.float64)
    smoother.covariance.copy_(root @ root.mT / FRAMES + 0.1 * torch.eye(FRAMES, dtype=torch.float64))
    return smoother


def conditional(covariance: np.ndarray, seen: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation given the entries whose noise is finite, by the formula of partitioned Gaussians."""
    at = np.flatnonzero(np.isfinite(noise))
    gain = covariance[:, at] @ np.linalg.inv(covariance[np.ix_(at, at)] + np.diag(noise[at] ** 2))
    return gain @ seen[at], np.sqrt(np.diag(covariance - gain @ covariance[at]))


def some_noise(generator: torch.Generator) -> Tensor:
    noise = torch.rand(2, FRAMES, NUM_GROUPS, generator=generator, dtype=torch.float64) + 0.05
    return noise.masked_fill(torch.rand(noise.shape, generator=generator) < 0.3, torch.inf)


def test_it_is_the_conditional_of_each_feature() -> None:
    smoother, generator = random_smoother(), torch.Generator().manual_seed(1)
    noise, seen = some_noise(generator), torch.randn(2, FRAMES, NUM_FEATURES, generator=generator, dtype=torch.float64)
    hidden = torch.where(noise[..., GROUP_OF].isfinite(), seen, torch.nan)
    mean, std = smoother.posterior(hidden, noise)
    for feature in (0, 2, 3, 57, 140, NUM_FEATURES - 1):
        group = int(GROUP_OF[feature])
        m, s = conditional(smoother.covariance[group].numpy(), seen[1, :, feature].numpy(), noise[1, :, group].numpy())
        np.testing.assert_allclose(mean[1, :, feature].numpy(), m, atol=1e-9)
        np.testing.assert_allclose(std[1, :, group].numpy(), s, atol=1e-9)


def test_of_a_random_walk_it_is_a_kalman_smoother() -> None:
    smoother, generator = Smoother(FRAMES).double(), torch.Generator().manual_seed(2)
    frames = torch.arange(1, FRAMES + 1, dtype=torch.float64)
    smoother.covariance.copy_(torch.minimum(frames[:, None], frames).expand(NUM_GROUPS, -1, -1))
    seen = torch.randn(1, FRAMES, NUM_FEATURES, generator=generator, dtype=torch.float64).cumsum(1)
    noise = torch.full((1, FRAMES, NUM_GROUPS), 0.7, dtype=torch.float64)
    noise[:, 5:9] = torch.inf
    mean, std = smoother.posterior(seen, noise)
    # Kalman's filter, then Rauch, Tung and Striebel's pass back
    m, p, kept = 0.0, 0.0, []
    for t in range(FRAMES):
        before, ahead = m, p + 1
        gain = ahead / (ahead + float(noise[0, t, 2]) ** 2)
        m, p = before + gain * (float(seen[0, t, 3]) - before), (1 - gain) * ahead
        kept.append((m, p, ahead))
    smooth, variance = [m], [p]
    for t in range(FRAMES - 2, -1, -1):
        m_t, p_t, ahead = *kept[t][:2], kept[t + 1][2]
        back = p_t / ahead
        smooth.append(m_t + back * (smooth[-1] - m_t))
        variance.append(p_t + back**2 * (variance[-1] - ahead))
    np.testing.assert_allclose(mean[0, :, 3].numpy(), smooth[::-1], atol=1e-9)
    np.testing.assert_allclose(std[0, :, 2].numpy() ** 2, variance[::-1], atol=1e-9)


def test_two_views_are_one_that_tells_as_much() -> None:
    smoother, generator = random_smoother(), torch.Generator().manual_seed(3)
    noise = some_noise(generator)
    seen, flowing = (torch.randn(2, FRAMES, NUM_FEATURES, generator=generator, dtype=torch.float64) for _ in range(2))
    mean, std = smoother.posterior(
        *combined(torch.where(noise[..., GROUP_OF].isfinite(), seen, torch.nan), noise, flowing, torch.tensor(0.8, dtype=torch.float64))
    )
    group, feature = 5, int(torch.where(GROUP_OF == 5)[0][0])
    covariance = smoother.covariance[group].numpy()
    twice = np.tile(covariance, (2, 2))
    both = np.concatenate([noise[0, :, group].numpy(), np.full(FRAMES, 0.8)])
    m, s = conditional(twice, np.concatenate([seen[0, :, feature].numpy(), flowing[0, :, feature].numpy()]), both)
    np.testing.assert_allclose(mean[0, :, feature].numpy(), m[:FRAMES], atol=1e-8)
    np.testing.assert_allclose(std[0, :, group].numpy(), s[:FRAMES], atol=1e-8)


def test_covariances_are_those_of_the_data() -> None:
    generator = torch.Generator().manual_seed(4)
    root = torch.randn(FRAMES, FRAMES, generator=generator, dtype=torch.float64) / FRAMES**0.5
    data = 3.0 + 2.0 * torch.randn(4000, NUM_FEATURES, FRAMES, generator=generator, dtype=torch.float64) @ root.T
    smoother = Smoother(FRAMES).double()
    smoother.fit(data.mT)
    expected = root @ root.T
    expected = expected / expected.diagonal().mean()
    found = smoother.covariance[10]
    assert (found - expected).abs().max() < 0.05
    torch.testing.assert_close(smoother.denormalized(smoother.normalized(data.mT)), data.mT)
    assert float(smoother.normalized(data.mT)[..., 30:].square().mean()) == pytest.approx(1, rel=0.05)


def test_a_prior_that_has_learnt_nothing_draws_from_the_process() -> None:
    prior = small_prior(0)
    motion = motion_of_states(some_states(1))
    noise = exact(motion)
    noise.rotations[:, 4:20] = torch.inf
    noise.joints[:, 4:20] = torch.inf
    seen, told, reference = as_seen(prior.denoiser, motion, noise)
    many = 300
    expand = (value.expand(many, *value.shape[1:]) for value in (seen, told, reference.turn, reference.origin))
    seen_all, told_all, turn, origin = expand
    drawn = flow(prior.denoiser, seen_all, told_all, type(reference)(turn, origin), 20, torch.Generator().manual_seed(0)).mean
    mean, std = prior.denoiser.smoother.posterior(seen, told)
    for feature in (2, 10, 150):
        spread = std[0, 8:16, GROUP_OF[feature]]
        assert ((drawn[:, 8:16, feature].mean(0) - mean[0, 8:16, feature]).abs() < 5 * spread / many**0.5 + 0.02 * spread).all()
        ratio = drawn[:, 8:16, feature].std(0) / spread
        assert ((ratio > 0.8) & (ratio < 1.15)).all()


def test_the_prior_is_never_worse_than_the_process_before_it_has_learnt() -> None:
    windows = synthetic_windows(8, FRAMES, 2).to(torch.float64)
    assert float(small_prior(0).loss(windows)["over_process"]) == pytest.approx(1.0)
