"""The ensemble: its density is the weighted mean of its members', its members learn on their own, and what is exact for all is for it."""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
import pytest
import roma
import torch
from prior_cases import log_volume, make_poses, random_rotations, shake
from pydantic import ValidationError

from pose_priors.body.skeleton import NUM_JOINTS
from pose_priors.configs.base import UserError
from pose_priors.priors.ensemble import Ensemble, EnsembleConfig
from pose_priors.priors.mixture import Mixture

JOINTS = (1, 2, 16, 18)
SMALL = {"hidden": 12, "K": 2, "num_blocks": 1}
FLOW = {"kind": "global_flow", **SMALL}
FULL = {"kind": "gaussian", "covariance": "full"}
MIXTURE = {"kind": "mixture", "num_components": [2], "widths": [0.7, 1.0], "covariance_floors": [1e-4]}
ONE = {**MIXTURE, "num_components": [1], "widths": [1.0]}
every_kind = pytest.mark.parametrize("kind", ["joint_flow", "global_flow"])


def _config(kind: str = "global_flow", num_members: int = 3, **member: Any) -> EnsembleConfig:
    # read as a YAML is: the member's kind decides what it is
    return EnsembleConfig.model_validate({"kind": "ensemble", "num_members": num_members, "member": {"kind": kind, **SMALL, **member}})


def _started(*args: Any, **settings: Any) -> Ensemble:
    torch.manual_seed(0)
    prior = _config(*args, **settings).build(JOINTS)
    prior.fit_statistics(make_poses(300))
    return prior


def _of(members: list[dict[str, Any]], **settings: Any) -> Ensemble:
    torch.manual_seed(0)
    prior = EnsembleConfig.model_validate({"kind": "ensemble", "members": members, **settings}).build(JOINTS)
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


def test_weights_are_shares_of_the_density_and_of_draws() -> None:
    prior = _of([FLOW, FULL], weights=[3, 1]).eval()
    prior.members[1].fit_statistics(make_poses(300, shift=0.6))
    poses = torch.cat([make_poses(20, seed=1), make_poses(20, shift=0.6)]).double()
    with torch.no_grad():
        first, second = (member.double().log_prob(poses).exp() for member in prior.members)
        torch.testing.assert_close(prior.double().log_prob(poses), (0.75 * first + 0.25 * second).log())
    samples = prior.sample(4000, torch.Generator().manual_seed(0))
    drawn_by = torch.stack([member.log_prob(samples) for member in prior.members]).argmax(0)
    np.testing.assert_allclose(float(drawn_by.double().mean()), 0.25, atol=0.03)


def test_what_is_fitted_stays_as_it_is_beside_flows_and_is_trained_without() -> None:
    prior = _of([FLOW, FULL, MIXTURE]).train()
    before = copy.deepcopy(prior.state_dict())
    optimizer = torch.optim.AdamW(prior.parameters(), lr=1e-2, weight_decay=0.1)
    loss = prior.loss(make_poses(64, seed=2, shift=0.2))["loss"]
    alone = prior.members[0]
    loss.backward()
    optimizer.step()
    torch.manual_seed(0)
    changed = {name.split(".")[1] for name, value in prior.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"0"}
    assert all(parameter.grad is not None for parameter in alone.parameters())
    assert all(parameter.requires_grad for parameter in _of([FULL, MIXTURE]).parameters())


def _normals(prior: Ensemble) -> list[torch.distributions.MultivariateNormal]:
    """What members are over rotation vectors of all joints: full Gaussians, or mixtures of one component of width 1."""
    found = []
    for member in prior.members:
        if isinstance(member, Mixture):
            root = member.kernels.root[0]
            found.append(torch.distributions.MultivariateNormal(member.kernels.mean[0] + member.kernels.shift, root @ root.T))
        else:
            precision, mean = member._whole()
            found.append(torch.distributions.MultivariateNormal(mean, torch.linalg.inv(precision)))
    return found


def _two(member: dict[str, Any]) -> Ensemble:
    prior = _of([member, member], weights=[1, 2])
    prior.members[1].fit_statistics(make_poses(300, seed=5, shift=0.15))
    return prior.double().eval().requires_grad_(False)


