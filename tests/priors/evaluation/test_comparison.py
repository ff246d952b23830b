"""Corruption tests and precision-recall on sets where the answer is known."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from prior_cases import make_poses, trained
from torch import Tensor

from pose_priors.body.skeleton import PARENTS
from pose_priors.priors.base import Prior
from pose_priors.priors.evaluation.comparison import auroc, corruptions, precision_recall
from pose_priors.priors.gaussian import GaussianConfig

JOINTS = (1, 4, 7, 2, 5, 16, 18, 20)


def _points(num: int, seed: int, offset: float = 0.0) -> Tensor:
    return offset + torch.randn(num, 2, 3, generator=torch.Generator().manual_seed(seed))


def test_precision_and_recall_of_known_sets() -> None:
    data = _points(300, 0)
    assert precision_recall(data, data) == (1.0, 1.0)
    assert precision_recall(_points(300, 1, offset=100.0), data) == (0.0, 0.0)
    precision, recall = precision_recall(_points(300, 1), data)
    assert precision > 0.7
    assert recall > 0.7


def test_precision_is_about_the_samples_and_recall_about_the_data() -> None:
    data = torch.cat([_points(200, 0), _points(200, 1, offset=50.0)])
    one_mode = _points(200, 2)
    precision, recall = precision_recall(one_mode, data)
    assert precision > 0.7
    assert 0.3 < recall < 0.5
    spoilt = torch.cat([_points(200, 2), _points(200, 3, offset=50.0), _points(400, 4, offset=-90.0)])
    precision, recall = precision_recall(spoilt, data)
    assert 0.3 < precision < 0.5
    assert recall > 0.7


def test_precision_and_recall_against_their_definition() -> None:
    samples, data = _points(40, 5), 1.5 * _points(50, 6)

    def share_within(of: Tensor, manifold: Tensor) -> float:
        inside = 0
        for point in of.flatten(1):
            for centre in manifold.flatten(1):
                radius = (manifold.flatten(1) - centre).norm(dim=1).sort().values[3]
                if (point - centre).norm() < radius:
                    inside += 1
                    break
        return inside / len(of)

    expected = (share_within(samples, data), share_within(data, samples))
    assert precision_recall(samples, data) == pytest.approx(expected)


def test_corruptions_touch_what_they_say() -> None:
    poses = make_poses(400)
    corrupted = corruptions(poses, JOINTS)
    others = [j for j in range(55) if j not in JOINTS]
    for bad in corrupted.values():
        assert bad.shape == poses.shape
        assert torch.equal(bad[:, others], poses[:, others])
        assert bad.norm(dim=-1).max() <= math.pi + 1e-5
    again = corruptions(poses, JOINTS)
    assert all(torch.equal(again[name], corrupted[name]) for name in corrupted)

    changed = (corrupted["one_joint"] != poses).any(-1)
    assert (changed.sum(-1) <= 1).all()
    assert changed.any(-1).float().mean() > 0.98
    assert set(changed.any(0).nonzero().flatten().tolist()) == set(JOINTS)
    for joint in JOINTS:  # what is put there stands somewhere in the data
        rows = changed[:, joint].nonzero().flatten()
        assert (corrupted["one_joint"][rows, None, joint] == poses[None, :, joint]).all(-1).any(1).all()

    for row in (corrupted["one_limb"] != poses).any(-1):
        limb = row.nonzero().flatten().tolist()
        assert all(PARENTS[j] == limb[i] or PARENTS[PARENTS[j]] == limb[0] for i, j in enumerate(limb[1:]))
        assert len(limb) != 1 or limb[0] in JOINTS

    angles = roma.rotmat_geodesic_distance(*(roma.rotvec_to_rotmat(p[:, list(JOINTS)]) for p in (poses, corrupted["noise_2deg"])))
    # the norm of three normals of 2 degrees
    assert float(angles.square().mean().sqrt().rad2deg()) == pytest.approx(2 * math.sqrt(3), rel=0.05)


class _Blind(Prior):
    """An energy that is the same for every pose."""

    def energy(self, pose: Tensor) -> Tensor:
        return pose.new_zeros(pose.shape[:-2])

    loss = sample = reconstruct = None


class _Knowing(_Blind):
    """An energy that knows the real poses by heart."""

    def __init__(self, real: Tensor) -> None:
        super().__init__(JOINTS)
        self.real = real.flatten(1)

    def energy(self, pose: Tensor) -> Tensor:
        return torch.cdist(pose.flatten(1), self.real).min(1).values


def test_auroc_of_blind_knowing_and_fitted_energies() -> None:
    poses = make_poses(300, spread=0.1)
    assert set(auroc(_Blind(JOINTS), poses).values()) == {0.5}
    assert min(auroc(_Knowing(poses), poses).values()) > 0.97
    fitted = trained(GaussianConfig(kind="gaussian", covariance="full"), JOINTS, 0, poses, started_on=poses)
    values = auroc(fitted, poses)
    assert set(values) == {"auroc_one_joint", "auroc_one_limb", "auroc_noise_2deg"}
    assert 0.55 < values["auroc_one_joint"] < 1
    independent = trained(GaussianConfig(kind="gaussian"), JOINTS, 0, poses, started_on=poses)
    assert auroc(independent, poses)["auroc_one_joint"] == pytest.approx(0.5, abs=0.05)
