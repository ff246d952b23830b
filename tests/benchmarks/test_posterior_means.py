"""Denoising by posterior means: mixtures against importance sampling, and the table of a run."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from test_prior_tasks import Known, arm_mixture

from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.gmm import Mixture
from pose_priors.benchmarks.priors.tasks import TASKS, posterior_means


def test_the_posterior_mean_of_a_mixture() -> None:
    """Against the mean of 200,000 draws of the mixture, weighted by how likely the noise is that is left."""
    mixture, std = arm_mixture(3, spread=0.2), 0.4
    joints = list(mixture.joint_indices)
    generator = torch.Generator().manual_seed(1)
    clean = mixture.sample(4, generator)
    seen = clean.clone()
    seen[:, joints] += std * torch.randn(4, len(joints), 3, generator=generator, dtype=torch.float64)
    found = mixture.denoise(seen, std)
    assert torch.equal(found[:, [0, 1, 30]], seen[:, [0, 1, 30]])
    drawn = mixture.sample(200_000, torch.Generator().manual_seed(2))[:, joints]
    for number in range(4):
        weight = (-(drawn - seen[number, joints]).square().sum((-1, -2)) / (2 * std**2)).softmax(0)
        assert 1 / weight.square().sum() > 100
        mean = roma.special_procrustes(torch.einsum("n,njab->jab", weight, roma.rotvec_to_rotmat(drawn)))
        apart = roma.rotmat_geodesic_distance(mean, roma.rotvec_to_rotmat(found[number, joints]))
        assert float(apart.max()) < 0.06


def test_the_table_says_who_is_ahead_and_by_how_much() -> None:
    mixture = arm_mixture(3)
    poses = mixture.sample(180, torch.Generator().manual_seed(0))
    data = BenchmarkData(poses[:60], poses[60:120], poses[120:], mixture.joint_indices, "0" * 16)
    wide = Mixture("wide", mixture.joint_indices, mixture.default_pose, mixture.weights, mixture.means, mixture.covariances + torch.eye(12))
    (table,) = posterior_means.run([mixture, wide, Known(mixture)], data)
    assert TASKS["posterior_means"] is posterior_means.run
    assert set(table.rows) == {"as seen", "arm", "wide", "known"}
    assert set(table.rows["known"].values()) == {None}  # it knows no posterior mean
    # components of so many degrees about three axes: the mean length of a normal vector
    for std in (2, 5, 10):
        assert table.rows["as seen"][f"{std} deg"] == pytest.approx(std * math.sqrt(8 / math.pi), rel=0.06)
        assert table.rows["arm"][f"{std} deg"] < table.rows["wide"][f"{std} deg"] < table.rows["as seen"][f"{std} deg"]
        assert 0 < table.errors["arm"][f"{std} deg"] < 0.3 * table.rows["arm"][f"{std} deg"]
        found = table.leads[f"{std} deg"]
        assert (found.first, found.second) == ("arm", "wide")
        assert found.by == pytest.approx(table.rows["wide"][f"{std} deg"] - table.rows["arm"][f"{std} deg"])
        assert found.is_sure
    assert table.best("10 deg") == table.rows["arm"]["10 deg"]