@pytest.mark.parametrize("member", [FULL, ONE], ids=["gaussian", "mixture"])
def test_what_members_expect_of_noisy_rotations_counts_by_how_they_expected_to_see_it(member: dict[str, Any]) -> None:
    prior, poses = _two(member), make_poses(30, seed=3, shift=0.08).double()
    std = torch.full((NUM_JOINTS, 3), 0.3, dtype=torch.float64)
    std[JOINTS[0]], std[JOINTS[1], 1] = torch.inf, 0.05
    seen = poses[:, list(JOINTS)].flatten(1)
    noise = std[list(JOINTS)].flatten()
    at = noise.isfinite()
    shares, turns = [], []
    for weight, normal in zip((1 / 3, 2 / 3), _normals(prior), strict=True):
        covariance = normal.covariance_matrix[:, at]
        predicted = covariance[at] + torch.diag(noise[at] ** 2)
        shares.append(torch.distributions.MultivariateNormal(normal.mean[at], predicted).log_prob(seen[:, at]) + np.log(weight))
        expected = normal.mean + (seen[:, at] - normal.mean[at]) @ torch.linalg.inv(predicted) @ covariance.T
        turns.append(roma.rotvec_to_rotmat(expected.unflatten(1, (-1, 3))))
    share = torch.stack(shares).softmax(0)
    assert float(share[0].std()) > 0.1  # each member has its say
    mean = roma.special_procrustes(torch.einsum("kn,knjxy->njxy", share, torch.stack(turns)))
    found = roma.rotvec_to_rotmat(prior.denoise(poses, std)[:, list(JOINTS)])
    torch.testing.assert_close(found, mean, rtol=0, atol=1e-6)


def test_energies_under_noise_are_those_of_the_smoothed_mixture() -> None:
    prior, poses, noise = _two(FULL), make_poses(30, seed=3).double(), 0.2
    rotvec = poses[:, list(JOINTS)]
    x = rotvec.flatten(1)
    haar = -torch.stack([log_volume(w) for w in rotvec.reshape(-1, 3)]).view(len(poses), -1).sum(1)
    densities = []
    for member, normal in zip(prior.members, _normals(prior), strict=True):
        wide = normal.covariance_matrix + noise**2 * torch.eye(x.shape[1], dtype=torch.float64)
        smoothed = torch.distributions.MultivariateNormal(normal.mean, wide).log_prob(x) + haar
        broad = member.defensive.log_prob(rotvec).sum(-1)
        densities.append((1 - 1e-4) * smoothed.exp() + 1e-4 * broad.exp())
    expected = (densities[0] / 3 + densities[1] * 2 / 3).log()
    torch.testing.assert_close(-prior.energy(poses, noise=noise), expected)


def test_completions_are_the_conditional_density() -> None:
    prior = _two(ONE)
    visible = torch.ones(NUM_JOINTS, dtype=torch.bool)
    visible[list(JOINTS[2:])] = False
    assert prior.completes
    pose = make_poses(1, seed=3, shift=0.08).double()
    shares, means = [], []
    for weight, normal in zip((1 / 3, 2 / 3), _normals(prior), strict=True):
        mean, covariance = normal.mean, normal.covariance_matrix
        off = pose[0, list(JOINTS[:2])].flatten() - mean[:6]
        shares.append(np.log(weight) + torch.distributions.MultivariateNormal(mean[:6], covariance[:6, :6]).log_prob(off + mean[:6]))
        means.append(mean[6:] + covariance[6:, :6] @ torch.linalg.solve(covariance[:6, :6], off))
    share = torch.stack(shares).softmax(0)
    assert 0.1 < float(share[0]) < 0.9
    expected = (share[:, None] * torch.stack(means)).sum(0)
    drawn = prior.complete(pose.expand(4000, -1, -1), visible, torch.Generator().manual_seed(0))
    assert torch.equal(drawn[:, list(JOINTS[:2])], pose[:, list(JOINTS[:2])].expand(4000, -1, -1))
    hidden = drawn[:, list(JOINTS[2:])].flatten(1)
    assert ((hidden.mean(0) - expected).abs() < 4 * hidden.std(0) / np.sqrt(4000)).all()
    # p(hidden | visible) is p(pose) over p(visible), which does not depend on the hidden joints
    marginal = prior.log_prob(drawn[:50]) - prior.log_prob_given(drawn[:50], visible)
    torch.testing.assert_close(marginal, marginal[:1].expand(50), rtol=0, atol=1e-6)


