"""The Gaussian prior against torch's distributions and an explicit change of measure."""

from __future__ import annotations

import math

import pytest
import torch
from prior_cases import HINGES, make_poses
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from pose_priors.priors.gaussian import Covariance, Gaussian, GaussianConfig
from pose_priors.priors.standardize import MIN_STD

JOINTS = (1, 2, 16, 20)


def _gaussian(covariance: Covariance, poses: Tensor, joints: tuple[int, ...] = JOINTS, weight: float = 1e-30) -> Gaussian:
    prior = GaussianConfig(kind="gaussian", covariance=covariance, defensive_weight=weight).build(joints).double()
    prior.fit_statistics(poses.double())
    return prior


def _log_haar(rotvec: Tensor) -> Tensor:
    """Log-volume of the unit of rotation vectors as a share of SO(3): (..., J, 3) -> (...), by (2 - 2 cos a) / a^2 / (8 pi^2)."""
    angle = rotvec.norm(dim=-1)
    return torch.log((2 - 2 * torch.cos(angle)) / angle**2 / (8 * math.pi**2)).sum(-1)


@pytest.mark.parametrize("covariance", ["diagonal", "joint", "full"])
def test_it_starts_as_the_normal_of_the_moments(covariance: Covariance) -> None:
    poses = make_poses(2000).double()
    rotvec = poses[:, list(JOINTS)]
    held_out = make_poses(50, seed=1).double()
    query = held_out[:, list(JOINTS)]
    if covariance == "diagonal":
        expected = Normal(rotvec.mean(0), rotvec.std(0)).log_prob(query).sum((-1, -2))
    else:
        blocks, at = (rotvec, query) if covariance == "joint" else (rotvec.flatten(1)[:, None], query.flatten(1)[:, None])
        expected = sum(
            MultivariateNormal(blocks[:, g].mean(0), torch.cov(blocks[:, g].T)).log_prob(at[:, g]) for g in range(blocks.shape[1])
        )
    torch.testing.assert_close(_gaussian(covariance, poses).log_prob(held_out), expected - _log_haar(query), rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("covariance", ["diagonal", "joint", "full"])
def test_samples_have_the_moments_of_the_data(covariance: Covariance) -> None:
    poses = make_poses(4000)
    prior = _gaussian(covariance, poses).float()
    samples = prior.sample(20_000, torch.Generator().manual_seed(0))
    ours, theirs = (torch.cov(p[:, list(JOINTS)].flatten(1).T) for p in (samples, poses))
    torch.testing.assert_close(samples[:, list(JOINTS)].mean(0), poses[:, list(JOINTS)].mean(0), rtol=0, atol=0.02)
    allowed = {"diagonal": torch.eye(12), "joint": torch.block_diag(*[torch.ones(3, 3)] * 4), "full": torch.ones(12, 12)}[covariance]
    torch.testing.assert_close(ours, theirs * allowed, rtol=0, atol=0.02)
    assert (theirs * (1 - torch.eye(12))).abs().max() > 0.1


def test_more_covariance_fits_better() -> None:
    poses, held_out = make_poses(4000), make_poses(1000, seed=1).double()
    nll = [float(-_gaussian(c, poses).log_prob(held_out).mean()) for c in ("diagonal", "joint", "full")]
    assert nll[0] > nll[1] + 0.05
    assert nll[1] > nll[2] + 0.5


@pytest.mark.parametrize("covariance", ["diagonal", "joint", "full"])
def test_the_broad_component_takes_its_share(covariance: Covariance) -> None:
    """Far out the Gaussian is nothing and the broad component's weight is all that remains: once a joint, or once a pose where full."""
    poses = make_poses(500)
    far = torch.zeros(1, 55, 3, dtype=torch.float64)
    far[:, list(JOINTS)] = torch.tensor([-2.0, 2.0, -1.0], dtype=torch.float64)
    small, large = (_gaussian(covariance, poses, weight=w).log_prob(far) for w in (1e-4, 1e-2))
    times = 1 if covariance == "full" else len(JOINTS)
    assert float(large - small) == pytest.approx(times * math.log(100), rel=1e-3)


@pytest.mark.parametrize("covariance", ["diagonal", "joint", "full"])
def test_a_direction_that_does_not_move_keeps_some_width(covariance: Covariance) -> None:
    """A hinge is no singularity: a third of a degree off its axis, the spread that counts as none, costs a nat at most."""
    poses = make_poses(500)
    prior = _gaussian(covariance, poses, joints=HINGES)
    on, off = (poses.median(0).values.double().unsqueeze(0).clone() for _ in range(2))
    off[:, HINGES[0], 1] += MIN_STD
    assert 0.3 < float(prior.energy(off) - prior.energy(on)) < 1


def test_the_start_is_the_maximum_of_the_likelihood() -> None:
    poses = make_poses(2000)
    prior = _gaussian("full", poses)
    prior.loss(poses.double())["loss"].backward()
    assert max(float(p.grad.abs().max()) for p in prior.parameters()) < 1e-2
