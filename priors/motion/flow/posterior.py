"""Draws of clips given anything that was seen of them: a prior of clips times a likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_priors.priors.motion.flow.denoiser import Denoiser
from pose_priors.priors.motion.flow.restoring import Drawn, flow
from pose_priors.priors.motion.flow.view import NUM_FEATURES, NUM_GROUPS, Reference
from pose_priors.priors.posteriors.particles import (
    Idleness,
    check_asked,
    check_met,
    check_possible,
    nats_of,
    next_temperature,
    resampled_at,
)

ClipLikelihood = Callable[[Tensor], Tensor]
"""States (num_samples, num_observations, T, 339) -> nats (num_samples, num_observations), each of its own clip alone."""

_MIN_PARTICLES = 48
_MAX_STAGES = 100
_MOVES, _LAST_MOVES = 2, 8
_ACCEPTANCE = 0.3
_FIRST_LEVEL, _LEVELS = 1.0, (0.02, 8.0)  # of the noise that moves forget by, in the data's spread


@dataclass(frozen=True)
class _Clips:
    """Normalised features (N, T, F), their states (N, T', 339), and the likelihood (P, O) of these in nats; N = P O."""

    features: Tensor
    states: Tensor
    seen: Tensor


def draw_clips(
    denoiser: Denoiser,
    posed: Callable[[Drawn], Tensor],
    log_likelihood: ClipLikelihood,
    num_observations: int,
    num_samples: int,
    num_steps: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draws from p(clip) exp(log_likelihood(clip)) for many observations at once.

    Draws of the prior meet the likelihood by and by (Del Moral, Doucet and Jasra, "Sequential Monte Carlo samplers", JRSS B 68, 2006). In
    between they move: noise of one level is added to a clip, and another clip is drawn of which that could be the noisy view. That kernel
    leaves the prior as it is, and is reversible, being two steps of a Gibbs sampler of clip and view; so the likelihoods alone decide
    whether the other clip is taken (Metropolis and Hastings). Levels are those at which three in ten are. What is seen closely on many
    frames is met faster than clips move: draws then miss it by more than its noise, and `MotionFlow.denoise` is for such observations.

    Args:
        posed: the states (N, T, 339) of windows as they are drawn.
        log_likelihood: is also called with other clips than draws. Minus infinity excludes.
        num_observations, num_samples: at least 1.
        num_steps: of each draw's integration.
        generator: draws; the same state gives the same clips.
    Returns:
        (num_samples, num_observations, T, 339).
    Raises:
        ValueError: if the likelihood of an observation rules out all draws of the prior, is too sharp for them to meet all of it, or is
            not one number for each draw and observation.
    """
    check_asked(num_observations, num_samples)
    blocks = math.ceil(_MIN_PARTICLES / num_samples)
    shape = (blocks * num_samples, num_observations)
    like = denoiser.smoother.mean

    def drawn(seen: Tensor | None, level: float) -> _Clips:
        """Clips given features that were seen with noise of a level; of the prior without."""
        num = shape[0] * shape[1]
        eye = torch.eye(3).to(like).expand(num, denoiser.num_frames, 3, 3)
        reference = Reference(eye, like.new_zeros(num, 3))
        told = like.new_full((num, denoiser.num_frames, NUM_GROUPS), level)
        seen = like.new_zeros(num, denoiser.num_frames, NUM_FEATURES) if seen is None else seen
        expected = flow(denoiser, seen, told, reference, num_steps, generator)
        states = posed(Drawn(expected, reference))
        # the likelihood is only asked of as many samples as it was said to be
        asked = states.unflatten(0, (blocks, num_samples, num_observations))
        nats = torch.cat([nats_of(log_likelihood(some), some.shape[:2], like) for some in asked])
        return _Clips(expected.mean, states, nats.nan_to_num(nan=-math.inf, posinf=-math.inf))

    clips = drawn(None, math.inf)
    check_possible(clips.seen, "draws of the prior")
    beta, level = clips.seen.new_zeros(num_observations), _FIRST_LEVEL
    idleness = Idleness()
    for _ in range(_MAX_STAGES):
        after = next_temperature(beta, clips.seen)
        if idleness.ends(beta, after):
            break
        clips = _taken(clips, resampled_at((after - beta) * clips.seen.clamp_min(-1e30), generator))
        beta, is_last = after, bool((after == 1).all())
        for _ in range(_LAST_MOVES if is_last else _MOVES):
            noise = torch.randn(clips.features.shape, generator=generator, dtype=like.dtype, device=like.device)
            other = drawn(clips.features + level * noise, level)
            gain = (beta * (other.seen - clips.seen)).nan_to_num(nan=-math.inf)
            uniform = torch.rand(gain.shape, generator=generator, dtype=gain.dtype, device=gain.device)
            clips = _chosen(uniform.log() < gain, other, clips)
            rate = float(gain.clamp_max(0).exp().mean())
            level = min(max(level * math.exp(rate - _ACCEPTANCE), _LEVELS[0]), _LEVELS[1])
        if is_last:
            break
    check_met(beta)
    found: Tensor = clips.states.unflatten(0, shape)[::blocks]  # those that come of one ancestor stand side by side
    return found


def _taken(clips: _Clips, chosen: Tensor) -> _Clips:
    """Rows (P, O) of each observation's own."""
    rows = (chosen * chosen.shape[1] + torch.arange(chosen.shape[1], device=chosen.device)).flatten()
    return _Clips(clips.features[rows], clips.states[rows], clips.seen.gather(0, chosen))


def _chosen(where: Tensor, one: _Clips, other: _Clips) -> _Clips:
    rows = where.flatten()[:, None, None]
    features, states = torch.where(rows, one.features, other.features), torch.where(rows, one.states, other.states)
    return _Clips(features, states, torch.where(where, one.seen, other.seen))
