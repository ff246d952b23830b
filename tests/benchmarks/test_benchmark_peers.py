"""The baselines: mixtures' densities and conditionals by other routes to the same numbers, and VPoser as its paper describes it."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from benchmark_cases import mixture, poses_of, small_data, uniform_poses
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from torch import Tensor

from pose_priors.benchmarks.priors.gmm import Mixture, fit_gaussian, fit_gmm, fit_ppca, read_smplify_gmm
from pose_priors.benchmarks.priors.vposer import VPoser, VPoserNetwork, train_vposer
from pose_priors.body.rotations import LOG_HAAR_VOLUME, log_abs_det_exp
from pose_priors.configs.base import UserError

JOINTS = (1, 16, 18)


@pytest.fixture(scope="module")
def vposer() -> VPoser:
    return train_vposer("VPoser", small_data(JOINTS))


def _flat_log_prob(of: Mixture, flat: np.ndarray, components: list[int]) -> np.ndarray:
    """Log-density of some components in rotation vectors, by scipy."""
    grid = np.ix_(components, components)
    each = [
        np.log(weight) + multivariate_normal(mean[components], covariance[grid]).logpdf(flat)
        for weight, mean, covariance in zip(of.weights.numpy(), of.means.numpy(), of.covariances.numpy(), strict=True)
    ]
    return np.logaddexp.reduce(each)


def _haar(pose: Tensor, joints: tuple[int, ...]) -> Tensor:
    return (LOG_HAAR_VOLUME - log_abs_det_exp(pose[:, list(joints)])).sum(-1)


def test_log_prob_and_marginals_against_scipy() -> None:
    prior, poses = mixture(JOINTS), poses_of(JOINTS, 20)
    flat = poses[:, list(JOINTS)].flatten(1).numpy()
    expected = torch.from_numpy(_flat_log_prob(prior, flat, list(range(9)))) + _haar(poses, JOINTS)
    torch.testing.assert_close(prior.log_prob(poses), expected)
    of_two = torch.from_numpy(_flat_log_prob(prior, flat[:, [0, 1, 2, 6, 7, 8]], [0, 1, 2, 6, 7, 8])) + _haar(poses, (1, 18))
    torch.testing.assert_close(prior.marginal_log_prob(poses, (1, 18)), of_two)


def test_a_conditional_density_integrates_to_one_over_all_rotations() -> None:
    prior = mixture((1, 16), spread=0.7)
    poses = poses_of((1, 16), 1).expand(60_000, -1, -1).clone()
    poses[:, 16] = uniform_poses(60_000)[:, 16]  # uniform rotations average a density against normalised Haar measure
    density = prior.conditional_log_prob(poses, [16]).exp()
    error = float(density.std()) / math.sqrt(len(density))
    assert error < 0.05
    assert float(density.mean()) == pytest.approx(1, abs=4 * error)


def test_conditional_draws_and_mean_against_integration_on_a_grid() -> None:
    prior, seen = mixture((1, 16), num_components=2), poses_of((1, 16), 2, seed=5)
    axis = torch.linspace(-3, 3, 61, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis, axis)
    draws = prior.complete(seen, [16], 10_000, torch.Generator().manual_seed(0))
    point = prior.complete_point(seen, [16])
    for row, pose in enumerate(seen):
        pairs = torch.cat([pose[1].expand(len(grid), 3), grid], 1).numpy()
        weight = torch.from_numpy(np.exp(_flat_log_prob(prior, pairs, list(range(6)))))
        weight = weight / weight.sum()
        mean = weight @ grid
        covariance = (grid - mean).T * weight @ (grid - mean)
        torch.testing.assert_close(point[row, 16], mean, atol=1e-3, rtol=0)
        drawn = draws[:, row, 16]
        spread = covariance.diagonal().sqrt()
        assert ((drawn.mean(0) - mean).abs() < 4.5 * spread / math.sqrt(len(drawn))).all()
        torch.testing.assert_close(torch.cov(drawn.T), covariance, atol=0.05 * float(covariance.diagonal().max()), rtol=0)
    others = [joint for joint in range(55) if joint != 16]
    assert torch.equal(draws[:, :, others], seen[:, others].expand(10_000, -1, -1, -1))


def test_the_hidden_joints_are_not_looked_at() -> None:
    prior, poses = mixture(JOINTS), poses_of(JOINTS, 5)
    changed = poses.clone()
    changed[:, 16] = 1.0
    assert torch.equal(prior.complete_point(poses, [16]), prior.complete_point(changed, [16]))
    first, second = (prior.complete(given, [16], 3, torch.Generator().manual_seed(0)) for given in (poses, changed))
    assert torch.equal(first, second)


def test_samples_have_the_moments_of_the_mixture() -> None:
    prior = mixture(JOINTS)
    flat = prior.select(prior.sample(40_000, torch.Generator().manual_seed(0))).flatten(1)
    mean = prior.weights @ prior.means
    shift = prior.means - mean
    covariance = torch.einsum("k,kij->ij", prior.weights, prior.covariances + shift.unsqueeze(2) * shift.unsqueeze(1))
    torch.testing.assert_close(flat.mean(0), mean, atol=0.015, rtol=0)
    torch.testing.assert_close(torch.cov(flat.T), covariance, atol=0.01, rtol=0)


def test_energies_are_finite_with_finite_gradients_for_all_rotations(vposer: VPoser) -> None:
    data = small_data(JOINTS)
    poses = torch.cat([torch.zeros(1, 55, 3, dtype=torch.float64), uniform_poses(200), torch.tensor([math.pi, 0, 0]).expand(1, 55, 3)])
    poses = torch.cat([poses, 3 * poses]).requires_grad_()
    for candidate in (mixture(JOINTS), fit_ppca("PPCA", data), vposer):
        energy = candidate.energy(poses)
        (gradient,) = torch.autograd.grad(energy.sum(), poses)
        assert torch.isfinite(energy).all()
        assert torch.isfinite(gradient).all()


def test_ppca_against_scikit_learn() -> None:
    data = small_data(JOINTS)
    prior = fit_ppca("PPCA", data)
    num = int(prior.name.removeprefix("PPCA-"))
    flat, held_out = (poses[:, list(JOINTS)].flatten(1).numpy() for poses in (data.train, data.val))
    scores = {n: PCA(n).fit(flat).score(held_out) for n in range(1, 9)}
    assert scores[num] == max(scores.values())
    covariance = np.cov(flat, rowvar=False, bias=True)  # scikit-learn divides by one row less
    expected = PCA(num).fit(flat).get_covariance() * (len(flat) - 1) / len(flat)
    torch.testing.assert_close(prior.covariances[0], torch.from_numpy(expected))
    assert np.trace(expected) == pytest.approx(np.trace(covariance))


def test_gaussians_correlate_within_their_blocks_only() -> None:
    data = small_data(JOINTS)
    flat = data.train[:, list(JOINTS)].flatten(1).numpy()
    full = np.cov(flat, rowvar=False, bias=True) + 1e-5 * np.eye(9)
    masks = {"components": np.eye(9), "joints": np.kron(np.eye(3), np.ones((3, 3))), "pose": np.ones((9, 9))}
    nll = {}
    for blocks, mask in masks.items():
        prior = fit_gaussian(blocks, data, blocks)
        expected = multivariate_normal(flat.mean(0), full * mask).logpdf(flat)
        torch.testing.assert_close(prior.log_prob(data.train), torch.from_numpy(expected) + _haar(data.train, JOINTS))
        nll[blocks] = float(prior.energies(data.train).mean())
    assert nll["pose"] < nll["joints"] < nll["components"]


def test_a_fitted_mixture_beats_one_gaussian() -> None:
    data = small_data(JOINTS, 600)
    one, three = fit_gmm("GMM-1", data, 1), fit_gmm("GMM-3", data, 3)
    assert float(three.energies(data.test).mean()) < float(one.energies(data.test).mean()) - 0.5
    torch.testing.assert_close(one.log_prob(data.test), fit_gaussian("full", data, "pose").log_prob(data.test))


@pytest.fixture
def smplify(tmp_path: Path) -> Path:
    """A file like SMPLify's: 23 joints, weights (1, K)."""
    everything = mixture(tuple(range(1, 24)), num_components=2)
    content = {"means": everything.means.numpy(), "covars": everything.covariances.numpy(), "weights": everything.weights.numpy()[None]}
    path = tmp_path / "gmm_02.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


