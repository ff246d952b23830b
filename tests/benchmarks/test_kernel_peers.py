"""Kernel density estimates and their mixtures, against mixtures that are written out and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from benchmark_cases import mixture, poses_of, small_data
from scipy.stats import gaussian_kde

from pose_priors.benchmarks.priors import kernel_fits
from pose_priors.benchmarks.priors.gmm import Mixture
from pose_priors.benchmarks.priors.kernels import KernelMixture
from pose_priors.body.rotations import haar_correction

JOINTS = (1, 16, 18)


def _shared() -> tuple[KernelMixture, Mixture]:
    """Seven Gaussians of two covariances, and the same written out."""
    truth = mixture(JOINTS, num_components=7)
    group = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    covariances = truth.covariances[:2]
    about = truth.joint_indices, truth.default_pose, truth.weights, truth.means
    return KernelMixture("kernels", *about, covariances, group), Mixture("mixture", *about, covariances[group])


def test_densities_and_conditionals_are_those_of_the_mixture_written_out() -> None:
    kernels, written = _shared()
    poses = poses_of(JOINTS, 600)  # more than are worked through at once
    torch.testing.assert_close(kernels.log_prob(poses), written.log_prob(poses))
    for hidden in ([16], [1, 18]):
        torch.testing.assert_close(kernels.conditional_log_prob(poses, hidden), written.conditional_log_prob(poses, hidden))
        torch.testing.assert_close(kernels.complete_point(poses, hidden), written.complete_point(poses, hidden))


def test_draws_have_the_moments_of_the_mixture_written_out() -> None:
    kernels, written = _shared()
    mine, theirs = (
        prior.select(prior.sample(30_000, torch.Generator().manual_seed(seed))).flatten(1) for seed, prior in enumerate(_shared())
    )
    torch.testing.assert_close(mine.mean(0), theirs.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(mine.T), torch.cov(theirs.T), atol=0.02, rtol=0)
    seen, hidden = poses_of(JOINTS, 3, seed=5), [1, 18]
    drawn, exact = (prior.complete(seen, hidden, 8000, torch.Generator().manual_seed(0)) for prior in (kernels, written))
    kept = [joint for joint in range(55) if joint not in hidden]
    assert torch.equal(drawn[:, :, kept], seen[:, kept].expand(8000, -1, -1, -1))
    for row in range(3):
        mine, theirs = (draws[:, row, hidden].flatten(1) for draws in (drawn, exact))
        error = theirs.std(0) / math.sqrt(8000)
        assert ((mine.mean(0) - theirs.mean(0)).abs() < 6 * error).all()
        torch.testing.assert_close(torch.cov(mine.T), torch.cov(theirs.T), atol=0.07 * float(theirs.var(0).max()), rtol=0)


def test_posterior_means_are_those_of_the_mixture_written_out_where_groups_are_single() -> None:
    """Of groups of several, the mean of rotation vectors within a group is not the chordal one, but near it."""
    kernels, written = _shared()
    apart = KernelMixture("apart", JOINTS, written.default_pose, written.weights, written.means, written.covariances, torch.arange(7))
    poses = poses_of(JOINTS, 300)
    torch.testing.assert_close(apart.denoise(poses, 0.2), written.denoise(poses, 0.2))
    near = (kernels.denoise(poses, 0.2) - written.denoise(poses, 0.2)).norm(dim=-1)
    assert near.mean() < 0.002
    assert (kernels.denoise(poses, 0.2) - poses).norm(dim=-1)[:, list(JOINTS)].mean() > 0.05


def test_a_kernel_density_estimate_against_scipy() -> None:
    data = small_data(JOINTS, 200)
    prior = kernel_fits.fit_kde("KDE", data)
    flat, judge = (poses[:, list(JOINTS)].flatten(1).numpy() for poses in (data.train, data.test))
    found = prior.log_prob(data.test) - haar_correction(data.test[:, list(JOINTS)]).sum(-1)
    scores = {}
    for bandwidth in kernel_fits._BANDWIDTHS:
        kde = gaussian_kde(flat.T, bw_method=bandwidth)
        scores[bandwidth] = np.mean(kde.logpdf(data.val[:, list(JOINTS)].flatten(1).numpy().T)), kde.logpdf(judge.T)
    _, expected = max(scores.values(), key=lambda pair: pair[0])
    # scipy's covariance divides by one row less, and has no floor
    torch.testing.assert_close(found, torch.from_numpy(expected), atol=0.2, rtol=0)
    assert float((found - torch.from_numpy(expected)).abs().mean()) < 0.05


def test_kernels_and_mixtures_together_are_the_likelier_and_defended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_fits, "_RESTARTS", 3)
    monkeypatch.setattr(kernel_fits, "_NUM_COMPONENTS", (2, 4))
    data = small_data(JOINTS, 400)
    both, mean = kernel_fits.fit_kde_and_gmm("both", data), kernel_fits.fit_averaged_gmm("mean", data)
    num = len(mean.covariances) - len(kernel_fits._BROAD)
    assert num in (6, 12)  # three fits of two or four
    assert float(both.weights.sum()) == pytest.approx(1)
    assert float(mean.weights.sum()) == pytest.approx(1)
    # its shares are the best for validation poses, of which those of the mean alone are a special case
    assert float(both.energies(data.val).mean()) <= float(mean.energies(data.val).mean()) + 0.01
    assert float(mean.energies(data.test).mean()) < float(mixture(JOINTS).energies(data.test).mean()) + 3
    far = data.test + 1.0
    alone = KernelMixture("", JOINTS, mean.default_pose, mean.weights[:num], mean.means[:num], mean.covariances[:num], torch.arange(num))
    assert float(mean.energies(far).max()) < 0.6 * float(alone.energies(far).max())
