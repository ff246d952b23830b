"""Baselines that draw what they believe given what was seen, against closed forms, and the tables of their posterior means."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from test_prior_tasks import Known, arm_mixture
from torch import Tensor

from pose_priors.benchmarks.priors.components import SharedGaussians
from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.gmm import Mixture
from pose_priors.benchmarks.priors.kernels import KernelMixture
from pose_priors.benchmarks.priors.skeleton import Skeleton
from pose_priors.benchmarks.priors.tasks import TASKS, inverse_kinematics, posteriors
from pose_priors.priors.gaussians.quadratic import Quadratic


@pytest.fixture(scope="module")
def kernels() -> KernelMixture:
    """Five Gaussians, of which the first three share a covariance."""
    of = arm_mixture(5)
    group = torch.tensor([0, 0, 0, 1, 2])
    return KernelMixture("k", of.joint_indices, of.default_pose, of.weights, of.means, of.covariances[[0, 3, 4]], group)


def _components(of: KernelMixture) -> SharedGaussians:
    return SharedGaussians(of.weights, of.means, of.covariances, of.group)


def _expected(of: KernelMixture, precision: Tensor, centre: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the mixture times a normal likelihood without its constant: logarithm of the integral, mean and covariance, by Gaussians alone."""
    covariance = of.covariances[of.group]
    noise = torch.linalg.inv(precision)
    predicted = torch.distributions.MultivariateNormal(of.means, covariance + noise)
    evidence = predicted.log_prob(centre) + of.weights.log() + torch.logdet(2 * math.pi * noise) / 2
    gain = covariance @ torch.linalg.inv(covariance + noise)
    means = of.means + torch.einsum("kab,kb->ka", gain, centre - of.means)
    within = covariance - gain @ covariance
    share = evidence.softmax(0)
    mean = share @ means
    off = means - mean
    return evidence.logsumexp(0), mean, torch.einsum("k,kab->ab", share, within + off[:, :, None] * off[:, None])


def test_draws_under_a_quadratic(kernels: KernelMixture) -> None:
    root = torch.randn(12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    precision, centre, num = root @ root.T + torch.eye(12), kernels.means[:2] + 0.1, 20_000
    quadratic = Quadratic(centre, precision.expand(2, -1, -1), torch.tensor([0.5, -1.0], dtype=torch.float64))
    drawn, evidence = _components(kernels).draw_under(quadratic, num, torch.Generator().manual_seed(1))
    for number in range(2):
        expected, mean, covariance = _expected(kernels, precision, centre[number])
        assert evidence[number] == pytest.approx(float(expected + quadratic.top[number]), abs=1e-8)
        assert (drawn[:, number].mean(0) - mean).norm() < 4 * (covariance.trace() / num).sqrt()
        assert torch.linalg.matrix_norm(torch.cov(drawn[:, number].T) - covariance) < 0.05 * torch.linalg.matrix_norm(covariance)


def test_components_and_groups(kernels: KernelMixture) -> None:
    components, num = _components(kernels), 20_000
    x = 0.5 * (kernels.means[0] + kernels.means[3])[None]
    of = [torch.distributions.MultivariateNormal(kernels.means[i], kernels.covariances[g]) for i, g in enumerate(kernels.group.tolist())]
    log_share = torch.stack([one.log_prob(x)[0] for one in of]).add(kernels.weights.log())
    share = log_share.softmax(0)
    mean, which, log_density = components.draw_component(x.expand(num, -1), torch.Generator().manual_seed(0))
    torch.testing.assert_close(log_density, log_share.logsumexp(0).expand(num))
    for number, group in enumerate(kernels.group.tolist()):
        rows = (mean == kernels.means[number]).all(-1)
        assert abs(float(rows.double().mean() - share[number])) < 4 * 0.5 / math.sqrt(num)
        assert (which[rows] == group).all()
    torch.testing.assert_close(components.precisions()[which[:1]], torch.linalg.inv(kernels.covariances)[which[:1]])
    means, precisions = components.groups()
    assert len(means) == 3
    torch.testing.assert_close(means[0], kernels.means[:3].mean(0))
    whole = kernels.covariances[0] + torch.cov(kernels.means[:3].T, correction=0)
    torch.testing.assert_close(torch.linalg.inv(precisions[0]), whole)


def test_a_baseline_draws_its_posterior(kernels: KernelMixture) -> None:
    """Seen with noise, the mean is that of the closed form."""
    std, num = 0.1, 400
    joints = list(kernels.joint_indices)
    seen = kernels.means[:3].unflatten(-1, (-1, 3)) + 0.05

    def log_likelihood(pose: Tensor) -> Tensor:
        return -(pose[..., joints, :] - seen).square().sum((-1, -2)) / (2 * std**2)

    same = Mixture("m", joints, kernels.default_pose, kernels.weights, kernels.means, kernels.covariances[kernels.group])
    for candidate in (kernels, same):
        drawn = candidate.posterior(log_likelihood, 3, num, torch.Generator().manual_seed(0))[:, :, joints].flatten(2)
        for number in range(3):
            _, mean, covariance = _expected(kernels, torch.eye(12, dtype=torch.float64) / std**2, seen[number].flatten())
            assert (drawn[:, number].mean(0) - mean).norm() < 4 * (covariance.trace() / num).sqrt()
            assert 0.8 < torch.cov(drawn[:, number].T).trace() / covariance.trace() < 1.25


def _seen_with(skeleton: Skeleton, levels_mm: tuple[float, ...]) -> Skeleton:
    skeleton.sight = replace(skeleton.sight, levels_mm=levels_mm)
    return skeleton


def test_tables_of_posterior_means(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = arm_mixture(3)
    poses = mixture.sample(43, torch.Generator().manual_seed(0))
    data = BenchmarkData(poses[:20], poses[20:40], poses[40:], mixture.joint_indices, "0" * 16)
    wide = Mixture("wide", mixture.joint_indices, mixture.default_pose, mixture.weights, mixture.means, mixture.covariances + torch.eye(12))
    monkeypatch.setattr(posteriors, "observed", lambda *given: {"all": inverse_kinematics.observed(*given)["all"]})
    monkeypatch.setattr(posteriors, "Skeleton", lambda data: _seen_with(Skeleton(data), (40,)))
    (of_kinematics,) = TASKS["posterior_kinematics"]([mixture, wide, Known(mixture)], data)
    assert list(of_kinematics.rows["arm"]) == ["all: mm", "all: deg"]
    assert set(of_kinematics.rows["known"].values()) == {None}  # no draws, no mean
    assert 0 < of_kinematics.rows["arm"]["all: mm"] < 5
    # joints do not tell how an arm turns about itself: the prior does
    assert of_kinematics.rows["arm"]["all: deg"] < 0.7 * of_kinematics.rows["wide"]["all: deg"]
    monkeypatch.setattr(posteriors, "_NUM_TOGETHER", 2)  # so that two are drawn, then one
    (of_joints,) = TASKS["posterior_joints"]([mixture, wide], data)
    assert 0 < of_joints.rows["arm"]["40 mm"] < of_joints.rows["wide"]["40 mm"] < 60
