"""What every prior with a density promises beside the rest, checked on every variant of every one in the registry."""

from __future__ import annotations

import copy
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import roma
import torch
from contract_cases import CASES, STEPS, every_density, every_likelihood, prior_of
from prior_cases import conditioned_on_root, make_poses, random_rotations, trained
from torch import Tensor

from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.priors.base import DensityPrior
from pose_priors.priors.conditioning.drawing import drawn_within_pi
from pose_priors.priors.flow_matching import FlowMatching
from pose_priors.priors.joint_flow import JointFlow
from pose_priors.priors.networks.heavy_tails import tails_of


@cache
def _small_density(name: str, joints: tuple[int, ...]) -> DensityPrior:
    """A density over one or two joints that fits them roughly."""
    poses = make_poses(512, spread=0.35)
    prior = trained(CASES[name], joints, STEPS, poses, started_on=poses)
    assert isinstance(prior, DensityPrior)
    return prior


@every_likelihood
def test_reconstruction_of_a_density_is_exact(name: str) -> None:
    prior = prior_of(name)
    double = copy.deepcopy(prior).double()
    # far out, where directions that never moved stand at hundreds of standard deviations, single precision alone would not do
    for model, poses in ((prior, make_poses(50, seed=10)), (double, random_rotations(50).double())):
        there, back = (roma.rotvec_to_rotmat(model.select(p)) for p in (poses, model.reconstruct(poses)))
        assert roma.rotmat_geodesic_distance(there.double(), back.double()).max() < 2e-3


@every_density
def test_log_prob_in_double_precision(name: str) -> None:
    prior, poses = prior_of(name), make_poses(20, seed=11)
    double = copy.deepcopy(prior).double().log_prob(poses.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), prior.log_prob(poses), rtol=1e-3, atol=1e-2)


@every_density
def test_energy_is_the_negative_log_density_exactly_where_it_says_so(name: str) -> None:
    prior, poses = prior_of(name), make_poses(20, seed=11)
    assert isinstance(prior, DensityPrior)
    assert torch.equal(prior.energy(poses), -prior.log_prob(poses)) == prior.energy_is_nll


@every_density
def test_conditional_densities_are_there_where_it_says_so(name: str) -> None:
    prior, poses = prior_of(name), make_poses(5, seed=11)
    assert isinstance(prior, DensityPrior)
    visible = torch.rand(5, NUM_JOINTS, generator=torch.Generator().manual_seed(0)) < 0.5
    if prior.has_conditional_density:
        assert prior.completes
        assert torch.isfinite(prior.log_prob_given(poses, visible)).all()
    else:
        with pytest.raises(ValueError, match="conditional"):
            prior.log_prob_given(poses, visible)


# Densities against Monte-Carlo integrals, where they are cheap enough; those of flow matching are in tests of its own. The proposal is
# written down here, from its definition, and shares no code with the priors.


