"""The ensemble: its density is the mean of its members', its members learn on their own, its samples come from all of them alike."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from prior_cases import make_poses, random_rotations, shake
from pydantic import ValidationError

from pose_priors.configs.base import UserError
from pose_priors.priors.ensemble import Ensemble, EnsembleConfig

JOINTS = (1, 2, 16, 18)
SMALL = {"hidden": 12, "K": 2, "num_blocks": 1}
every_kind = pytest.mark.parametrize("kind", ["joint_flow", "global_flow"])


def _config(kind: str = "global_flow", num_members: int = 3, **member: Any) -> EnsembleConfig:
    # read as a YAML is: the member's kind decides what it is
    return EnsembleConfig.model_validate({"kind": "ensemble", "num_members": num_members, "member": {"kind": kind, **SMALL, **member}})


def _started(*args: Any, **settings: Any) -> Ensemble:
    torch.manual_seed(0)
    prior = _config(*args, **settings).build(JOINTS)
    prior.fit_statistics(make_poses(300))
    return prior


@every_kind
def test_the_density_is_the_mean_of_the_members_densities(kind: str) -> None:
    prior = shake(_started(kind).double(), 0.05).eval()
    poses = torch.cat([make_poses(20, seed=1), random_rotations(20)]).double()
    with torch.no_grad():
        of_members = np.stack([member.log_prob(poses).numpy() for member in prior.members]).astype(np.longdouble)
        mixture = prior.log_prob(poses).numpy()
    assert np.median(np.ptp(of_members, axis=0)[:20]) > 0.1
    np.testing.assert_allclose(mixture, np.log(np.exp(of_members).mean(0)).astype(float), rtol=1e-9)
    assert (mixture >= of_members.mean(0) - 1e-9).all()


def test_members_start_apart_on_the_same_data() -> None:
    prior = _started()
    first, second = (member.state_dict() for member in list(prior.members)[:2])
    of_data = [key for key in first if key.split(".")[0] in ("default_pose", "whitening", "defensive")]
    assert len(of_data) >= 4
    assert all(torch.equal(first[key], second[key]) for key in of_data)
    weights = [key for key in first if key.endswith("net.first.weight")]
    assert weights
    assert not any(torch.equal(first[key], second[key]) for key in weights)


@every_kind
def test_each_member_learns_as_if_it_were_alone(kind: str) -> None:
    prior = _started(kind, dropout=0.0).train()
    poses = make_poses(64, seed=2)
    alone = copy.deepcopy(prior.members[1])
    prior.loss(poses)["loss"].backward()
    alone.loss(poses)["loss"].backward()
    for ours, theirs in zip(prior.members[1].parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours.grad * len(prior.members), theirs.grad, rtol=1e-4, atol=1e-6)


def test_validation_sees_the_mixture_and_training_the_members() -> None:
    prior, poses = shake(_started(dropout=0.0), 0.2), make_poses(64, seed=3)
    with torch.no_grad():
        training = prior.train().loss(poses)
        validation = prior.eval().loss(poses)
        alone = torch.stack([-member.log_prob(poses).mean() for member in prior.members])
        mixture = -prior.log_prob(poses).mean()
    assert float(alone.mean() - mixture) > 0.1
    torch.testing.assert_close(training["loss"], alone.mean())
    torch.testing.assert_close(validation["loss"], mixture)
    torch.testing.assert_close(validation["nll"], mixture)
    assert 0 < float(validation["broad_share"]) < 1


def test_samples_come_from_all_members_alike() -> None:
    prior = _started(num_members=3).eval()
    for number, member in enumerate(prior.members):
        member.fit_statistics(make_poses(300, shift=0.5 * number))  # far enough apart to tell who drew a sample
    samples = prior.sample(3000, torch.Generator().manual_seed(0))
    drawn_by = torch.stack([member.log_prob(samples) for member in prior.members]).argmax(0)
    torch.testing.assert_close(drawn_by.bincount() / 3000, torch.full((3,), 1 / 3), rtol=0, atol=0.05)
    half = drawn_by[:1500].bincount(minlength=3) / 1500
    torch.testing.assert_close(half, torch.full((3,), 1 / 3), rtol=0, atol=0.06)  # in any order, not one member after another


def test_a_few_samples_of_many_members() -> None:
    assert _started(num_members=5).sample(2, torch.Generator().manual_seed(0)).shape == (2, 55, 3)


def test_the_root_may_be_what_the_members_are_given() -> None:
    given = {"use_conditioning": True, "condition": "global_orient"}
    prior = _started(**given).eval()
    samples = prior.sample(500, torch.Generator().manual_seed(0))
    quartiles = torch.tensor([0.25, 0.75])
    widths = [roots.quantile(quartiles, 0).diff(dim=0) for roots in (samples[:, 0], make_poses(300)[:, 0])]
    torch.testing.assert_close(widths[0] / widths[1], torch.ones(1, 3), rtol=0, atol=0.35)
    with pytest.raises(UserError, match="include_root"):
        _config(**given).build((0, 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_members": 1}, "num_members"),
        ({"kind": "gaussian"}, "joint_flow"),
        ({"use_conditioning": True}, "member.use_conditioning=false"),
    ],
)
def test_what_would_be_no_ensemble_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _config(**settings)
