"""The contract of every prior on rotations of any length, in any type: finite, and what is not finite stays in its row."""

from __future__ import annotations

import contextlib
import copy
import math

import pytest
import torch
from contract_cases import every_density, every_prior, prior_of
from prior_cases import make_poses
from torch import Tensor

from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.priors.base import DensityPrior, Prior

# a representative of each way to compute; the others share it
TYPES = ["float32", "float64", "float16", "bfloat16", "autocast-bfloat16", "autocast-float16", "double prior"]


def hostile(num: int, seed: int = 0) -> Tensor:
    """Poses (., 55, 3) of joints that turn by up to 1e38 rad, by whole and half turns, by nothing and nearly so; double precision."""
    generator = torch.Generator().manual_seed(seed)
    lengths = [10.0**exponent for exponent in (-40, -30, -8, 0, 1, 3, 5, 7, 8, 12, 15, 19, 20, 30, 38)]
    lengths += [math.pi * half_turns for half_turns in (1, 2, 3, 10, 1000, 10**6)]
    axes = torch.randn(len(lengths), num, NUM_JOINTS, 3, generator=generator, dtype=torch.float64)
    axes = axes / torch.linalg.vector_norm(axes, dim=-1, keepdim=True)
    drawn = torch.rand(len(lengths), num, NUM_JOINTS, 1, generator=generator, dtype=torch.float64)
    share = torch.where(torch.tensor([length in lengths[:15] for length in lengths])[:, None, None, None], drawn, 1.0)
    poses = (axes * share * torch.tensor(lengths, dtype=torch.float64)[:, None, None, None]).flatten(0, 1)
    return torch.cat([poses, torch.zeros(1, NUM_JOINTS, 3, dtype=torch.float64)])


def energies(prior: Prior, poses: Tensor, autocast: torch.dtype | None = None) -> list[tuple[Tensor, Tensor]]:
    """(energy, gradient), and of a density whose energy is another thing, the same of its `log_prob`."""
    functions = [prior.energy]
    if isinstance(prior, DensityPrior) and not prior.energy_is_nll:
        functions.append(prior.log_prob)
    found = []
    for function in functions:
        pose = poses.clone().requires_grad_()
        with contextlib.nullcontext() if autocast is None else torch.autocast("cpu", autocast):
            energy = function(pose)
        found.append((energy.detach(), *torch.autograd.grad(energy.sum(), pose)))
    return found


@every_prior
@pytest.mark.parametrize("kind", TYPES)
def test_energy_and_gradient_are_finite_for_any_rotation(name: str, kind: str) -> None:
    prior, autocast = prior_of(name), None
    poses = hostile(1)
    if kind == "double prior":
        prior = copy.deepcopy(prior).double()
        poses = torch.cat([poses, 1e100 * poses, 1e262 * poses])
    elif kind.startswith("autocast-"):
        poses, autocast = poses.float(), getattr(torch, kind.removeprefix("autocast-"))
    else:
        poses = poses.to(getattr(torch, kind))
    poses = poses[poses.isfinite().flatten(1).all(1)]
    for energy, gradient in energies(prior, poses, autocast):
        assert energy.isfinite().all()
        assert gradient.isfinite().all()


@every_prior
def test_what_is_not_finite_stays_in_its_row(name: str) -> None:
    prior, poses = prior_of(name), make_poses(7, seed=1)
    broken = poses.clone()
    broken[1] = math.nan
    broken[2, 30, 0] = math.inf
    broken[4, 45] = -math.inf
    broken[5, 1, 2] = math.nan
    whole = [0, 3, 6]
    for (energy, gradient), (expected, _) in zip(energies(prior, broken), energies(prior, poses), strict=True):
        torch.testing.assert_close(energy[whole], expected[whole], rtol=1e-4, atol=1e-3)
        assert gradient[whole].isfinite().all()
        assert energy[1].isnan()


@every_prior
@pytest.mark.parametrize("autocast", [torch.bfloat16, torch.float16])
def test_half_precision_of_networks_alone_hardly_moves_the_energy(name: str, autocast: torch.dtype) -> None:
    prior, poses = prior_of(name), make_poses(12, seed=3)
    for (half, _), (energy, _) in zip(energies(prior, poses, autocast), energies(prior, poses), strict=True):
        assert half.dtype == torch.float32
        assert (half - energy).abs().median() < 0.02 * energy.abs().median() + 1


@every_density
def test_log_prob_of_rotations_beyond_a_turn_is_that_of_the_same_rotation(name: str) -> None:
    prior, poses = prior_of(name), make_poses(5, seed=1).double()
    assert isinstance(prior, DensityPrior)
    # in double precision, for in single nothing is left of the angle
    turned = poses * (1 + 2 * math.pi * 1e6 / torch.linalg.vector_norm(poses, dim=-1, keepdim=True).clamp_min(1e-3))
    turned = torch.where(torch.linalg.vector_norm(poses, dim=-1, keepdim=True) > 1e-3, turned, poses)
    torch.testing.assert_close(prior.log_prob(turned), prior.log_prob(poses), rtol=1e-3, atol=5e-2)
