"""The mixture prior: its conditionals, posteriors and smoothing against brute force over the kernels that it is made of."""

from __future__ import annotations

import copy
import math
from functools import cache

import pytest
import roma
import torch
from prior_cases import make_poses, random_rotations
from torch import Tensor

from pose_priors.body.rotations import haar_correction
from pose_priors.priors.mixture import Mixture, MixtureConfig

JOINTS = (16, 18, 20)
CONFIG = MixtureConfig(kind="mixture", num_components=[3, 2], widths=[0.6, 1.0], covariance_floors=[1e-3])


@cache
def _prior() -> Mixture:
    prior = MixtureConfig.build(CONFIG, JOINTS)
    prior.fit_statistics(make_poses(400))
    return prior.double().eval().requires_grad_(False)


def _normals(prior: Mixture) -> tuple[Tensor, Tensor, Tensor]:
    """Every kernel by its definition: weights (n,), means (n, D), covariances (n, D, D)."""
    kernels = prior.kernels
    shares = kernels.log_share.flatten().softmax(-1).view_as(kernels.log_share)
    weights, means, covariances = [], [], []
    for group, of_clustering in zip(kernels.group, shares, strict=True):
        for share, width in zip(of_clustering, kernels.widths, strict=True):
            mean = kernels.mean[group]
            means.append(mean + math.sqrt(1 - width**2) * (kernels.centres - mean) + kernels.shift)
            covariances.append(width**2 * (kernels.root @ kernels.root.mT)[group])
            weights.append(share.expand(len(group)) / len(group))
    return torch.cat(weights), torch.cat(means), torch.cat(covariances)


def _flat(pose: Tensor) -> Tensor:
    return pose[:, list(JOINTS)].flatten(1)


