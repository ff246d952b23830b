"""Validation scores each pose once, and says what `loss` and `energy` say."""

from __future__ import annotations

import pytest
import torch
from contract_cases import every_likelihood, every_prior, prior_of
from prior_cases import JOINTS, make_poses

from pose_priors.priors.angular_central_gaussian import AngularCentralGaussian
from pose_priors.priors.gaussian import Gaussian, GaussianConfig


@every_prior
def test_held_out_poses_are_scored_as_by_loss_and_energy(name: str) -> None:
    prior, poses = prior_of(name), make_poses(40, seed=3)
    with torch.no_grad():
        torch.manual_seed(0)  # a bound is drawn
        losses, energies = prior.loss(poses), prior.energy(poses)
        torch.manual_seed(0)
        found, of_poses = prior.held_out(poses)
    assert found.keys() == losses.keys()
    for key, value in losses.items():
        torch.testing.assert_close(found[key], value, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(of_poses, energies, atol=1e-4, rtol=1e-5)


@every_likelihood
def test_held_out_poses_are_scored_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prior, poses, number = prior_of(name), make_poses(8, seed=3), [0]
    broad = AngularCentralGaussian.log_prob

    def counted(self: AngularCentralGaussian, rotvec: torch.Tensor) -> torch.Tensor:
        number[0] += 1  # each density is defended once
        return broad(self, rotvec)

    monkeypatch.setattr(AngularCentralGaussian, "log_prob", counted)
    with torch.no_grad():
        prior.log_prob(poses)  # type: ignore[attr-defined]
        of_density = number[0]
        prior.held_out(poses)
    assert number[0] == 2 * of_density > 0


def test_a_loss_of_somebodys_own_is_what_is_validated() -> None:
    class Mine(Gaussian):
        def loss(self, pose: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": pose.square().sum()}

    prior, poses = Mine(GaussianConfig(kind="gaussian"), JOINTS), make_poses(8)
    prior.fit_statistics(poses)
    values, energies = prior.held_out(poses)
    assert values["loss"] == poses.square().sum()
    torch.testing.assert_close(energies, prior.energy(poses))