def test_smplifys_mixture_is_read_as_its_marginal(smplify: Path) -> None:
    joints = (2, 16, 21)
    read = read_smplify_gmm("SMPLify", small_data(joints), smplify)
    poses = poses_of(tuple(range(1, 24)), 10)
    expected = mixture(tuple(range(1, 24)), num_components=2).marginal_log_prob(poses, joints)
    torch.testing.assert_close(read.log_prob(poses), expected)


def test_other_files_are_refused(smplify: Path, tmp_path: Path) -> None:
    data = small_data((2, 16))
    other = tmp_path / "other.pkl"
    other.write_bytes(pickle.dumps({"means": np.zeros((2, 9)), "covars": np.zeros((2, 9, 9)), "weights": np.ones(2)}))
    empty = tmp_path / "empty.pkl"
    empty.write_bytes(pickle.dumps([1, 2]))
    with_finger = small_data((2, 30))
    for given, path in ((data, tmp_path / "none.pkl"), (data, other), (data, empty), (with_finger, smplify)):
        with pytest.raises(UserError, match="--smplify-gmm") as caught:
            read_smplify_gmm("SMPLify", given, path)
        assert "\n" not in str(caught.value)


def test_vposer_is_as_large_as_published_and_decodes_to_rotations() -> None:
    torch.manual_seed(0)
    network = VPoserNetwork(21)
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(0.94e6, rel=0.02)
    rotation = network.decode(torch.randn(7, 32))
    assert rotation.shape == (7, 21, 3, 3)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(7, 21, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(7, 21))