def _log_densities(x: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
    """(B, D) -> (B, n)."""
    return torch.distributions.MultivariateNormal(means, covariances).log_prob(x[:, None])


def _seen(std: float | None = None) -> Tensor:
    """Poses near the data, with noise."""
    poses = make_poses(5, seed=3).double()
    return poses if std is None else poses + std * torch.randn(poses.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_density_is_that_of_its_kernels() -> None:
    prior, poses = _prior(), _seen()
    weights, means, covariances = _normals(prior)
    log_density = torch.logsumexp(_log_densities(_flat(poses), means, covariances) + weights.log(), -1)
    haar = log_density + haar_correction(poses[:, list(JOINTS)]).sum(-1)
    broad = prior.defensive.log_prob(poses[:, list(JOINTS)]).sum(-1)
    share = CONFIG.defensive_weight
    torch.testing.assert_close(prior.log_prob(poses), torch.log((1 - share) * haar.exp() + share * broad.exp()))


def test_smoothed_energy_is_that_of_kernels_with_the_noise_in_their_covariance() -> None:
    prior, poses, noise = _prior(), _seen(), 0.3
    weights, means, covariances = _normals(prior)
    wider = covariances + noise**2 * torch.eye(9, dtype=torch.float64)
    haar = torch.logsumexp(_log_densities(_flat(poses), means, wider) + weights.log(), -1) + haar_correction(poses[:, list(JOINTS)]).sum(-1)
    broad = prior.defensive.log_prob(poses[:, list(JOINTS)]).sum(-1)
    expected = torch.log(0.99 * haar.exp() + 0.01 * broad.exp())
    torch.testing.assert_close(prior.energy(poses, noise=noise), -expected)
    assert torch.equal(prior.energy(poses, noise=0.0), -prior.log_prob(poses))


def test_noise_makes_a_pose_that_is_off_likelier() -> None:
    prior, poses = _prior(), _seen(0.4)
    assert (prior.energy(poses, noise=0.4) < prior.energy(poses)).all()


@pytest.mark.parametrize("by", ["number", "joint", "axis", "pose"])
def test_denoising_is_the_posterior_mean_of_the_kernels(by: str) -> None:
    prior, seen = _prior(), _seen(0.3)
    of_axes = torch.full((55, 3), 0.3)
    if by != "number":
        of_axes[16], of_axes[18] = 0.1, 0.5
    if by in ("axis", "pose"):
        of_axes[20] = torch.tensor([0.2, 0.4, 0.3])
    std: float | Tensor = {"number": 0.3, "joint": of_axes[:, 0], "axis": of_axes, "pose": of_axes.expand(5, 55, 3)}[by]
    weights, means, covariances = _normals(prior)
    noise = of_axes[list(JOINTS)].flatten().double().square().diag()
    share = torch.softmax(_log_densities(_flat(seen), means, covariances + noise) + weights.log(), -1)
    gain = covariances @ torch.linalg.inv(covariances + noise)
    posterior = means + torch.einsum("nxy,bny->bnx", gain, _flat(seen)[:, None] - means)
    # rotation vectors this close to each other average as rotations do, nearly
    expected = torch.einsum("bn,bnx->bx", share, posterior).view(5, 3, 3)
    found = prior.denoise(seen, std)
    off = roma.rotmat_geodesic_distance(*(roma.rotvec_to_rotmat(value) for value in (found[:, list(JOINTS)], expected)))
    assert off.max() < math.radians(1)
    others = [i for i in range(55) if i not in JOINTS]
    assert torch.equal(found[:, others], seen[:, others])


def test_denoising_takes_away_noise_and_leaves_what_is_certain() -> None:
    prior, truth = _prior(), make_poses(300, seed=5).double()
    seen = truth + 0.3 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    error = [(value - truth)[:, list(JOINTS)].norm(dim=-1).mean() for value in (prior.denoise(seen, 0.3), seen)]
    assert error[0] < 0.8 * error[1]
    torch.testing.assert_close(prior.denoise(truth, 0.0), truth, atol=1e-6, rtol=0)


def test_what_was_not_seen_is_completed() -> None:
    prior, seen = _prior(), _seen()
    std = torch.zeros(55)
    std[20] = math.inf
    visible = torch.ones(5, 55, dtype=torch.bool)
    visible[:, 20] = False
    torch.testing.assert_close(prior.denoise(seen, std), prior.complete_point(seen, visible), atol=1e-5, rtol=0)


def test_denoising_is_differentiable_and_takes_any_batch() -> None:
    prior, seen = _prior(), _seen(0.3)
    pose = seen.clone().requires_grad_()
    turn = torch.randn(seen.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((prior.denoise(pose, 0.3) * turn).sum(), pose)
    step = 1e-6
    slope = ((prior.denoise(seen + step * turn, 0.3) - prior.denoise(seen - step * turn, 0.3)) * turn).sum() / (2 * step)
    torch.testing.assert_close((gradient * turn).sum(), slope, rtol=1e-4, atol=1e-4)
    assert prior.denoise(seen[0], 0.3).shape == (55, 3)
    torch.testing.assert_close(prior.denoise(seen[None], 0.3)[0], prior.denoise(seen, 0.3))


def test_completions_follow_the_conditional_of_the_kernels() -> None:
    prior, pose = _prior(), _seen()[:1]
    visible = torch.ones(1, 55, dtype=torch.bool)
    visible[:, 20] = False
    num = 4000
    drawn = prior.complete(pose.expand(num, -1, -1), visible.expand(num, -1), torch.Generator().manual_seed(0))
    assert torch.equal(drawn[:, :20], pose[:, :20].expand(num, -1, -1))
    weights, means, covariances = _normals(prior)
    v, h = slice(0, 6), slice(6, 9)
    share = torch.softmax(_log_densities(_flat(pose)[:, v], means[:, v], covariances[:, v, v]) + weights.log(), -1)[0]
    gain = covariances[:, h, v] @ torch.linalg.inv(covariances[:, v, v])
    of_kernels = means[:, h] + torch.einsum("nxy,ny->nx", gain, _flat(pose)[:, v] - means[:, v])
    within = covariances[:, h, h] - gain @ covariances[:, v, h]
    mean = share @ of_kernels
    covariance = torch.einsum("n,nxy->xy", share, within + (of_kernels - mean)[:, :, None] * (of_kernels - mean)[:, None])
    sampled = drawn[:, 20]
    error = (sampled.mean(0) - mean) / (covariance.diagonal() / num).sqrt()
    assert error.abs().max() < 4
    assert torch.linalg.matrix_norm(torch.cov(sampled.T) - covariance) < 0.1 * torch.linalg.matrix_norm(covariance)
    point = prior.complete_point(pose, visible)
    assert torch.equal(point[:, :20], pose[:, :20])
    torch.testing.assert_close(point[0, 20], mean, atol=0.05, rtol=0)
    # masks and batches of any shape, as `complete` takes them
    assert torch.equal(prior.complete_point(pose[0], visible[0]), point[0])
    torch.testing.assert_close(prior.complete_point(pose.expand(2, 1, -1, -1), visible[0]), point.expand(2, 1, -1, -1))


def test_conditional_densities_integrate_to_one_and_are_a_quotient() -> None:
    prior, pose = _prior(), _seen()[:1]
    visible = torch.ones(1, 55, dtype=torch.bool)
    visible[:, 20] = False
    rotations = random_rotations(20_000)[:, 20].double()
    # draws from the conditional and from everywhere, weighted by the balance heuristic
    drawn = prior.complete(pose.expand(5000, -1, -1), visible.expand(5000, -1), torch.Generator().manual_seed(0))[:, 20]
    mean, spread = drawn.mean(0), 1.5 * drawn.std(0)
    normal = torch.distributions.Normal(mean, spread)
    wide = mean + spread * torch.randn(20_000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wide = wide[wide.norm(dim=-1) < math.pi]
    candidates = torch.cat([wide, rotations])
    proposal = torch.logaddexp(normal.log_prob(candidates).sum(-1) + haar_correction(candidates), torch.zeros(len(candidates))) - math.log(
        2
    )
    poses = pose.repeat(len(candidates), 1, 1)
    poses[:, 20] = candidates
    weights = (prior.log_prob_given(poses, visible.expand(len(poses), -1)) - proposal).exp()
    assert abs(weights.mean() - 1) < 4 * weights.std() / math.sqrt(len(weights)) + 0.01
    nothing = torch.zeros_like(visible)
    torch.testing.assert_close(prior.log_prob_given(pose, nothing), prior.log_prob(pose))
    torch.testing.assert_close(prior.log_prob_given(pose, ~nothing), torch.zeros(1, dtype=torch.float64))


def test_hidden_joints_do_not_matter_and_rows_have_their_own() -> None:
    prior, poses = _prior(), _seen()
    visible = torch.ones(5, 55, dtype=torch.bool)
    visible[::2, 16] = False
    visible[3] = False
    changed = torch.where(visible.unsqueeze(-1), poses, random_rotations(5).double())
    one, other = (prior.complete(pose, visible, torch.Generator().manual_seed(0)) for pose in (poses, changed))
    learnt = list(JOINTS)
    assert torch.equal(one[:, learnt], other[:, learnt])
    torch.testing.assert_close(prior.complete_point(poses, visible)[:, learnt], prior.complete_point(changed, visible)[:, learnt])
    assert (one[::2, 16] != poses[::2, 16]).all()


def test_samples_and_density_agree_and_the_broad_component_is_drawn_only_if_asked_for() -> None:
    prior = MixtureConfig(kind="mixture", num_components=[3], widths=[0.6, 1.0], defensive_weight=0.5).build(JOINTS)
    prior.fit_statistics(make_poses(300))
    plain, defended = (prior.sample(2000, torch.Generator().manual_seed(0), defensive=value) for value in (False, True))
    far = [(prior.energy(poses) > prior.energy(prior.sample(2000)).max()).float().mean() for poses in (plain, defended)]
    assert far[0] < 0.01 < 0.05 < far[1]


def test_a_pose_in_training_does_not_see_its_own_kernel() -> None:
    prior, poses = copy.deepcopy(_prior()).float(), make_poses(400)
    prior.requires_grad_(True)
    with torch.no_grad():
        held_in, left_out = (prior.train(mode).loss(poses[:100])["nll"] for mode in (False, True))
    assert left_out > held_in + 0.1
    fresh = make_poses(100, seed=8)
    with torch.no_grad():
        torch.testing.assert_close(prior.train().loss(fresh)["nll"], prior.eval().loss(fresh)["nll"])


def test_fitting_is_reproducible_and_leaves_the_generator_alone() -> None:
    fitted = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        prior = CONFIG.build(JOINTS)
        prior.fit_statistics(make_poses(200))
        assert torch.equal(torch.get_rng_state(), state)
        fitted.append(prior.state_dict())
    assert all(torch.equal(fitted[0][key], fitted[1][key]) for key in fitted[0])


def test_no_more_poses_are_kept_than_asked_for() -> None:
    prior = MixtureConfig(kind="mixture", num_components=[2], max_centres=50).build(JOINTS)
    prior.fit_statistics(make_poses(300))
    assert prior.kernels.centres.shape == (50, 9)


@pytest.mark.parametrize("num", [1, 2, 7])
def test_few_poses_do_not_break_it(num: int) -> None:
    prior = CONFIG.build(JOINTS)
    prior.fit_statistics(make_poses(num))
    prior.check_finite()
    assert torch.isfinite(prior.energy(random_rotations(20))).all()
    assert torch.isfinite(prior.sample(5)).all()


@pytest.mark.parametrize("angle", [math.pi, 1e3, 1e7])
def test_everything_is_finite_far_from_anything(angle: float) -> None:
    prior = copy.deepcopy(_prior()).float()
    pose = angle * torch.nn.functional.normalize(torch.randn(20, 55, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    pose.requires_grad_()
    for value in (prior.energy(pose), prior.energy(pose, noise=0.2), prior.denoise(pose, 0.1)[:, list(JOINTS)]):
        assert torch.isfinite(value).all()
        (gradient,) = torch.autograd.grad(value.sum(), pose)
        assert torch.isfinite(gradient).all()


def test_no_poses_are_no_problem() -> None:
    prior, none = copy.deepcopy(_prior()).float(), torch.zeros(0, 55, 3)
    visible = torch.ones(0, 55, dtype=torch.bool)
    assert prior.energy(none).shape == prior.energy(none, noise=0.1).shape == prior.log_prob_given(none, visible).shape == (0,)
    assert prior.denoise(none, 0.1).shape == prior.complete(none, visible).shape == prior.sample(0).shape == (0, 55, 3)


@pytest.mark.parametrize("std", [-0.1, math.nan])
def test_noise_is_a_standard_deviation(std: float) -> None:
    prior = _prior()
    with pytest.raises(ValueError, match="radians"):
        prior.energy(_seen(), noise=std)
    with pytest.raises(ValueError, match="radians"):
        prior.denoise(_seen(), std)


def test_gradients_of_many_poses_are_those_of_few() -> None:
    prior, poses = copy.deepcopy(_prior()).float(), make_poses(600, seed=4)
    gradients = []
    for parts in ([poses], poses.split(100)):
        of_parts = []
        for part in parts:
            pose = part.clone().requires_grad_()
            of_parts.append(torch.autograd.grad(prior.energy(pose).sum(), pose)[0])
        gradients.append(torch.cat(of_parts))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-3)


def test_widths_that_data_do_not_ask_for_get_no_share() -> None:
    """Poses of one Gaussian: kernels narrower than it only remember."""
    poses = torch.zeros(600, 55, 3)
    poses[:, list(JOINTS)] = 0.3 * torch.randn(600, 3, 3, generator=torch.Generator().manual_seed(0))
    prior = MixtureConfig(kind="mixture", num_components=[1], widths=[0.2, 1.0]).build(JOINTS)
    prior.fit_statistics(poses)
    assert prior.kernels.log_share.softmax(-1)[0, 1] > 0.9
