"""How implausible each joint of each frame of a motion is, given all of the motion with noise."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_priors.body.motion_state import NUM_JOINTS
from pose_priors.priors.motion.flow.denoiser import Denoiser
from pose_priors.priors.motion.flow.overlap import cut, joined, padded, window_starts
from pose_priors.priors.motion.flow.restoring import as_seen
from pose_priors.priors.motion.flow.view import (
    JOINT_OF_GROUP,
    NUM_FEATURES,
    NUM_GROUPS,
    PATH,
    Motion,
    Noise,
    exact,
    mean_of_groups,
    world_path,
)
from pose_priors.priors.networks.precision import uncast

_LEVELS = (0.05, 0.15, 0.45)
"""Standard deviations of the noise at which energies look, in the data's spread."""


def energy_noise(num_frames: int) -> Tensor:
    """(L, T, F) the noise of each level, drawn once, so that energies are smooth and always the same."""
    return torch.randn(len(_LEVELS), num_frames, NUM_FEATURES, generator=torch.Generator().manual_seed(0))


def energies(denoiser: Denoiser, motion: Motion, noise: Tensor) -> Tensor:
    """Minus the log-likelihoods of what belongs to a joint, given all of a motion with noise; the mean over levels of noise.

    Args:
        motion: (B, T, ...) of any length, of bodies as large as those that the denoiser knows.
        noise: (L, window, F) of `energy_noise`.
    Returns:
        (B, T, 22) nats. Differentiable.
    """
    num_frames, length = motion.joints.shape[1], denoiser.num_frames
    own, known = padded(motion, exact(motion), length)
    starts = window_starts(own.joints.shape[1], length)
    return joined(_of_windows(denoiser, *cut(own, known, starts, length), noise), starts, num_frames)


def _of_windows(denoiser: Denoiser, motion: Motion, known: Noise, noise: Tensor) -> Tensor:
    x, told, reference = as_seen(denoiser, motion, known)
    sizes = torch.bincount(denoiser.group, minlength=NUM_GROUPS)
    total = torch.zeros_like(told)
    for level, drawn in zip(_LEVELS, noise, strict=True):
        drawn = drawn.expand_as(x)
        # in the axes of the reference, so that a turn of the world changes nothing
        drawn = torch.cat([world_path(drawn[..., PATH], reference), drawn[..., PATH.stop :]], -1)
        expected = denoiser(x + level * drawn, torch.where(told.isfinite(), level, torch.inf), reference)
        apart = mean_of_groups(((x - expected.mean) / expected.std[..., denoiser.group]).square())
        total = total + sizes * (0.5 * apart + expected.std.log())
    return _by_joint(total) / len(_LEVELS)


@uncast
def _by_joint(of_groups: Tensor) -> Tensor:
    """Sums of values of groups (..., G) over those that tell of a joint, without the contacts: (..., 22)."""
    table = (JOINT_OF_GROUP[:, None] == torch.arange(NUM_JOINTS)).to(of_groups)
    return of_groups @ table