def _log_wrapped_normal(rotvec: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log-density against normalised Haar measure of exp(w), w normal with diagonal covariance: (N, J, 3) -> (N,).

    The sum over the vectors of one rotation, w (1 + 2 pi k / |w|), of N(w_k) 8 pi^2 |w_k|^2 / (2 - 2 cos |w_k|).
    """
    angle = rotvec.norm(dim=-1)
    terms = []
    for k in (-1, 0, 1):
        longer = angle + 2 * math.pi * k
        vector = rotvec * (longer / angle).unsqueeze(-1)
        log_normal = torch.distributions.Normal(mean, std).log_prob(vector).sum(-1)
        terms.append(log_normal + torch.log(8 * math.pi**2 * longer**2 / (2 - 2 * torch.cos(angle))))
    return torch.logsumexp(torch.stack(terms), 0).sum(-1)


def _draw(num: int, mean: Tensor, std: Tensor, seed: int) -> Tensor:
    """Canonical rotation vectors (num, J, 3) of the wrapped normal, through scipy's own conversion."""
    from scipy.spatial.transform import Rotation

    noise = torch.randn(num, *mean.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    vectors = Rotation.from_rotvec((mean + std * noise).view(-1, 3).numpy()).as_rotvec()
    return torch.from_numpy(vectors).view(num, *mean.shape)


def _as_poses(rotvec: Tensor, joints: tuple[int, ...]) -> Tensor:
    poses = torch.zeros(len(rotvec), NUM_JOINTS, 3)
    poses[:, 0] = torch.tensor([0.1, 0.2, -0.3])  # a root for those that condition on it
    poses[:, list(joints)] = rotvec.float()
    return poses


@every_likelihood
@pytest.mark.parametrize("joints", [(16,), (16, 20)], ids=["one", "two"])
def test_density_integrates_to_one(name: str, joints: tuple[int, ...]) -> None:
    """What flows and Gaussians put beyond pi is lost by design, hence a little less than one is allowed, but not more."""
    prior, num = _small_density(name, joints), 8000
    data = make_poses(2000, spread=0.35)[:, list(joints)].double()
    mean, std = data.mean(0), (1.3 * data.std(0)).clamp_min(0.02)
    wide = [_draw(num, mean, factor * std, seed=seed) for seed, factor in enumerate((1, 2))]
    uniform = random_rotations(num)[:, list(joints)].double()
    # equal thirds of a proposal fitted to the data, a broader one and the uniform distribution, weighted by the balance heuristic
    drawn = torch.cat([*wide, uniform])
    log_proposals = torch.stack(
        [_log_wrapped_normal(drawn, mean, std), _log_wrapped_normal(drawn, mean, 2 * std), torch.zeros(len(drawn), dtype=torch.float64)]
    )
    log_proposal = torch.logsumexp(log_proposals, 0) - math.log(3)
    with torch.no_grad():
        weights = (prior.log_prob(_as_poses(drawn, joints)).double() - log_proposal).exp()
    error = weights.std() / math.sqrt(len(weights))
    assert error < 0.04
    assert 0.95 - 3 * error < weights.mean() < 1 + 3 * error


@every_likelihood
@pytest.mark.parametrize("joints", [(16,), (16, 20)], ids=["one", "two"])
def test_samples_follow_the_density(name: str, joints: tuple[int, ...]) -> None:
    """The mean of g / p over samples of p is the integral of g, one, for any density g that lies within p."""
    prior = _small_density(name, joints)
    samples = prior.sample(8000, torch.Generator().manual_seed(0), defensive=True)
    if conditioned_on_root(prior):
        # given a root unlike any in the data, the flow puts mass beyond pi, which the density leaves out
        root = samples[:, 0]
        samples = samples[(root - root.median(0).values).norm(dim=-1) < 0.8]
    typical = prior.select(samples).double()
    mean, std = typical.median(0).values, 0.6 * typical.std(0)
    with torch.no_grad():
        log_prob = prior.log_prob(samples).double()
    weights = (_log_wrapped_normal(typical, mean, std) - log_prob).exp()
    error = float(weights.std() / math.sqrt(len(weights)))
    assert error < 0.06
    np.testing.assert_allclose(float(weights.mean()), 1, atol=3.5 * error)


def _broad_draws(prior: Any) -> Tensor:
    """(20000, J, 3) of the broad component alone."""
    if not isinstance(prior, FlowMatching):
        drawn: Tensor = prior.defensive.sample(20_000)
        return drawn
    return drawn_within_pi(lambda: (tails_of(torch.randn(20_000, prior.num_features), None),), lambda _, noise: prior.from_noise(noise))


@every_density
def test_the_broad_component_draws_its_share_if_it_is_asked_to_and_nothing_otherwise(name: str) -> None:
    """Random numbers are the same with the switch and without, so that draws which differ are those of the broad component."""
    prior, num = _small_density(name, (16, 20)), 6000
    one = prior.members[0] if name.startswith("ensemble") else prior
    without, with_it = (one.select(one.sample(num, torch.Generator().manual_seed(0), defensive=switch)) for switch in (False, True))
    by_joint = isinstance(one, JointFlow) or name.startswith(("gaussian-diagonal", "gaussian-joint"))
    share = 1 - (1 - one.config.defensive_weight) ** (2 if by_joint else 1)
    is_broad = (without != with_it).flatten(1).any(1)
    np.testing.assert_allclose(float(is_broad.double().mean()), share, atol=4 * math.sqrt(share / num))
    if is_broad.sum() > 50 and not by_joint:
        # they are those of the broad component, not just others
        kept, expected = (x.norm(dim=-1).quantile(0.75, 0) for x in (with_it[is_broad], _broad_draws(one)))
        torch.testing.assert_close(kept, expected, rtol=0.25, atol=0.05)
    if one is not prior:
        drawn = [prior.sample(num, torch.Generator().manual_seed(0), defensive=switch) for switch in (False, True)]
        assert not torch.equal(*drawn)


@every_density
def test_nothing_is_drawn_beyond_pi_and_folded_back(name: str) -> None:
    """A density that is cut at pi has fewer draws there than one that is folded: joints that turn by pi in the data tell which."""
    poses = make_poses(256)
    angle = 2.9 + 0.15 * torch.randn(256, generator=torch.Generator().manual_seed(0))
    poses[:, 16] = torch.stack([angle.clamp_max(3.1), *(0.02 * poses[:, 17, :2].T)], 1)
    prior = trained(CASES[name], (16, 20), 5, poses, started_on=poses)
    if conditioned_on_root(prior):
        poses[:, 0] = 0
    drawn = prior.sample(2000, torch.Generator().manual_seed(0))[:, 16]
    # folding turns a rotation vector round, and all of the data's point to one side
    assert float((drawn[:, 0] < 0).double().mean()) < 0.01
