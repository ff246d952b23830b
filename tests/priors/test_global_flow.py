"""The global flow: its density against an autograd Jacobian, its start, and what it does when conditioned."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from prior_cases import log_volume, make_poses, random_rotations, shake, trained
from torch import Tensor

from pose_priors.configs.base import UserError
from pose_priors.priors.angular_central_gaussian import defend
from pose_priors.priors.conditioning.visibility import draw_visible
from pose_priors.priors.global_flow import GlobalFlow, GlobalFlowConfig

JOINTS = (1, 2, 16, 18, 20)
VISIBLE = {"use_conditioning": True, "condition": "visible_joints"}
ROOT = {"use_conditioning": True, "condition": "global_orient"}
variants = pytest.mark.parametrize("settings", [{}, VISIBLE, ROOT], ids=["plain", "visible", "root"])


def _config(**settings: Any) -> GlobalFlowConfig:
    return GlobalFlowConfig(kind="global_flow", **{"hidden": 16, "K": 3, "num_blocks": 1, **settings})


def _shaken(joints: tuple[int, ...] = JOINTS, **settings: Any) -> GlobalFlow:
    torch.manual_seed(0)
    prior = _config(**settings).build(joints).double()
    prior.fit_statistics(make_poses(500).double())
    return shake(prior, 0.1).eval()


@variants
@pytest.mark.parametrize("transform", ["affine", "spline"])
def test_density_against_the_jacobian(transform: str, settings: dict[str, Any]) -> None:
    prior = _shaken(transform=transform, **settings)
    for pose in make_poses(3, seed=3).double():
        rotvec = prior.select(pose)
        context = prior._context(pose, None)

        def noise_of(w: Tensor, context: Tensor | None = context) -> Tensor:
            return prior.transform(prior.whitening(w[None])[0].flatten(1), context)[0][0]

        jacobian = torch.autograd.functional.jacobian(noise_of, rotvec).flatten(1)
        flow = torch.distributions.Normal(0.0, 1.0).log_prob(noise_of(rotvec)).sum() + torch.linalg.slogdet(jacobian).logabsdet
        for w in rotvec:
            flow = flow - log_volume(w)
        expected = defend(flow, prior.defensive.log_prob(rotvec).sum(), prior.config.defensive_weight)
        torch.testing.assert_close(prior.log_prob(pose), expected, rtol=1e-5, atol=1e-4)


def test_actnorm_starts_with_the_data_is_saved_and_does_not_start_again() -> None:
    prior = _config().build(JOINTS)
    before = copy.deepcopy(prior.state_dict())
    prior.fit_statistics(make_poses(500))
    started = copy.deepcopy(prior.state_dict())
    initialized = [key for key in started if key.endswith("initialized")]
    scales = [key for key in started if key.endswith("log_scale")]
    assert len(initialized) == len(scales) == 3
    assert all(started[key] and not before[key] for key in initialized)
    assert all(not torch.equal(started[key], before[key]) for key in scales)
    again = _config().build(JOINTS)
    again.load_state_dict(started)
    again.train().loss(make_poses(64, spread=0.6))
    assert all(torch.equal(value, started[key]) for key, value in again.state_dict().items())


def test_the_start_leaves_the_mode_as_it_was() -> None:
    prior = _config().build(JOINTS).eval()
    prior.fit_statistics(make_poses(100))
    assert not any(module.training for module in prior.modules())
    prior.train()
    prior.fit_statistics(make_poses(100))
    assert all(module.training for module in prior.modules())


@pytest.mark.parametrize("transform", ["affine", "spline"])
def test_samples_have_the_moments_of_the_data(transform: str) -> None:
    poses = make_poses(500)
    prior = trained(_config(transform=transform), JOINTS[:3], 80, poses, started_on=poses, lr=5e-3)
    samples = prior.sample(4000, torch.Generator().manual_seed(0))[:, list(JOINTS[:3])].flatten(1)
    data = poses[:, list(JOINTS[:3])].flatten(1)
    torch.testing.assert_close(samples.median(0).values, data.median(0).values, rtol=0, atol=0.08)
    ours, theirs = torch.corrcoef(samples.T), torch.corrcoef(data.T)
    assert float((ours - theirs).abs().max()) < 0.3
    assert float((theirs - torch.eye(9)).abs().max()) > 0.4
    quartiles = torch.tensor([0.25, 0.75])
    widths = [x.quantile(quartiles, 0).diff(dim=0) for x in (samples, data)]
    torch.testing.assert_close(widths[0] / widths[1], torch.ones(1, 9), rtol=0, atol=0.25)


def _arms(num: int, seed: int) -> Tensor:
    """The right shoulder tells the elbow; the hip knows nothing of either."""
    generator = torch.Generator().manual_seed(seed)
    pose = torch.zeros(num, 55, 3)
    pose[:, [1, 16]] = 0.4 * torch.randn(num, 2, 3, generator=generator)
    pose[:, 18] = pose[:, 16].flip(-1) + 0.05 * torch.randn(num, 3, generator=generator)
    pose[:, 30] = torch.randn(num, 3, generator=generator)  # not learnt
    return pose


@pytest.fixture(scope="module")
def completer() -> GlobalFlow:
    poses = _arms(800, 0)
    return trained(_config(K=4, hidden=32, dropout=0.0, **VISIBLE), (1, 16, 18), 250, poses, started_on=poses, lr=5e-3)


def _visible(num: int, *joints: int) -> Tensor:
    visible = torch.zeros(num, 55, dtype=torch.bool)
    visible[:, list(joints)] = True
    return visible


def test_completion_keeps_what_is_visible_and_does_not_look_at_the_rest(completer: GlobalFlow) -> None:
    poses = _arms(20, 1)
    visible = _visible(20, 1, 16)
    first = completer.complete(poses, visible, torch.Generator().manual_seed(0))
    unknown = [j for j in range(55) if j not in (1, 16, 18)]
    assert torch.equal(first[:, [1, 16]], poses[:, [1, 16]])
    assert torch.equal(first[:, unknown], poses[:, unknown])
    assert (first[:, 18] != poses[:, 18]).all()
    disturbed = poses.clone()
    disturbed[:, 18] = random_rotations(20)[:, 18]
    assert torch.equal(first, completer.complete(disturbed, visible, torch.Generator().manual_seed(0)))
    disturbed[:, 18] = float("nan")
    assert torch.equal(first, completer.complete(disturbed, visible, torch.Generator().manual_seed(0)))
    everything = completer.complete(poses, torch.ones(20, 55, dtype=torch.bool), torch.Generator().manual_seed(0))
    assert torch.equal(everything, poses)


def test_completion_follows_what_is_visible(completer: GlobalFlow) -> None:
    poses = _arms(300, 2)
    told = completer.complete(poses, _visible(300, 1, 16), torch.Generator().manual_seed(0))
    untold = completer.complete(poses, _visible(300, 1), torch.Generator().manual_seed(0))
    error_told = (told[:, 18] - poses[:, 18]).norm(dim=-1).median()
    error_untold = (untold[:, 18] - poses[:, 18]).norm(dim=-1).median()
    assert error_told < 0.6 * error_untold
    # what is drawn together fits together
    assert (untold[:, 18] - untold[:, 16].flip(-1)).norm(dim=-1).median() < 0.6 * error_untold


def test_completion_needs_the_condition() -> None:
    for settings in ({}, ROOT):
        prior = _shaken(**settings)
        with pytest.raises(ValueError, match="use_conditioning"):
            prior.complete(make_poses(1).double(), _visible(1, 16))


def test_with_everything_visible_there_is_nothing_left_to_score() -> None:
    """The estimate of the density of no joints at all, log p(filler) / q(filler), averages to a probability of one."""
    prior = _shaken((1, 16), **VISIBLE)
    pose = make_poses(1).double().expand(20_000, -1, -1)
    seen = torch.ones(20_000, 2, dtype=torch.bool)
    torch.manual_seed(0)
    with torch.no_grad():
        ratio = prior._flow_log_prob(prior.select(pose), prior._context(pose, seen), seen).exp()
    error = float(ratio.std() / math.sqrt(len(ratio)))
    assert 0 < error < 0.05
    assert float(ratio.mean()) == pytest.approx(1, abs=4 * error)


def test_hidden_joints_are_scored_given_the_visible(completer: GlobalFlow) -> None:
    """In training the loss scores hidden joints alone: seeing the shoulder makes the elbow cheaper than not seeing it."""
    poses = _arms(400, 3)
    torch.manual_seed(0)
    scores = []
    for shoulder_seen in (True, False):
        seen = torch.tensor([True, shoulder_seen, False]).expand(400, 3)
        scores.append(completer._flow_log_prob(completer.select(poses), completer._context(poses, seen), seen).mean())
    shoulder_alone = torch.distributions.Normal(0.0, 0.4).entropy() * 3 - math.log(8 * math.pi**2)
    elbow_given_shoulder = scores[0]
    both = scores[1]
    assert float(both) == pytest.approx(float(elbow_given_shoulder - shoulder_alone), abs=2.0)


def test_training_with_visible_joints_is_finite_even_where_no_row_hides_all() -> None:
    prior = _config(**VISIBLE).build(JOINTS)
    prior.fit_statistics(make_poses(200))
    prior.train()
    for seed in range(20):
        torch.manual_seed(seed)
        values = prior.loss(make_poses(2, seed=seed))
        assert torch.isfinite(values["loss"])
        assert all(torch.isfinite(value) for value in values.values()), f"seed {seed}: {values}"


def test_condition_on_the_root_changes_the_density_with_the_root() -> None:
    prior, poses = _shaken(**ROOT), make_poses(10, seed=1).double()
    turned = poses.clone()
    turned[:, 0] = random_rotations(10)[:, 0].double()
    # a pose that only the broad component explains does not depend on the root
    assert torch.isclose(prior.log_prob(turned), prior.log_prob(poses)).sum() <= 2
    wound = poses.clone()
    wound[:, 0] += 2 * math.pi * torch.nn.functional.normalize(poses[:, 0], dim=-1)
    torch.testing.assert_close(prior.log_prob(wound), prior.log_prob(poses))
    samples = prior.float().sample(200, torch.Generator().manual_seed(0))
    torch.testing.assert_close(samples[:, 0].mean(0), poses[:, 0].float().mean(0), rtol=0, atol=0.5)
    assert samples[:, 0].std() > 0.1


def test_condition_on_the_root_needs_a_root_that_moves_and_is_not_learnt() -> None:
    with pytest.raises(UserError, match=r"data\.include_root=false"):
        _config(**ROOT).build((0, 1, 2))
    still = make_poses(50)
    still[:, 0] = 0
    with pytest.raises(UserError, match=r"model\.use_conditioning=false"):
        _config(**ROOT).build((1, 2)).fit_statistics(still)


def test_visibility_hides_nothing_a_subtree_or_joints_one_by_one() -> None:
    torch.manual_seed(0)
    joints = (16, 18, 20, 17, 19)
    visible = draw_visible(20_000, joints, torch.device("cpu"))
    assert visible.shape == (20_000, 5)
    none = float((~visible).all(-1).float().mean())
    assert 0.5 < none < 0.75
    patterns, counts = torch.unique(visible, dim=0, return_counts=True)
    assert len(patterns) == 32  # one by one, every pattern comes
    common = {tuple(p.tolist()) for p, c in zip(patterns, counts, strict=True) if c > 0.035 * 20_000}
    below = {16: (16, 18, 20), 18: (18, 20), 20: (20,), 17: (17, 19), 19: (19,)}
    assert {tuple(j not in hidden for j in joints) for hidden in below.values()} <= common