def test_vposers_losses_against_their_definition() -> None:
    torch.manual_seed(0)
    network = VPoserNetwork(2).eval()
    rotvec = 0.5 * torch.randn(5, 2, 3)
    angle, kl = network.losses(rotvec, sampled=False)
    posterior = network.encode(rotvec)
    decoded = network.decode(posterior.mean)
    torch.testing.assert_close(angle, roma.rotmat_geodesic_distance(decoded, roma.rotvec_to_rotmat(rotvec)).mean(-1), atol=1e-4, rtol=1e-4)
    variance = posterior.stddev.square()
    torch.testing.assert_close(kl, (variance + posterior.mean.square() - 1 - variance.log()).sum(-1) / 2)


def test_a_trained_vposer_reconstructs_knows_wrong_poses_and_completes(vposer: VPoser) -> None:
    data = small_data(JOINTS)
    real = data.test[:, list(JOINTS)]
    there = roma.rotvec_to_rotmat(real)
    back = vposer.network.decode(vposer.network.encode(real.float()).mean).double()
    mean = roma.rotvec_to_rotmat(data.train[:, list(JOINTS)].mean(0))
    assert roma.rotmat_geodesic_distance(there, back).mean() < 0.6 * roma.rotmat_geodesic_distance(there, mean).mean()
    assert vposer.energies(data.test).median() < vposer.energies(uniform_poses(200)).median()
    hidden, given = [18], data.test[:30]
    drawn = vposer.complete(given, hidden, 4, torch.Generator().manual_seed(0))
    assert drawn.shape == (4, 30, 55, 3)
    others = [joint for joint in range(55) if joint not in hidden]
    assert torch.equal(drawn[:, :, others], given[:, others].expand(4, -1, -1, -1))
    assert drawn[:, :, 18].std(0).min() > 0
    point = vposer.complete_point(given, hidden)
    assert (point[:, 18] - given[:, 18]).norm(dim=-1).mean() < (data.train[:, 18].mean(0) - given[:, 18]).norm(dim=-1).mean()
    samples = vposer.sample(50, torch.Generator().manual_seed(0))
    assert torch.equal(samples, vposer.sample(50, torch.Generator().manual_seed(0)))
    assert samples[:, [j for j in range(55) if j not in JOINTS]].abs().max() == 0
