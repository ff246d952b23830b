"""The reported numbers against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from prior_cases import JOINTS, make_poses, trained

from pose_priors.priors.evaluation.scores import bits_per_dof, energies_of, evaluate, summarize
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.hand_vae import HandVAEConfig

CONFIG = GaussianConfig(kind="gaussian")


def test_bits_per_dof_of_a_density_that_is_uniform_on_a_share_of_each_axis() -> None:
    """Each of 3 J degrees of freedom confined to 1/8 of what it had costs -3 bits apiece; the uniform density costs none."""
    for num_joints in (1, 19):
        assert bits_per_dof(-3 * num_joints * math.log(8), num_joints) == pytest.approx(-3)
    assert bits_per_dof(0.0, 5) == 0


def test_energies_do_not_depend_on_the_chunks() -> None:
    poses = make_poses(5000)
    prior = trained(CONFIG, (1, 2), 0, poses, started_on=poses)
    energies = energies_of(prior, poses)
    assert energies.shape == (5000,)
    assert not energies.requires_grad
    torch.testing.assert_close(energies, prior.energy(poses).detach())


def test_summary_is_mean_median_and_worst() -> None:
    prior = CONFIG.build((1, 2))
    energies = torch.tensor([1.0, 2.0, 9.0])
    expected = {"nll": 4.0, "nll_median": 2.0, "nll_worst": 9.0, "bits_per_dof": 4 / (6 * math.log(2))}
    assert summarize(prior, energies) == pytest.approx(expected)


def test_evaluation_of_a_density() -> None:
    poses = make_poses(200)
    prior = trained(CONFIG, (1, 16), 0, poses, started_on=poses)
    result = evaluate(prior, poses)
    nll = -prior.log_prob(poses)
    assert result["joints"] == ["left_hip", "left_shoulder"]
    assert result["num_poses"] == 200
    assert result["nll"] == pytest.approx(float(nll.mean()), rel=1e-5)
    assert result["nll_median"] == pytest.approx(float(nll.median()), rel=1e-5)
    assert result["bits_per_dof"] == pytest.approx(float(nll.mean()) / (6 * math.log(2)), rel=1e-5)


def test_a_bound_is_never_called_a_likelihood() -> None:
    poses = make_poses(40)
    config = HandVAEConfig(kind="hand_vae", z_dim=2, hidden=8, n_layers=1, num_importance_samples=3)
    result = evaluate(trained(config, JOINTS, 0, poses, started_on=poses), poses)
    assert result["nll"] is result["nll_median"] is result["bits_per_dof"] is None
    assert math.isfinite(result["nll_bound"])
    assert 3 in result.values()  # K is reported beside the bound
    assert result["num_poses"] == 40