@pytest.mark.parametrize("led", [False, True])
def test_posterior_draws_are_those_of_the_whole_ensemble(led: bool) -> None:
    """By all components, and led by those of the mixture, as where there are flows."""
    joint, other, std = 16, 18, 0.2
    prior = EnsembleConfig.model_validate({"kind": "ensemble", "members": [MIXTURE, FULL], "weights": [1, 6]}).build((joint, other))
    prior.fit_statistics(make_poses(300))
    prior.members[1].fit_statistics(make_poses(300, seed=5, shift=0.5))
    prior.eval().requires_grad_(False)
    seen = make_poses(1, seed=3, shift=0.25)[0, joint]

    def likelihood(poses: torch.Tensor) -> torch.Tensor:
        return -(poses[..., joint, :] - seen).square().sum(-1) / (2 * std**2)

    if led:
        drawn = cast(Mixture, prior.members[0]).posterior_of(likelihood, 1, 150, torch.Generator().manual_seed(0), prior.energy)
    else:
        drawn = prior.posterior(likelihood, 1, 150, torch.Generator().manual_seed(0))
    drawn = drawn[:, 0, other].double()
    many = prior.sample(60_000, torch.Generator().manual_seed(1))
    weight = likelihood(many).double().softmax(0)
    expected = weight @ many[:, other].double()
    assert ((drawn.mean(0) - expected).abs() < 4 * drawn.std(0) / np.sqrt(150)).all()
    of_guide = prior.members[0].sample(60_000, torch.Generator().manual_seed(1))
    apart = likelihood(of_guide).double().softmax(0) @ of_guide[:, other].double() - expected
    assert (apart.abs() > 6 * drawn.std(0) / np.sqrt(150)).any()  # and not those of the mixture alone


@pytest.mark.parametrize("call", ["denoise", "energy", "complete", "log_prob_given"])
def test_what_a_flow_cannot_do_is_refused_in_a_line(call: str) -> None:
    prior, pose, visible = _of([FLOW, MIXTURE]).eval(), make_poses(2), torch.ones(2, NUM_JOINTS, dtype=torch.bool)
    calls = {
        "denoise": lambda: prior.denoise(pose, 0.1),
        "energy": lambda: prior.energy(pose, noise=0.1),
        "complete": lambda: prior.complete(pose, visible),
        "log_prob_given": lambda: prior.log_prob_given(pose, visible),
    }
    said = {"denoise": r"model\.denoiser", "energy": r"model\.denoiser"}.get(call, "global_flow does not")
    with pytest.raises(ValueError, match=said) as caught:
        calls[call]()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"member": FLOW, "num_members": 1}, "num_members"),
        ({"member": {"kind": "hand_vae"}}, "joint_flow"),
        ({"member": {**FLOW, "use_conditioning": True}}, "use_conditioning=false"),
        ({"members": [FLOW, {**FLOW, "use_conditioning": True, "condition": "global_orient"}]}, "root's orientation"),
        ({}, "model.members"),
        ({"member": FLOW, "members": [FLOW, FULL]}, "model.members"),
        ({"members": [FLOW, FULL], "num_members": 2}, "num_members"),
        ({"members": [FLOW]}, "at least 2"),
        ({"members": [FLOW, FULL], "weights": [1]}, "1 numbers for 2 members"),
        ({"members": [FLOW, FULL], "weights": [1, 0]}, "greater than 0"),
        ({"members": [FLOW, {**FLOW, "denoiser": {}}]}, "model.denoiser"),
    ],
)
def test_what_would_be_no_ensemble_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EnsembleConfig.model_validate({"kind": "ensemble", **settings})
