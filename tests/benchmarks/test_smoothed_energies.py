"""Energies of priors whose poses have noise, and fits that go from them to the sharp ones."""

from __future__ import annotations

import torch
from benchmark_cases import poses_of
from test_prior_tasks import ARM, arm_mixture, body_data

from pose_priors.benchmarks.priors.fitting import fit
from pose_priors.benchmarks.priors.gmm import Mixture
from pose_priors.benchmarks.priors.kernels import KernelMixture
from pose_priors.benchmarks.priors.noise import noisy_joints
from pose_priors.benchmarks.priors.skeleton import Skeleton
from pose_priors.benchmarks.priors.trained import trained
from pose_priors.body.rotations import haar_correction
from pose_priors.priors.gaussian import GaussianConfig

JOINTS = (1, 2, 13, 16, 18)


def test_a_prior_smoothed_first_leads_out_of_another_component() -> None:
    """A search that begins in the wrong one of two narrow components stays there, but not where the prior was smoothed before."""
    size = 3 * len(ARM)
    means = torch.stack([torch.full((size,), value, dtype=torch.float64) for value in (-0.3, 0.3)])
    prior = Mixture("two", ARM, torch.zeros(55, 3), torch.full((2,), 0.5), means, 1e-4 * torch.eye(size).expand(2, -1, -1))
    truth, skeleton = prior.expand(means[1:].unflatten(-1, (-1, 3))), Skeleton(body_data(joints=ARM))
    start = prior.expand(means[0].unflatten(-1, (-1, 3)))
    problem = noisy_joints(truth, start, skeleton, 20, seed=0)
    of_sharp, of_annealed = (skeleton.mpjpe(fit(problem, prior, skeleton, 60, noises=noises)[0], truth) for noises in ((), (0.5, 0.1)))
    assert of_annealed < 2 < 20 < of_sharp


def test_smoothed_energies_are_those_of_poses_with_noise() -> None:
    std, of = 0.2, arm_mixture(5)
    group = torch.tensor([0, 0, 0, 1, 2])
    kernels = KernelMixture("k", of.joint_indices, of.default_pose, of.weights, of.means, of.covariances[[0, 3, 4]], group)
    poses = kernels.sample(5, torch.Generator().manual_seed(0))
    x = kernels.select(poses).flatten(1)
    covariances = (kernels.covariances + std**2 * torch.eye(12))[kernels.group]
    of_normals = torch.distributions.MultivariateNormal(kernels.means, covariances).log_prob(x[:, None])
    expected = -(of_normals + kernels.weights.log()).logsumexp(-1) - haar_correction(x.unflatten(-1, (-1, 3))).sum(-1)
    same = Mixture("m", kernels.joint_indices, kernels.default_pose, kernels.weights, kernels.means, kernels.covariances[kernels.group])
    for candidate in (kernels, same):
        torch.testing.assert_close(candidate.smoothed(std)(poses), expected)


def test_smoothed_energies_of_trained_priors_are_their_own() -> None:
    poses = poses_of(JOINTS, 300)
    prior = GaussianConfig(kind="gaussian", covariance="full").build(JOINTS)
    prior.fit_statistics(poses.float())
    smoothed = trained("gaussian", prior.eval()).smoothed(0.2)
    assert smoothed is not None
    torch.testing.assert_close(smoothed(poses[:4]), prior.energy(poses[:4].float(), 0.2).double())
    assert (smoothed(poses[:4]) - prior.energy(poses[:4].float()).double()).abs().min() > 0.1
