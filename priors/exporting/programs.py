"""What of a prior becomes a program of its own: its energy with the gradient, its posterior means under noise, its draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.configs.base import UserError
from pose_priors.priors.base import Prior
from pose_priors.priors.conditioning.drawing import DrawnFromNoise

# Rows of what programs are traced with: as many as nothing else is.
_NUM_ROWS = 97


@dataclass(frozen=True)
class Program:
    """A function of one tensor whose first dimension is a batch.

    Attributes:
        name: of its file, without the ending.
        function: from `example`, or as many rows of it as one likes, to one tensor for each of `outputs`.
        input: its name, `pose` (N, 55, 3) or `noise` (N, D).
        outputs: their names.
        says: what it gives, in words.
        std: the noise in radians that it was made for.
    """

    name: str
    function: Callable[[Tensor], tuple[Tensor, ...]]
    input: str
    example: Tensor
    outputs: tuple[str, ...]
    says: str
    std: float | None = None


def programs_of(prior: Prior, stds: Sequence[float] | None) -> tuple[list[Program], list[str]]:
    """The programs of a prior, and, in words, those that it has not.

    Args:
        stds: noise in radians of programs that denoise; None for 0.1, if the prior denoises at all.
    Raises:
        UserError: if noise is asked for of a prior that does not denoise, or is none.
    """
    of = prior.default_pose
    pose = 0.1 * torch.randn(_NUM_ROWS, NUM_JOINTS, 3, generator=torch.Generator().manual_seed(0), dtype=of.dtype)
    found, missing = [_energy_of(prior, pose)], []
    for std in stds or [0.1]:
        if not 0 < std < math.inf:
            raise UserError(f"--std {std}: expected standard deviations in radians, above 0")
        try:
            prior.denoise(pose, std)
        except ValueError as error:
            if stds:
                raise UserError(f"--std: {error}") from error
            missing.append(f"denoise: {error}")
            continue
        found.append(_denoiser_of(prior, pose, std))
    if isinstance(prior, DrawnFromNoise) and prior.num_noise:
        found.append(_sampler_of(prior, torch.zeros(_NUM_ROWS, prior.num_noise, dtype=of.dtype)))
    else:
        missing.append(f"sample: draws of this {type(prior).__name__} are no map of normal noise alone; draw them with `load_prior`")
    return found, missing


def _energy_of(prior: Prior, pose: Tensor) -> Program:
    def energy(at: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            point = at.detach().requires_grad_()
            value = prior.energy(point)
            (gradient,) = torch.autograd.grad(value.sum(), point)
        return value.detach(), gradient

    said = "the energy of each pose in nats, and its gradient"
    return Program("energy", energy, "pose", pose, ("energy", "gradient"), said)


def _denoiser_of(prior: Prior, pose: Tensor, std: float) -> Program:
    @torch.no_grad()
    def denoise(seen: Tensor) -> tuple[Tensor]:
        return (prior.denoise(seen, std),)

    said = f"the posterior mean of poses seen with normal noise of {std:g} rad about each axis"
    return Program(f"denoise_{std:g}", denoise, "pose", pose, ("denoised",), said, std)


def _sampler_of(prior: Prior, noise: Tensor) -> Program:
    assert isinstance(prior, DrawnFromNoise)

    @torch.no_grad()
    def sample(normal: Tensor) -> tuple[Tensor, Tensor]:
        rotvec = prior.from_noise(normal)
        return prior.expand(rotvec), (torch.linalg.vector_norm(rotvec, dim=-1) <= math.pi).all(-1)

    said = "poses from standard normal noise, and whether each is a draw: where it is none, give other noise"
    return Program("sample", sample, "noise", noise, ("pose", "is_draw"), said)
